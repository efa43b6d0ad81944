use std::process::Output;

use super::*;

fn finish(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn succeed(program: &str, arguments: &[&str]) -> String {
    let output = finish(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A Debian machine's database with nothing in it.
fn empty_machine(root: &Path) {
    for directory in ["info", "updates"] {
        fs::create_dir_all(root.join("var/lib/dpkg").join(directory)).expect("a directory");
    }
    fs::write(root.join("var/lib/dpkg/status"), "").expect("a file");
}

#[test]
fn the_package_installs_runs_and_goes_without_a_trace() {
    if is_missing("dpkg-deb") || is_missing("strip") {
        assert!(!crate::in_ci(), "in CI nothing may be skipped: no dpkg-deb or no strip");
        eprintln!("SKIPPED: no dpkg-deb or no strip (Debian's packages dpkg and binutils)");
        return;
    }
    // As the tests of the whole workspace have built it: a build of it alone takes minutes, for other features.
    let built = tools::target_directory().join("debug/minato");
    if !built.exists() {
        command::run(&mut command::cargo(["build", "--quiet", "--package", "minato"])).expect("the program");
    }
    let directory = std::env::temp_dir().join(format!("minato-dist-{}", std::process::id()));
    let root = directory.join("root");
    empty_machine(&root);
    let program = directory.join("minato");
    strip(&built, &program).expect("a stripped program");
    let package = Package::of(&program).and_then(|package| package.build(&directory)).expect("a package");
    let package = package.to_str().expect("UTF-8");

    let root_flag = format!("--root={}", root.display());
    let dpkg = |arguments: &[&str]| {
        let flags = [root_flag.as_str(), "--force-not-root", "--force-depends", "--force-bad-path"];
        succeed("dpkg", &[&flags, arguments].concat())
    };
    dpkg(&["--install", package]);
    let version = env!("CARGO_PKG_VERSION");
    let installed = root.join("usr/bin/minato");
    assert_eq!(succeed(installed.to_str().expect("UTF-8"), &["version"]), format!("minato {version}\n"));
    let status = dpkg(&["--status", "minato"]);
    for line in ["Status: install ok installed", "Section: net", &format!("Version: {version}")] {
        assert!(status.lines().any(|found| found == line), "no {line:?} in:\n{status}");
    }
    assert!(status.contains("Depends: libc6 (>= 2."), "a dynamic program needs its library:\n{status}");

    let files = dpkg(&["--listfiles", "minato"]);
    let contains = |path: &str, word: &str| {
        assert!(files.lines().any(|file| file == format!("/{path}")), "no {path} in:\n{files}");
        let path = root.join(path);
        let path = path.to_str().expect("UTF-8");
        let text = if path.ends_with(".gz") { succeed("gzip", &["-dc", path]) } else { succeed("cat", &[path]) };
        assert!(text.contains(word), "no {word:?} in {path}");
    };
    contains("usr/share/bash-completion/completions/minato", "complete -F _minato");
    contains("usr/share/zsh/vendor-completions/_minato", "#compdef minato");
    contains("usr/share/fish/vendor_completions.d/minato.fish", "complete -c minato");
    contains("usr/share/man/man1/minato.1.gz", ".TH minato 1");
    contains("usr/share/man/man1/minato-capture.1.gz", "packets");
    contains("usr/share/doc/minato/changelog.gz", "Unreleased");
    contains("usr/share/doc/minato/copyright", "Permission is hereby granted");

    dpkg(&["--remove", "minato"]);
    assert!(!root.join("usr").exists(), "something of the package is left");
    fs::remove_dir_all(&directory).expect("our own directory");
}

fn is_missing(program: &str) -> bool {
    !command::succeeds(Command::new(program).arg("--version"))
}
