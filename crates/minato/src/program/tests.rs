use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use super::{cannot_execute, exit_code};

#[test]
fn exit_codes_are_those_of_a_shell() {
    assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
    assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
    assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
}

/// The failure of really executing this.
fn failure(mut command: Command) -> (u8, String) {
    let error = command.spawn().expect_err("it can't be executed");
    let failure = cannot_execute(&command, &error);
    (failure.code, failure.title)
}

fn failure_of(name: &str) -> (u8, String) {
    failure(Command::new(name))
}

fn make_executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("a script");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("chmod");
}

#[test]
fn what_cannot_be_executed_is_told_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").expect("a script");
    let name = script.to_str().expect("UTF-8");
    assert_eq!(failure_of("no-such-program"), (127, "there is no program 'no-such-program' in PATH".into()));
    assert_eq!(failure_of("/no/such/program"), (127, "there is no file '/no/such/program'".into()));
    assert_eq!(failure_of("/etc/passwd/x"), (127, "there is no file '/etc/passwd/x'".into()));
    assert_eq!(failure_of(name).0, 126);
    assert_eq!(failure_of("/usr").0, 126);
    make_executable(&script, "#!/no/such/interpreter\n");
    assert_eq!(failure_of(name), (127, format!("cannot execute '{name}': what interprets it is missing")));
}

/// A name is looked for from the program's own directory, and without '/' in no directory but those of PATH.
#[test]
fn what_cannot_be_executed_is_looked_for_where_it_should_be() {
    let directory = tempfile::tempdir().expect("a directory");
    make_executable(&directory.path().join("script"), "#!/no/such/interpreter\n");
    let missing = |name: &str| (127, format!("cannot execute '{name}': what interprets it is missing"));
    // There is a directory of this name where this process is.
    assert!(Path::new("src").is_dir());
    assert_eq!(failure_of("src"), (127, "there is no program 'src' in PATH".into()));
    let within = |name: &str, path: &Path| {
        let mut command = Command::new(name);
        command.current_dir(path);
        command
    };
    assert_eq!(failure(within("./script", directory.path())), missing("./script"));
    assert_eq!(failure(within("./none", directory.path())), (127, "there is no file './none'".into()));
    let mut in_path = Command::new("script");
    in_path.env("PATH", directory.path());
    assert_eq!(failure(in_path), missing("script"));
    let gone = directory.path().join("gone");
    let said = format!("cannot execute 'true': its directory {} is missing", gone.display());
    assert_eq!(failure(within("true", &gone)), (127, said));
}
