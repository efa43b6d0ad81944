//! How what is up ends, in order and otherwise.

use std::fs;

use rustix::process::Signal;

use super::{PAIR, is_served, says, write};
use crate::machine::{Machine, SOON, leftovers, wait_until};

/// A service that says when it ends.
fn ends_aloud(name: &str) -> String {
    format!(
        "command = [\"sh\", \"-c\", \"trap 'echo {name} ends; exit' TERM; echo {name} waits; while :; do sleep 0.1; done\"]\n"
    )
}

#[test]
fn everything_ends_in_reverse_order() {
    Machine::run(&[], |machine| {
        let text = format!(
            "[host.a]\n{}depends-on = ['b']\n[host.b]\n{}depends-on = ['c']\n[host.c]\n{}",
            ends_aloud("a"),
            ends_aloud("b"),
            ends_aloud("c")
        );
        write(machine, "minato.toml", &text);
        let up = machine.user().start(machine.user().minato(&["up"]));
        wait_until("all three", SOON, || {
            ["a waits", "b waits", "c waits"].iter().all(|words| up.stdout().contains(words))
        });
        says(&up, "network 'work' is ready");
        // As from a terminal: the programs must not get it too.
        up.signal(Signal::INT);
        let up = up.finish().expect_success();
        let places = ["a ends", "b ends", "c ends"].map(|words| up.stdout.find(words).expect("its last word"));
        assert!(places.is_sorted(), "{}", up.stdout);
    });
}

#[test]
fn a_second_signal_ends_everything_at_once() {
    Machine::run(&[], |machine| {
        let deaf = "command = [\"sh\", \"-c\", \"trap 'echo asked' TERM; echo deaf; while :; do sleep 0.1; done\"]\nstop-timeout = 600\n";
        write(machine, "minato.toml", &format!("[host.a]\n{deaf}depends-on = ['b']\n[host.b]\n{deaf}"));
        let mut up = machine.user().start(machine.user().minato(&["up"]));
        wait_until("both", SOON, || up.stdout().matches("deaf").count() == 2);
        says(&up, "network 'work' is ready");
        up.signal(Signal::INT);
        wait_until("a to be asked to end", SOON, || up.stdout().contains("a | asked"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(up.is_running(), "they have ten minutes");
        up.signal(Signal::INT);
        up.finish().expect_success().expect_stderr(&["at once"]);
    });
}

#[test]
fn whoever_is_killed_leaves_nothing_and_the_next_command_works() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        write(machine, "minato.toml", PAIR);
        for victim in ["minato-up", "minato-engine", "minato-agent"] {
            user.minato_finish(&["up", "-d"]).expect_success();
            machine.processes_named(victim).iter().for_each(crate::machine::Process::kill);
            if victim == "minato-up" {
                // Whatever has ended by then: it waits for the rest.
                user.minato_finish(&["down"]).expect_success();
            }
            leftovers::assert_none();
        }
        user.minato_finish(&["up", "-d"]).expect_success();
        assert!(is_served(8080));
        user.minato_finish(&["down"]).expect_success();
    });
}

/// What has left the process group of its service is asked to end, although other programs of the host had ended before.
#[test]
fn what_a_service_has_left_behind_is_asked_to_end() {
    Machine::run(&["setsid"], |machine| {
        let user = machine.user();
        let daemon = "trap 'echo asked > asked; exit' TERM; echo up > up; while :; do sleep 0.1; done";
        write(machine, "daemon", daemon);
        let [up, asked] = ["up", "asked"].map(|name| machine.work().join(name));
        for more in ["", "bind-watch = false\n"] {
            let text = format!(
                "[host.a.service.once]\ncommand = 'true'\n\
                 [host.a.service.daemon]\ncommand = ['sh', '-c', 'setsid sh daemon & exec sleep 1000']\n{more}"
            );
            write(machine, "minato.toml", &text);
            user.minato_finish(&["up", "-d"]).expect_success();
            wait_until("the daemon", SOON, || up.exists());
            wait_until("the end of the other one", SOON, || {
                user.minato_json(&["ps", "-f", "minato.toml"])["up"]["services"]
                    .as_array()
                    .is_some_and(|services| services.iter().any(|service| service["exit_code"] == 0))
            });
            user.minato_finish(&["down"]).expect_success();
            assert!(asked.exists(), "no SIGTERM with {more:?}");
            [&up, &asked].into_iter().for_each(|file| fs::remove_file(file).expect("it was there"));
        }
    });
}

/// Also when it is the one in the foreground that is killed, with programs that have left their group and their parent.
#[test]
fn a_supervisor_in_the_foreground_that_is_killed_takes_everything_along() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        write(
            machine,
            "minato.toml",
            "[host.a]\ncommand = ['sh', '-c', 'setsid sleep 1000 & exec setsid sleep 1001']\n",
        );
        for _ in 0..3 {
            let up = user.start(user.minato(&["up"]));
            wait_until("both", SOON, || machine.processes_named("sleep").len() == 2);
            up.signal(Signal::KILL);
            drop(up);
            leftovers::assert_none();
        }
    });
}

