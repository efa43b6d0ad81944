//! Processes that have left their host's namespaces: they end with it all the same, and nobody else does.

use crate::machine::{Account, Machine, Process, Program, SOON, leftovers, wait_until};

/// Leaves the network and the mount namespace.
fn leave(account: &Account<'_>) -> &'static str {
    if account.is_root() { "unshare -mn" } else { "unshare -Urmn" }
}

fn runs(machine: &Machine, number: &str) -> bool {
    machine.processes_with_argument(number).iter().any(|process| process.name == "sleep")
}

/// A host with a process that has left its namespaces and whose parent has ended.
fn with_orphan(account: &Account<'_>, machine: &Machine, host: &str, leave: &str, number: &str) -> Program {
    let script = format!("({leave} sleep {number} &) ; exec sleep 5000");
    let run = account.run(&["--name", host], &["sh", "-c", &script]);
    wait_until("the orphan", SOON, || runs(machine, number));
    run
}

#[test]
fn an_orphan_ends_with_its_host_and_that_of_another_goes_on() {
    Machine::run(&[], |machine| {
        for account in [machine.root(), machine.user()] {
            let leave = leave(&account);
            let other = with_orphan(&account, machine, "other", leave, "3001");
            let script = format!("{leave} sleep 1001 & sleep 0.4");
            account
                .run(&["--name", "web"], &["sh", "-c", &script])
                .finish_within(SOON)
                .expect_success()
                .expect_stderr(&["host 'web' ended with its program; these were still running in it", "sleep (pid "]);
            assert!(!runs(machine, "1001"), "it has survived its host");
            assert!(runs(machine, "3001"), "it belongs to a host that is there");
            other.stop();
            leftovers::assert_none();
        }
    });
}

/// What it is found by ends before it does.
#[test]
fn a_child_that_has_left_ends_although_its_parent_ends_first() {
    Machine::run(&[], |machine| {
        for account in [machine.root(), machine.user()] {
            let deaf = format!("{} --time sh -c 'trap : TERM; while :; do sleep 0.1; done'; :", leave(&account));
            let script = format!("sh -c \"{deaf}\" & sleep 0.4");
            account.run(&[], &["sh", "-c", &script]).finish_within(SOON).expect_success();
            leftovers::assert_none();
        }
    });
}

/// An ordinary user's: into a user namespace that was made inside of the network's.
#[test]
fn an_orphan_that_has_left_every_namespace_ends_with_the_network() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = with_orphan(&user, machine, "web", "unshare -UrmnT", "1001");
        run.stop();
        leftovers::assert_none();
    });
}

#[test]
fn orphans_end_when_minato_is_killed() {
    Machine::run(&[], |machine| {
        let kill = |processes: Vec<Process>| {
            assert!(!processes.is_empty(), "nobody to kill");
            processes.iter().for_each(Process::kill);
        };
        for account in [machine.root(), machine.user()] {
            let leave = leave(&account);
            for victim in ["run", "__engine", "__agent"] {
                let run = with_orphan(&account, machine, "web", leave, "1001");
                match victim {
                    "run" => run.signal(rustix::process::Signal::KILL),
                    argument => kill(machine.processes_with_argument(argument)),
                }
                run.finish_within(SOON);
                leftovers::assert_none();
            }
        }
        for victim in ["__engine", "__agent"] {
            let run = with_orphan(&machine.user(), machine, "web", "unshare -UrmnT", "1001");
            kill(machine.processes_with_argument(victim));
            run.finish_within(SOON);
            leftovers::assert_none();
        }
    });
}
