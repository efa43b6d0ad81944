//! What a program sees of `minato run`: its own exit code, identity, terminal files and environment.

use std::time::Duration;

use rustix::process::Signal;

use crate::machine::{Machine, SOON, wait_until};
use crate::support::api::Api;

#[test]
fn the_exit_code_is_the_programs() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        for code in [0, 7, 255] {
            user.run(&[], &["sh", "-c", &format!("exit {code}")]).finish().expect_code(code);
        }
        // As a shell tells it: 128 and the signal's number.
        user.run(&[], &["sh", "-c", "kill -TERM $$"]).finish().expect_code(143);
    });
}

#[test]
fn output_and_environment_stay_natural() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let mut command = user.minato(&["run", "--", "sh", "-c", "echo $GREETING; pwd; echo oops >&2"]);
        command.env("GREETING", "hello").current_dir("/usr");
        let finished = user.start(command).finish().expect_success().expect_stderr(&["oops"]);
        assert_eq!(finished.stdout, "hello\n/usr\n");
    });
}

#[test]
fn a_signal_to_run_reaches_the_program() {
    Machine::run(&[], |machine| {
        let script = "trap 'echo got TERM; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
        let run = machine.user().run(&["--name", "trap"], &["sh", "-c", script]);
        wait_until("the trap", SOON, || run.stdout().contains("ready"));
        run.signal(Signal::TERM);
        let finished = run.finish().expect_code(3);
        assert!(finished.stdout.contains("got TERM"), "{}", finished.stdout);
    });
}

#[test]
fn the_caller_keeps_its_identity_unless_it_wants_to_be_root() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let id =
            |arguments: &[&str]| user.run(arguments, &["sh", "-c", "id -u; id -g"]).finish().expect_success().stdout;
        assert_eq!(id(&[]), "1000\n1000\n");
        assert_eq!(id(&["--map-root"]), "0\n0\n");
        let root = machine.root().run(&["--map-root"], &["id", "-u"]).finish().expect_success();
        assert_eq!(root.stdout, "0\n");
    });
}

#[test]
fn ports_below_1024_and_the_ephemeral_range_are_the_hosts_own() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let read = ["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/net/ipv4/ip_local_port_range"];
        let finished = user.run(&[], &read).finish().expect_success();
        assert_eq!(finished.stdout.split_whitespace().collect::<Vec<_>>(), ["0", "49152", "65535"]);
        let finished = user.run(&["--ephemeral-range", "50000-50099"], &read).finish().expect_success();
        assert_eq!(finished.stdout.split_whitespace().collect::<Vec<_>>(), ["0", "50000", "50099"]);
    });
}

#[test]
fn background_processes_end_with_the_host() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run =
            user.run(&["--name", "parent"], &["sh", "-c", "setsid sleep 1000 & setsid sleep 1000 & echo started"]);
        run.finish_within(Duration::from_secs(10)).expect_success();
        wait_until("both sleeps to end", SOON, || machine.processes_named("sleep").is_empty());
    });
}

#[test]
fn the_engine_socket_is_private() {
    use std::os::unix::fs::PermissionsExt;
    Machine::run(&[], |machine| {
        let run = machine.user().run(&["--name", "one"], &["sleep", "100"]);
        Api::USER.host("one");
        let directory = std::path::Path::new("/run/user/1000/minato/default");
        let mode =
            |path: std::path::PathBuf| std::fs::metadata(path).expect("its metadata").permissions().mode() & 0o777;
        assert_eq!(mode(directory.join("api.sock")), 0o600);
        assert_eq!(mode(directory.to_owned()), 0o700);
        run.stop();
    });
}

/// Whoever waits for the end of a pipe would wait for the engine's.
#[test]
fn the_engine_keeps_nothing_open_that_its_starter_had() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let mut command = user.command("sh");
        command.args(["-c", "exec 7>inherited; exec /run/bin/minato run --name one -- sleep 100"]);
        let run = user.start(command);
        Api::USER.host("one");
        let processes = [machine.engines(), machine.processes_with_argument("__agent")].concat();
        assert!(processes.len() >= 2);
        for process in processes {
            let open = std::fs::read_dir(format!("/proc/{}/fd", process.pid)).expect("its descriptors");
            let targets = open.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
            let inherited: Vec<_> = targets.filter(|target| target.ends_with("inherited")).collect();
            assert!(inherited.is_empty(), "{process} has {inherited:?} open");
        }
        run.stop();
    });
}

#[test]
fn without_a_runtime_directory_a_private_temporary_one_is_used() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let mut command = user.minato(&["run", "--", "ls", "/run/tmp/minato-1000/default"]);
        command.env_remove("XDG_RUNTIME_DIR");
        let finished = user.start(command).finish().expect_success();
        assert!(finished.stdout.contains("api.sock"), "{}", finished.stdout);
    });
}

#[test]
fn a_temporary_directory_of_somebody_else_is_refused() {
    Machine::run(&[], |machine| {
        std::fs::create_dir("/run/tmp/minato-1000").expect("a trap");
        let user = machine.user();
        let mut command = user.minato(&["run", "--", "true"]);
        command.env_remove("XDG_RUNTIME_DIR");
        let finished = user.start(command).finish().expect_stderr(&["/run/tmp/minato-1000"]);
        assert!(!finished.status.success());
    });
}
