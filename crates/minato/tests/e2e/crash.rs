//! `kill -9`: nothing is left, and the next start works.

use std::time::Duration;

use rustix::process::Signal;

use crate::machine::{Account, Machine, Program, SOON, leftovers, wait_for, wait_until};
use crate::support::net;

fn start(account: &Account<'_>, machine: &Machine) -> Program {
    let run = account.run(&["--name", "web", "-p", "8080:80"], &machine.peer("who 80"));
    wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
    run
}

/// After the crash: nothing left, and everything works once more under the same name and port.
fn works_again(account: &Account<'_>, machine: &Machine) {
    leftovers::assert_none();
    start(account, machine).stop();
}

#[test]
fn the_engine_is_killed() {
    Machine::run(&[], |machine| {
        for account in [machine.user(), machine.root()] {
            let run = start(&account, machine);
            machine.engines().iter().for_each(crate::machine::Process::kill);
            let finished = run.finish_within(Duration::from_secs(5));
            assert!(!finished.status.success(), "run must not report success");
            works_again(&account, machine);
        }
    });
}

/// Programs of every host are asked to end before they are made to, those in the background too.
#[test]
fn the_engine_is_told_to_end() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let script = |host: &str| {
            let polite = format!("trap 'sleep 0.2; echo goodbye > {host}.bye; exit' TERM; echo > {host}.ready");
            format!("setsid sh -c \"{polite}; while :; do sleep 0.05; done\" & wait")
        };
        let runs = ["web", "mail"].map(|host| user.run(&["--name", host], &["sh", "-c", &script(host)]));
        let exists =
            |end: &str| ["web", "mail"].iter().all(|host| machine.work().join(format!("{host}.{end}")).exists());
        wait_until("the programs", SOON, || exists("ready"));
        machine.engines().iter().for_each(|engine| engine.signal(Signal::TERM));
        wait_until("the programs' last words", Duration::from_secs(5), || exists("bye"));
        for run in runs {
            assert!(!run.finish_within(Duration::from_secs(5)).status.success(), "run must not report success");
        }
        works_again(&user, machine);
    });
}

#[test]
fn the_agent_is_killed() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = start(&user, machine);
        let agents = machine.processes_with_argument("__agent");
        assert!(!agents.is_empty(), "no agent");
        agents.iter().for_each(crate::machine::Process::kill);
        run.finish_within(Duration::from_secs(5));
        works_again(&user, machine);
    });
}

#[test]
fn run_is_killed() {
    Machine::run(&[], |machine| {
        for account in [machine.user(), machine.root()] {
            let run = start(&account, machine);
            run.signal(Signal::KILL);
            run.finish();
            works_again(&account, machine);
        }
    });
}

#[test]
fn the_program_is_killed() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web", "-p", "8080:80"], &["sleep", "100"]);
        let [sleep] = wait_for("the program", SOON, || machine.processes_named("sleep").try_into().ok());
        sleep.kill();
        run.finish().expect_code(128 + 9);
        works_again(&user, machine);
    });
}

#[test]
fn one_of_two_programs_is_killed() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let web = start(&user, machine);
        let other = user.exec("web", &["sleep", "100"]);
        let [sleep] = wait_for("the second program", SOON, || machine.processes_named("sleep").try_into().ok());
        sleep.kill();
        other.finish().expect_code(128 + 9);
        assert!(net::read_from("127.0.0.1:8080").is_some(), "the first must go on");
        web.stop();
    });
}