/// When the supervisor is killed, its programs are asked to end, and have their stop-timeout for it, wherever they are.
#[test]
fn programs_of_a_killed_supervisor_are_asked_to_end() {
    Machine::run(&["python3", "setsid"], |machine| {
        let polite = "import os, signal, sys, time\nname = sys.argv[1]\ndef bye(*_):\n    time.sleep(1.5)\n    \
                      open(name + '.bye', 'w').close()\n    os._exit(0)\nsignal.signal(signal.SIGTERM, bye)\n\
                      open(name + '.up', 'w').close()\nwhile True:\n    time.sleep(1)\n";
        write(machine, "polite.py", polite);
        let text = "[host.a]\ncommand = 'python3 polite.py own'\n\
                    [host.b]\ncommand = ['sh', '-c', 'python3 polite.py child & setsid python3 polite.py daemon & exec sleep 1000']\n";
        write(machine, "minato.toml", text);
        let names = ["own", "child", "daemon"];
        let are = |end: &str| names.iter().all(|name| machine.work().join(format!("{name}.{end}")).exists());
        for account in [machine.user(), machine.root()] {
            for arguments in [&["up"][..], &["up", "-d"]] {
                let up = account.start(account.minato(arguments));
                wait_until("the programs", SOON, || are("up"));
                let supervisor = if arguments.len() == 1 {
                    up.id()
                } else {
                    wait_until("the supervisor", SOON, || !machine.processes_named("minato-up").is_empty());
                    machine.processes_named("minato-up").remove(0).pid
                };
                let pid = rustix::process::Pid::from_raw(i32::try_from(supervisor).expect("a number")).expect("one");
                rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
                leftovers::assert_none();
                drop(up);
                assert!(are("bye"), "no SIGTERM with {arguments:?}");
                for name in names.iter().flat_map(|name| [format!("{name}.up"), format!("{name}.bye")]) {
                    fs::remove_file(machine.work().join(name)).expect("it was there");
                }
            }
        }
    });
}

/// A host that is just being made is given up at once, also when the engine does not answer.
#[test]
fn what_waits_for_an_engine_that_hangs_can_be_ended() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let go = machine.work().join("go");
        let text = "[host.a]\ncommand = 'sleep 1002'\nready-command = ['test', '-e', 'go']\n\
                    [host.b]\ncommand = 'sleep 1001'\ndepends-on = ['a']\n";
        write(machine, "minato.toml", text);
        let up = user.start(user.minato(&["up"]));
        wait_until("a", SOON, || !machine.processes_with_argument("1002").is_empty());
        let [engine] = machine.engines().try_into().unwrap_or_else(|_| panic!("not one engine"));
        engine.signal(Signal::STOP);
        fs::write(&go, "").expect("a file");
        let status = || fs::read_to_string("/run/user/1000/minato/work/up.json").unwrap_or_default();
        wait_until("b to wait for the engine", SOON, || status().contains("\"b\":{\"state\":\"starting\""));
        up.signal(Signal::INT);
        wait_until("b to be given up", SOON, || !status().contains("\"b\":"));
        engine.signal(Signal::CONT);
        let up = up.finish();
        assert!(up.stderr.contains("was ended before everything was ready"), "{}", up.stderr);
        leftovers::assert_none();
    });
}

/// One that fails takes its host with it, and the others get the same time as ever.
#[test]
fn the_other_services_of_a_host_are_asked_to_end_when_one_fails() {
    Machine::run(&[], |machine| {
        let polite = "trap 'sleep 0.5; echo > saved; exit' TERM; echo > begun; while :; do sleep 0.1; done";
        let failing = "until test -e begun; do sleep 0.1; done; exit 3";
        let text = format!(
            "[host.a]\nready = 1234\n\
             [host.a.service.db]\ncommand = [\"sh\", \"-c\", \"{polite}\"]\n\
             [host.a.service.bad]\ncommand = [\"sh\", \"-c\", \"{failing}\"]\n"
        );
        write(machine, "minato.toml", &text);
        let up = machine.user().minato_finish(&["up"]).expect_code(1);
        assert!(up.stderr.contains("a/bad ended with exit code 3 before it was ready"), "{}", up.stderr);
        assert!(machine.work().join("saved").exists(), "it was killed: {}", up.stderr);
        // And no later than it is allowed to be.
        write(
            machine,
            "minato.toml",
            &text.replace("sleep 0.5; ", "sleep 600; ").replace("ready = 1234", "ready = 1234\nstop-timeout = 1"),
        );
        std::fs::remove_file(machine.work().join("begun")).expect("removed");
        let up = machine.user().minato_finish(&["up"]).expect_code(1);
        assert!(up.stderr.contains("has not ended within 1 s, and is killed"), "{}", up.stderr);
    });
}
