use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use super::{cannot_execute, exit_code};

#[test]
fn exit_codes_are_those_of_a_shell() {
    assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
    assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
    assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
}

/// The failure of really executing `name`.
fn failure_of(name: &str) -> (u8, String) {
    let error = Command::new(name).spawn().expect_err("it can't be executed");
    let failure = cannot_execute(name, &error);
    (failure.code, failure.title)
}

#[test]
fn what_cannot_be_executed_is_told_apart() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").expect("a script");
    let script = script.to_str().expect("UTF-8");
    assert_eq!(failure_of("no-such-program"), (127, "there is no program 'no-such-program' in PATH".into()));
    assert_eq!(failure_of("/no/such/program"), (127, "there is no file '/no/such/program'".into()));
    assert_eq!(failure_of("/etc/passwd/x"), (127, "there is no file '/etc/passwd/x'".into()));
    assert_eq!(failure_of(script).0, 126);
    assert_eq!(failure_of("/usr").0, 126);
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).expect("chmod");
    assert_eq!(failure_of(script), (127, format!("cannot execute '{script}': what interprets it is missing")));
}
