//! Mistakes: a clear error, the right exit code, and nothing left behind.

use std::net::TcpListener;

use crate::machine::{Machine, SOON, leftovers, wait_until};
use crate::support::api::Api;

/// Arguments of `minato`, the exit code, and what its message must contain.
const MISTAKES: &[(&[&str], i32, &[&str])] = &[
    (&["run"], 2, &[]),
    (&["run", "--name", "web"], 2, &[]),
    (&["run", "--no-such-flag", "--", "true"], 2, &["--no-such-flag"]),
    (&["no-such-command"], 2, &["no-such-command"]),
    (&["run", "-p", "0:80", "--", "true"], 2, &["0"]),
    (&["run", "-p", "8080:0", "--", "true"], 2, &["0"]),
    (&["run", "-p", "65536:80", "--", "true"], 2, &["65536"]),
    (&["run", "-p", "8080:65536", "--", "true"], 2, &["65536"]),
    (&["run", "-p", "eighty:80", "--", "true"], 2, &["eighty"]),
    (&["run", "-p", "8080", "--", "true"], 2, &["8080"]),
    (&["run", "-p", "8080:80/sctp", "--", "true"], 2, &["sctp"]),
    (&["run", "-p", "999.0.0.1:8080:80", "--", "true"], 2, &["999.0.0.1"]),
    (&["run", "-p", "9000-9010:80-85", "--", "true"], 2, &["9000-9010"]),
    (&["run", "-p", "9010-9000:80-90", "--", "true"], 2, &["9010"]),
    (&["run", "-p", "9000-9010:9000-9010", "-p", "9005:80", "--", "true"], 2, &["9005"]),
    (&["run", "-p", "203.0.113.5:8080:80", "--", "true"], 11, &["203.0.113.5"]),
    (&["run", "-p", "80:80", "--", "true"], 13, &["80", "ip_unprivileged_port_start"]),
    (&["run", "--name", "Not_A_Name!", "--", "true"], 2, &["Not_A_Name!"]),
    (&["run", "--name", "../../etc", "--", "true"], 2, &["../../etc"]),
    (&["run", "--network", "../x", "--", "true"], 2, &["../x"]),
    (&["run", "--ephemeral-range", "60000-50000", "--", "true"], 2, &["60000"]),
    (&["run", "--host-port", "0", "--", "true"], 2, &["0"]),
    (&["run", "--", "/no/such/program"], 127, &["/no/such/program"]),
    (&["run", "--", "no-such-program"], 127, &["no-such-program"]),
    (&["run", "--", "/etc/passwd"], 126, &["/etc/passwd"]),
    (&["run", "--", "/usr"], 126, &["/usr"]),
    (
        &["service", "nosuchsvc"],
        10,
        &["no name registered with IANA contains 'nosuchsvc'", "the registry here is of 20"],
    ),
    (&["help", "nosuch"], 2, &["nosuch"]),
    (&["exec", "nobody", "--", "true"], 10, &["no network 'default'"]),
];

#[test]
fn mistakes_have_their_exit_codes_and_leave_nothing() {
    Machine::run(&[], |machine| {
        let mut wrong = Vec::new();
        for (arguments, code, parts) in MISTAKES {
            let finished = machine.user().minato_finish(arguments);
            let says = parts.iter().all(|part| finished.stderr.contains(part)) && !finished.stderr.trim().is_empty();
            if finished.status.code() != Some(*code) || !says || finished.stderr.contains("panicked") {
                wrong.push(format!(
                    "{}: {} (expected {code}, {parts:?}): {}",
                    finished.shown, finished.status, finished.stderr
                ));
            }
            wrong.extend(
                leftovers::wait_for_none().into_iter().map(|left| format!("{} left behind: {left}", finished.shown)),
            );
        }
        assert!(wrong.is_empty(), "{} mistakes are treated wrongly:\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn help_is_a_command_too() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        for (command, flag) in
            [(&["help"][..], &["--help"][..]), (&["help", "forward", "add"], &["forward", "add", "--help"])]
        {
            let help = user.minato_finish(command).expect_success().stdout;
            assert_eq!(help, user.minato_finish(flag).expect_success().stdout);
        }
    });
}

#[test]
fn a_command_inside_a_host_is_told_why_it_cannot_enter_another() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let inside =
            user.run(&["--name", "in"], &["/run/bin/minato", "run", "--name", "second", "--", "true"]).finish();
        inside.expect_code(1).expect_stderr(&[
            "cannot enter host 'second'",
            "runs inside host 'in'",
            "try: leave this host",
        ]);
        let fix = ["/run/bin/minato", "run", "--network", "other", "--", "true"];
        user.run(&["--name", "in"], &fix).finish().expect_success();
    });
}

