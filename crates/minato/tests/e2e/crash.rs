//! `kill -9`: nothing is left, and the next start works. And `kill -STOP`, which nobody waits for in vain.

use std::time::Instant;

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
            let finished = run.finish_within(SOON);
            assert!(!finished.status.success(), "run must not report success");
            // Its directory goes with it.
            assert!(!finished.stderr.contains("engine.log"), "{}", finished.stderr);
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
        wait_until("the programs' last words", SOON, || exists("bye"));
        for run in runs {
            assert!(!run.finish_within(SOON).status.success(), "run must not report success");
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
        run.finish_within(SOON);
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

/// Whoever keeps the host: a program that hears no SIGTERM goes with its `minato`.
#[test]
fn exec_is_killed_and_the_host_stays() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let web = start(&user, machine);
        let deaf = |number: &str| format!("trap '' TERM; sleep {number}; :");
        let exec = user.exec("web", &["sh", "-c", &deaf("1001")]);
        let run = user.run(&["--name", "mail"], &["sh", "-c", &deaf("1002")]);
        let is_there = |number: &str| !machine.processes_with_argument(&deaf(number)).is_empty();
        wait_until("both", SOON, || {
            ["1001", "1002"].iter().all(|number| !machine.processes_with_argument(number).is_empty())
        });
        let guest = user.exec("mail", &["sleep", "1003"]);
        let sleeps = |process: &crate::machine::Process| process.name == "sleep";
        wait_until("the guest", SOON, || machine.processes_with_argument("1003").iter().any(sleeps));
        for (program, number) in [(exec, "1001"), (run, "1002")] {
            program.signal(Signal::KILL);
            program.finish();
            wait_until("the program's end", SOON, || !is_there(number));
        }
        assert!(net::read_from("127.0.0.1:8080").is_some(), "the host must go on");
        guest.stop();
        web.stop();
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

#[test]
fn an_engine_that_is_stopped_is_named() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let web = start(&user, machine);
        let other = user.run(&["--network", "other"], &["sleep", "100"]);
        wait_until("both engines", SOON, || machine.engines().len() == 2);
        let of_default = |engine: &crate::machine::Process| engine.command.iter().any(|word| word == "default");
        let engine = machine.engines().into_iter().find(of_default).expect("its engine");
        user.finish("kill", &["-STOP", &engine.pid.to_string()]).expect_success();
        let words = format!("network 'default' answers nothing: its engine (pid {}) is stopped", engine.pid);
        let fix = format!("kill -CONT {}", engine.pid);
        for command in [
            &["ps"][..],
            &["ports"],
            &["flows", "web"],
            &["forward", "ls"],
            &["forward", "add", "-p", "8081:80", "web"],
            &["explain", "8080"],
            &["exec", "web", "--", "true"],
            &["run", "--", "true"],
        ] {
            user.minato_finish(command).expect_code(1).expect_stderr(&[&words, &format!("try: {fix}")]);
        }
        let doctor = user.minato_finish(&["doctor"]).expect_success().stdout;
        assert!(doctor.contains(&format!("network 'default': its engine (pid {}) is stopped", engine.pid)), "{doctor}");
        assert!(doctor.contains(&format!("FIX  {fix}")) && doctor.contains("nothing is hidden by other"), "{doctor}");
        user.finish("sh", &["-c", &fix]).expect_success();
        user.minato_finish(&["exec", "web", "--", "true"]).expect_success();
        let doctor = user.minato_finish(&["doctor"]).expect_success().stdout;
        assert!(!doctor.contains("stopped"), "{doctor}");
        other.stop();
        web.stop();
    });
}

/// Its program has ended, and its agent does not answer: a signal says what is waited for, another one ends that.
#[test]
fn nobody_has_to_wait_for_an_agent_that_is_stopped() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let mut run = user.run(&["--name", "web"], &["sh", "-c", "sleep 100 & until test -e go; do sleep 0.1; done"]);
        wait_until("the program", SOON, || !machine.processes_named("sleep").is_empty());
        let [agent] = machine.processes_with_argument("__agent").try_into().ok().expect("one agent");
        agent.signal(Signal::STOP);
        std::fs::write(machine.work().join("go"), "").expect("a file");
        wait_until("the program's end", SOON, || machine.processes_named("sh").is_empty());
        let warning = "host 'web' has not ended yet; once more leaves it to its engine";
        let mut next = Instant::now();
        wait_until(warning, SOON, || {
            // One that came before it knew of the program's end was for the program.
            if Instant::now() >= next {
                run.signal(Signal::INT);
                next += SOON / 8;
            }
            run.stderr().contains(warning)
        });
        assert!(run.is_running(), "it waits on");
        run.signal(Signal::INT);
        run.finish_within(SOON).expect_code(128 + 2).expect_stderr(&["host 'web' may not be gone"]);
        agent.signal(Signal::CONT);
        leftovers::assert_none();
    });
}
