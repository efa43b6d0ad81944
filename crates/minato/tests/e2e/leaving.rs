//! Processes that have left their host's namespaces: they end with it all the same, and nobody else does.

use crate::machine::{Account, Machine, Process, Program, SOON, TIME_NAMESPACES, leftovers, wait_until};

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
    Machine::run(&[TIME_NAMESPACES], |machine| {
        for account in [machine.root(), machine.user()] {
            let leave = leave(&account);
            let other = with_orphan(&account, machine, "other", leave, "3001");
            // Its name is `unshare` until it has left.
            let left = "until [ \"$(cat /proc/$!/comm)\" = sleep ]; do sleep 0.1; done";
            let script = format!("{leave} sleep 1001 & {left}");
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
    Machine::run(&[TIME_NAMESPACES], |machine| {
        for account in [machine.root(), machine.user()] {
            let waits = "trap : TERM; echo > is-deaf; while :; do sleep 0.1; done";
            let deaf = format!("{} --time sh -c '{waits}'; :", leave(&account));
            let script = format!("sh -c \"{deaf}\" & until [ -e is-deaf ]; do sleep 0.1; done");
            account.run(&[], &["sh", "-c", &script]).finish_within(SOON).expect_success();
            leftovers::assert_none();
            std::fs::remove_file(machine.work().join("is-deaf")).expect("removed");
        }
    });
}

/// The kernel tells nothing of such a process under its own number but that it has threads.
#[test]
fn a_process_whose_first_thread_has_ended_ends_with_its_host() {
    Machine::run(&["python3"], |machine| {
        let threads = "import ctypes, threading, time\n\
                       threading.Thread(target=time.sleep, args=(1000,)).start()\n\
                       ctypes.CDLL(None).pthread_exit(None)";
        std::fs::write(machine.work().join("threads.py"), threads).expect("a file");
        let is_there = || {
            let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
            let stats = processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
            stats.filter(|stat| stat.contains("(python3) Z")).any(|stat| stat.split(' ').nth(19) == Some("2"))
        };
        for account in [machine.root(), machine.user()] {
            let run = account.run(&[], &["sh", "-c", "python3 threads.py & exec sleep 5000"]);
            wait_until("the end of its first thread", SOON, is_there);
            run.stop();
            wait_until("its end", SOON, || !is_there());
        }
    });
}

/// An ordinary user's: into a user namespace that was made inside of the network's.
#[test]
fn an_orphan_that_has_left_every_namespace_ends_with_the_network() {
    Machine::run(&[TIME_NAMESPACES], |machine| {
        let user = machine.user();
        let run = with_orphan(&user, machine, "web", "unshare -UrmnT", "1001");
        run.stop();
        leftovers::assert_none();
    });
}

#[test]
fn orphans_end_when_minato_is_killed() {
    Machine::run(&[TIME_NAMESPACES], |machine| {
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
