//! The Debian package: program, completions for bash, zsh and fish, manual pages, copyright, changelog.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// What a Debian package is made of.
pub(super) struct Package<'p> {
    program: &'p Path,
    version: String,
    architecture: String,
    /// Packages that it depends on, as a control file names them.
    depends: String,
}

impl Package<'_> {
    /// Of a program that runs on this machine: it writes its own completions and pages.
    pub(super) fn of(program: &Path) -> Result<Package<'_>> {
        let version = command::output(Command::new(program).arg("version"))?;
        let version =
            version.trim().strip_prefix("minato ").context("the program does not tell its version")?.to_owned();
        let architecture = command::output(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
        let bytes = fs::read(program)?;
        Ok(Package { program, version, architecture, depends: depends(&bytes) })
    }

    /// Writes `minato_VERSION_ARCHITECTURE.deb` into `directory`.
    pub(super) fn build(&self, directory: &Path) -> Result<PathBuf> {
        let root = directory.join("package");
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        self.fill(&root)?;
        let package = directory.join(format!("minato_{}_{}.deb", self.version, self.architecture));
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).args([&root, &package]);
        if let Some(time) = commit_time() {
            build.env("SOURCE_DATE_EPOCH", time);
        }
        command::run(&mut build)?;
        fs::remove_dir_all(&root)?;
        Ok(package)
    }

    fn fill(&self, root: &Path) -> Result<()> {
        let workspace = crate::workspace_root();
        place(root, "usr/bin/minato", &fs::read(self.program)?, 0o755)?;
        for (shell, path) in COMPLETIONS {
            let script = command::output(Command::new(self.program).args(["completions", shell]))?;
            place(root, path, script.as_bytes(), 0o644)?;
        }
        let pages = root.join("usr/share/man/man1");
        command::output(Command::new(self.program).args(["man", "--out"]).arg(&pages))?;
        for page in fs::read_dir(&pages)? {
            compress(&page?.path())?;
        }
        let changelog = fs::read(workspace.join("CHANGELOG.md"))?;
        compress(&place(root, "usr/share/doc/minato/changelog", &changelog, 0o644)?)?;
        place(root, "usr/share/doc/minato/copyright", copyright(&workspace)?.as_bytes(), 0o644)?;
        place(root, "DEBIAN/control", self.control(kilobytes(root)?).as_bytes(), 0o644)?;
        open_directories(root)
    }

    fn control(&self, installed_size: u64) -> String {
        let Package { version, architecture, depends, .. } = self;
        let depends = if depends.is_empty() { String::new() } else { format!("Depends: {depends}\n") };
        format!(
            "Package: minato\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n\
             Installed-Size: {installed_size}\n{depends}Section: net\nPriority: optional\n\
             Description: any program with its own IP address and its own 65,536 ports\n \
             minato gives any unmodified program an IP address of its own, without root,\n \
             and accounts for every port: who is bound where, who talks to whom, what is\n \
             forwarded, and who is in the way.\n"
        )
    }
}

const MAINTAINER: &str = "minato contributors <minato@localhost>";

/// Shells, and where Debian's look for completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/minato"),
    ("zsh", "usr/share/zsh/vendor-completions/_minato"),
    ("fish", "usr/share/fish/vendor_completions.d/minato.fish"),
];

/// The C library in the version that a program asks for; nothing for a static one.
fn depends(program: &[u8]) -> String {
    const PREFIX: &[u8] = b"GLIBC_2.";
    let places = program.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    let minor = |(index, _): (usize, &[u8])| {
        let digits = program[index + PREFIX.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        String::from_utf8_lossy(&digits.copied().collect::<Vec<u8>>()).parse::<u32>().ok()
    };
    match places.filter_map(minor).max() {
        Some(minor) => format!("libc6 (>= 2.{minor}), libgcc-s1"),
        None => String::new(),
    }
}

/// Debian's machine-readable form, with both licences at full length.
fn copyright(workspace: &Path) -> Result<String> {
    let mut text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
                    Upstream-Name: minato\n\nFiles: *\nCopyright: minato contributors\nLicense: MIT or Apache-2.0\n"
        .to_owned();
    for (name, file) in [("MIT", "LICENSE-MIT"), ("Apache-2.0", "LICENSE-APACHE")] {
        text += &format!("\nLicense: {name}\n");
        for line in fs::read_to_string(workspace.join(file))?.lines() {
            text += &if line.trim().is_empty() { " .\n".to_owned() } else { format!(" {line}\n") };
        }
    }
    Ok(text)
}

/// Writes a file below `root`.
fn place(root: &Path, path: &str, bytes: &[u8], mode: u32) -> Result<PathBuf> {
    let path = root.join(path);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(&path, bytes)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(path)
}

/// Lets everybody enter a directory and those below it, whatever the umask was: `dpkg` installs them as they are.
fn open_directories(directory: &Path) -> Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_directories(&entry.path())?;
        }
    }
    Ok(())
}

/// Replaces a file by itself with `.gz`, without its name and time in it, so that the same content gives the same bytes.
fn compress(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    let status = Command::new("gzip").args(["-9", "-n"]).arg(path).status().context("cannot start gzip")?;
    if !status.success() {
        bail!("gzip failed with {}: {status}", path.display());
    }
    Ok(())
}

/// What all files below a directory take.
fn kilobytes(directory: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { kilobytes(&entry.path())? } else { metadata.len().div_ceil(1024) };
    }
    Ok(total)
}

/// When the last commit was made: the package's times, so that the same source gives the same package.
fn commit_time() -> Option<String> {
    let mut log = Command::new("git");
    log.args(["log", "-1", "--format=%ct"]).current_dir(crate::workspace_root());
    command::output(&mut log).ok().map(|time| time.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_open_whatever_the_umask_was() {
        let root = std::env::temp_dir().join(format!("minato-package-{}", std::process::id()));
        let below = root.join("usr/bin");
        fs::create_dir_all(&below).expect("directories");
        let file = place(&root, "usr/bin/minato", b"", 0o644).expect("a file");
        fs::set_permissions(&below, fs::Permissions::from_mode(0o700)).expect("our own directory");
        open_directories(&root).expect("our own directories");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&root), mode(&below), mode(&file)), (0o755, 0o755, 0o644));
        fs::remove_dir_all(&root).expect("our own directory");
    }
}
