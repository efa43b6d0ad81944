//! Programs that end while everything was ready, and what is said and shown of them.

use std::os::unix::fs::PermissionsExt;

use super::{says, write};
use crate::machine::{Machine, SOON, wait_until};

#[test]
fn how_and_what_has_ended_is_said_and_written_down() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        // They end when the test says so, after everything was ready.
        let text = "[host.a.service.x]\ncommand = ['sh', '-c', 'until [ -e x ]; do sleep 0.1; done; exit 3']\n\
                    [host.a.service.y]\ncommand = ['sh', '-c', 'until [ -e y ]; do sleep 0.1; done']\n\
                    [host.b]\ncommand = ['sh', '-c', 'until [ -e b ]; do sleep 0.1; done; kill -9 $$']\n";
        write(machine, "minato.toml", text);
        let up = user.start(user.minato(&["up"]));
        says(&up, "network 'work' is ready");
        write(machine, "x", "");
        says(&up, "a/x ended with exit code 3");
        let logs = user.minato_finish(&["logs"]).expect_success();
        assert!(logs.stdout.contains("| a/x ended with exit code 3"), "{}", logs.stdout);
        write(machine, "y", "");
        says(&up, "a/y ended with exit code 0");
        says(&up, "a has ended, not all of it well");
        write(machine, "b", "");
        says(&up, "b ended with SIGKILL");
        up.finish().expect_code(1);
    });
}

#[test]
fn a_service_that_crashes_again_and_again_is_not_ready() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let text = "[host.job]\ncommand = ['sh', '-c', '[ -e crash ] && exit 3; exec sleep 1000']\nrestart = 'always'\n\
                    [host.web]\ncommand = ['sh', '-c', '[ -e bad ] && exit 4; exec python3 -u -m http.server 80']\n\
                    ready = 80\nrestart = 'always'\n";
        write(machine, "minato.toml", text);
        let up = user.start(user.minato(&["up"]));
        says(&up, "network 'work' is ready");
        write(machine, "crash", "");
        machine.processes_named("sleep").iter().for_each(crate::machine::Process::kill);
        says(&up, "job ended with exit code 3; starts again in");
        let state = |host: &str| user.minato_json(&["ps"])["up"]["hosts"][host]["state"].clone();
        wait_until("it restarts", SOON, || state("job") == "restarting");
        assert!(user.minato_finish(&["ps"]).stdout.contains("restarting"));
        // A run that a busy machine ends late may look steady, but not most of them.
        let looks = (0..10).map(|_| state("job"));
        let restarting = looks.filter(|state| state == "restarting").count();
        assert!(restarting > 5, "{restarting} of 10");
        assert_eq!(state("web"), "ready");
        std::fs::remove_file(machine.work().join("crash")).expect("removed");
        wait_until("it runs", SOON, || state("job") == "ready");
        // One with a port is ready when that listens again.
        write(machine, "bad", "");
        machine.processes_named("python3").iter().for_each(crate::machine::Process::kill);
        wait_until("it restarts", SOON, || state("web") == "restarting");
        std::fs::remove_file(machine.work().join("bad")).expect("removed");
        wait_until("it serves", SOON, || state("web") == "ready");
        let reached = user.minato_finish(&[
            "exec",
            "web",
            "--",
            "python3",
            "-c",
            "import socket; socket.create_connection(('127.0.0.1', 80))",
        ]);
        reached.expect_success();
        up.stop().expect_success();
    });
}

/// Nobody waits for ever for hosts that are ready for a moment again and again.
#[test]
fn a_service_that_crashes_before_everything_is_ready_has_five_tries() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let job = |end: &str| {
            format!(
                "[host.job]\ncommand = ['sh', '-c', 'echo >> runs; {end}']\nrestart = 'always'\n\
                 [host.slow]\ncommand = 'sleep 1000'\n\
                 ready-command = ['sh', '-c', '[ $(wc -l < runs) -ge 3 ]']\n"
            )
        };
        write(machine, "minato.toml", &job("exit 3"));
        // It may have counted as ready for a moment.
        let words = ["job ended with exit code 3 before "];
        user.minato_finish(&["up", "-d"]).expect_code(1).expect_stderr(&words);
        let runs = std::fs::read_to_string(machine.work().join("runs")).expect("its runs");
        assert_eq!(runs.lines().count(), 5);
        // A job that ends well each time is no failure, however often, and those that wait for it start.
        std::fs::remove_file(machine.work().join("runs")).expect("it ran");
        let text = job("exit 0").replace("-ge 3", "-ge 6") + "depends-on = ['job']\n";
        write(machine, "minato.toml", &text);
        let up = user.minato_finish(&["up", "-d"]).expect_success();
        up.expect_stderr(&["job ended with exit code 0; starts again", "network 'work' is ready"]);
        assert_eq!(user.minato_json(&["ps"])["up"]["hosts"]["job"]["state"], "ready");
        user.minato_finish(&["down"]).expect_success();
    });
}

#[test]
fn a_program_that_is_gone_before_everything_is_ready_has_five_tries() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        // It runs for a moment, so that its host has been ready: one that never was is not tried again.
        write(machine, "job", "#!/bin/sh\nrm job\nsleep 1\nexit 3\n");
        std::fs::set_permissions(machine.work().join("job"), PermissionsExt::from_mode(0o755)).expect("chmod");
        let text = "[host.job]\ncommand = './job'\nrestart = 'always'\n\
                    [host.slow]\ncommand = 'sleep 1000'\nready-command = 'false'\n";
        write(machine, "minato.toml", text);
        let up = user.minato_finish(&["up", "-d"]).expect_code(1);
        up.expect_stderr(&["job could not be started", "it is the program of job"]);
    });
}

/// As a program may be, it is just being built.
#[test]
fn a_ready_command_that_is_missing_for_a_moment_ends_nothing() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let (check, away) = (machine.work().join("check"), machine.work().join("away"));
        write(machine, "check", "#!/bin/sh\nexit 0\n");
        std::fs::set_permissions(&check, PermissionsExt::from_mode(0o755)).expect("chmod");
        let text = "[host.a]\ncommand = 'sleep 1000'\nready-command = './check'\nrestart = 'always'\n";
        write(machine, "minato.toml", text);
        let up = user.start(user.minato(&["up"]));
        says(&up, "network 'work' is ready");
        std::fs::rename(&check, &away).expect("renamed");
        machine.processes_named("sleep").iter().for_each(crate::machine::Process::kill);
        says(&up, "a is not ready: its ready-command can't be run: ");
        let state = || user.minato_json(&["ps"])["up"]["hosts"]["a"]["state"].clone();
        assert_eq!(state(), "restarting");
        assert_eq!(machine.processes_named("sleep").len(), 1, "the program itself runs");
        std::fs::rename(&away, &check).expect("renamed");
        wait_until("it is ready again", SOON, || state() == "ready");
        up.stop().expect_success();
    });
}
