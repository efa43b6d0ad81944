//! Programs that end while everything was ready, and what is said and shown of them.

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
        let text = "[host.job]\ncommand = ['sh', '-c', '[ -e good ] && exec sleep 1000; exit 3']\nrestart = 'always'\n\
                    [host.web]\ncommand = ['sh', '-c', '[ -e bad ] && exit 4; exec python3 -u -m http.server 80']\n\
                    ready = 80\nrestart = 'always'\n";
        write(machine, "minato.toml", text);
        let up = user.start(user.minato(&["up"]));
        says(&up, "job ended with exit code 3; starts again in");
        says(&up, "web is ready");
        let state = |host: &str| user.minato_json(&["ps"])["up"]["hosts"][host]["state"].clone();
        wait_until("it restarts", SOON, || state("job") == "restarting");
        assert!(user.minato_finish(&["ps"]).stdout.contains("restarting"));
        // A run that a busy machine ends late may look steady, but not most of them.
        let looks = (0..10).map(|_| state("job"));
        let restarting = looks.filter(|state| state == "restarting").count();
        assert!(restarting > 5, "{restarting} of 10");
        assert_eq!(state("web"), "ready");
        write(machine, "good", "");
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