#[test]
fn a_runtime_directory_without_room_is_named() {
    Machine::run(&["mount"], |machine| {
        let small = "mkdir /run/small && mount -t tmpfs -o size=16k,mode=700,uid=1000,gid=1000 none /run/small && \
                     head -c 1M /dev/zero > /run/small/full";
        let _ = machine.root().finish("sh", &["-c", small]);
        let user = machine.user();
        let mut command = user.minato(&["run", "--", "true"]);
        command.env("XDG_RUNTIME_DIR", "/run/small");
        let full = user.start(command).finish().expect_code(1);
        full.expect_stderr(&[
            "can't write /run/small/minato/default/subnet: No space left",
            "try: df -h /run/small/minato/default",
        ]);
    });
}

#[test]
fn mistakes_of_exec_do_not_end_the_host() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web"], &["sleep", "100"]);
        Api::USER.host("web");
        user.exec("nobody", &["true"]).finish().expect_code(10).expect_stderr(&["nobody"]);
        user.exec("web", &["/no/such/program"]).finish().expect_code(127);
        user.exec("web", &["/etc/passwd"]).finish().expect_code(126);
        user.exec("web", &["true"]).finish().expect_success();
        run.stop();
    });
}

#[test]
fn a_second_host_of_the_same_name_is_refused() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let mut first = user.run(&["--name", "web", "-p", "8080:80"], &["sleep", "100"]);
        Api::USER.host("web");
        user.run(&["--name", "web", "-p", "9090:80"], &["true"]).finish().expect_code(16).expect_stderr(&["web"]);
        assert!(TcpListener::bind("127.0.0.1:9090").is_ok(), "the failed one holds a port");
        assert!(first.is_running());
        first.stop();
    });
}

#[test]
fn a_taken_port_names_its_holder() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let ours = TcpListener::bind("127.0.0.1:8080").expect("a port");
        // The first forward is possible, the second is not: neither must stay.
        let run = user.run(&["--name", "web", "-p", "8081:80", "-p", "8080:80"], &["true"]).finish().expect_code(16);
        run.expect_stderr(&["8080"]);
        leftovers::assert_none();
        drop(ours);

        let holder = user.start({
            let mut command = user.command("env");
            command.args(machine.peer("who 127.0.0.1:8080").iter().skip(1));
            command
        });
        wait_until("the holder", SOON, || crate::support::net::read_from("127.0.0.1:8080").is_some());
        let run = user.run(&["--name", "web", "-p", "8080:80"], &["true"]).finish().expect_code(16);
        run.expect_stderr(&["8080", "e2e", &holder.id().to_string()]);
        holder.stop();

        let first = user.run(&["--name", "first", "-p", "8080:80"], &["sleep", "100"]);
        Api::USER.host("first");
        let run = user.run(&["--name", "second", "-p", "8080:80"], &["true"]).finish().expect_code(16);
        run.expect_stderr(&["8080", "first"]);
        first.stop();
    });
}

#[test]
fn a_doctor_finds_nothing_on_a_good_machine() {
    Machine::run(&[], |machine| {
        for account in [machine.user(), machine.root()] {
            account.minato_finish(&["doctor"]).expect_success();
        }
    });
}

#[test]
fn without_a_tun_device_the_cause_and_the_fix_are_named() {
    Machine::run(&[], |machine| {
        machine.root().finish("chmod", &["600", "/dev/net/tun"]).expect_success();
        let run = machine.user().run(&["--name", "web"], &["true"]).finish().expect_code(15);
        run.expect_stderr(&["/dev/net/tun"]);
        let doctor = machine.user().minato_finish(&["doctor"]).expect_code(15);
        assert!(doctor.stdout.contains("/dev/net/tun"), "{}", doctor.stdout);
    });
}

#[test]
fn a_tun_device_that_is_something_else_is_found() {
    Machine::run(&[], |machine| {
        machine.root().finish("mount", &["--bind", "/dev/null", "/dev/net/tun"]).expect_success();
        machine.root().run(&["--name", "web"], &["true"]).finish().expect_code(15);
        let doctor = machine.root().minato_finish(&["doctor"]).expect_code(15);
        assert!(doctor.stdout.contains("/dev/net/tun is something else"), "{}", doctor.stdout);
        machine.root().finish("umount", &["/dev/net/tun"]).expect_success();
    });
}

#[test]
fn without_user_namespaces_the_cause_and_the_fix_are_named() {
    Machine::run(&[], |machine| {
        // The limit belongs to a user namespace, so this test makes one, instead of changing the real machine's.
        let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
                      exec setpriv --ambient-caps=-all --inh-caps=-all /run/bin/minato run --name web -- true";
        let unshare = ["--user", "--map-current-user", "--keep-caps", "sh", "-c", script];
        let finished = machine.user().finish("unshare", &unshare);
        finished.expect_code(15).expect_stderr(&["max_user_namespaces"]);
    });
}
