//! `minato explain`: real situations, the diagnosis, and whether the printed fix mends them.

mod networks;

use std::net::TcpListener;

use crate::machine::{Account, Machine, Program, SOON, wait_until};
use crate::support::api::Api;
use crate::support::net;

/// What `explain` says: its exit code is checked, its text must have these parts.
pub(crate) fn explain(user: &Account<'_>, arguments: &[&str], code: i32, parts: &[&str]) -> String {
    let text = user.minato_finish(&[&["explain"], arguments].concat()).expect_code(code).stdout;
    parts.iter().for_each(|part| assert!(text.contains(part), "no {part:?} in:\n{text}"));
    text
}

/// Runs the fix that was printed last, as somebody would who pastes it.
pub(crate) fn run_fix(user: &Account<'_>, text: &str) {
    let fix = printed_fix(text);
    user.finish("sh", &["-c", &format!("PATH=/run/bin:$PATH; {fix}")]).expect_success();
}

/// The fix that was printed last, which is the best one.
pub(crate) fn printed_fix(text: &str) -> &str {
    text.lines().rev().find_map(|line| line.strip_prefix("FIX  ")).expect("a fix")
}

/// Starts a fix that leaves a word open, with `program` in its place.
pub(crate) fn start_fix(user: &Account<'_>, fix: &str, program: &[String]) -> Program {
    assert!(fix.contains(" -- PROGRAM"), "{fix}");
    let program: Vec<String> = program.iter().map(|word| format!("'{word}'")).collect();
    let mut command = user.command("sh");
    command.args(["-c", &format!("PATH=/run/bin:$PATH; exec {}", fix.replace("PROGRAM", &program.join(" ")))]);
    user.start(command)
}

pub(crate) fn works(user: &Account<'_>, target: &str, address: &str) {
    wait_until("the fix to work", SOON, || net::read_from(address).is_some());
    explain(user, &[target], 0, &["accepted"]);
}

#[test]
fn a_missing_forward_is_found_and_mended() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web"], &machine.peer("who 3000"));
        wait_until("the service", SOON, || Api::USER.port("web", 3000).is_some());
        let text = explain(&user, &["3000"], 12, &["✗ forward", "none to web:3000", "web serves the port"]);
        run_fix(&user, &text);
        works(&user, "3000", "127.0.0.1:3000");
        run.stop();
    });
}

#[test]
fn a_forward_to_another_port_is_found_and_mended() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web", "-p", "8080:80"], &machine.peer("who 3000"));
        wait_until("the service", SOON, || Api::USER.port("web", 3000).is_some());
        let text = explain(&user, &["8080"], 12, &["leads to port 80", "web listens on 3000"]);
        run_fix(&user, &text);
        works(&user, "8080", "127.0.0.1:8080");
        run.stop();
    });
}

#[test]
fn a_missing_family_is_found_and_mended() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web", "-p", "127.0.0.1:8080:80"], &machine.peer("who 80"));
        wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
        let text = explain(&user, &["8080"], 11, &["nothing is on [::1]:8080    ← first failure", "IPv4 only"]);
        run_fix(&user, &text);
        works(&user, "8080", "[::1]:8080");
        run.stop();
    });
}

#[test]
fn a_privileged_port_is_named_with_the_setting_and_a_way_around() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "mail"], &machine.peer("who 25"));
        wait_until("the service", SOON, || Api::USER.port("mail", 25).is_some());
        let text = explain(&user, &["25"], 13, &["ip_unprivileged_port_start = 1024"]);
        run_fix(&user, &text);
        works(&user, "8025", "127.0.0.1:8025");
        run.stop();
    });
}

#[test]
fn a_service_on_loopback_only_is_reached_by_forwards_and_by_nobody_else() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "dev", "-p", "3000:3000"], &machine.peer("who 127.0.0.1:3000"));
        let other = user.run(&["--name", "other"], &["sleep", "100"]);
        wait_until("the service", SOON, || net::read_from("127.0.0.1:3000").is_some());
        explain(&user, &["3000"], 0, &["! service", "127.0.0.1 only"]);
        explain(&user, &["dev:3000", "--from", "other"], 11, &["✗ service", "from inside other: refused"]);
        other.stop();
        run.stop();
    });
}

#[test]
fn a_program_that_nobody_has_started_is_started_by_the_fix() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let text = explain(&user, &["8080"], 10, &["no program has 8080/tcp", "none is running here"]);
        let url = explain(&user, &["http://localhost:8080/"], 10, &["nothing is on 127.0.0.1:8080"]);
        assert_eq!(printed_fix(&text), printed_fix(&url));
        let run = start_fix(&user, printed_fix(&text), &machine.peer("who 8080"));
        works(&user, "8080", "127.0.0.1:8080");
        explain(&user, &["http://localhost:8080/"], 0, &["accepted"]);
        run.stop();

        let run = user.run(&["--name", "web", "-p", "8080:80"], &["sleep", "100"]);
        Api::USER.host("web");
        let text = explain(&user, &["8080"], 10, &["✗ service", "no program in web listens on 80/tcp"]);
        explain(&user, &["web:80"], 10, &["from inside web: refused"]);
        let service = start_fix(&user, printed_fix(&text), &machine.peer("who 80"));
        works(&user, "8080", "127.0.0.1:8080");
        explain(&user, &["web:80"], 0, &["from inside web: accepted"]);

        let text = explain(&user, &["web:3000", "--from", "web"], 10, &["listens on 3000/tcp; one listens on 80"]);
        run_fix(&user, &text);
        service.stop();
        run.stop();
    });
}

#[test]
fn a_host_that_is_not_there_is_started_by_the_fix() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let before = explain(&user, &["web:80"], 10, &["no minato network is running"]);
        let first = start_fix(&user, printed_fix(&before), &machine.peer("who 80"));
        wait_until("the service", SOON, || Api::USER.port("web", 80).is_some());
        explain(&user, &["web:80"], 0, &["accepted"]);

        let beside = explain(&user, &["db:5432"], 10, &["✗ name", "neither a minato host's nor"]);
        let second = start_fix(&user, printed_fix(&beside), &machine.peer("who 5432"));
        wait_until("the service", SOON, || Api::USER.port("db", 5432).is_some());
        explain(&user, &["db:5432"], 0, &["accepted"]);
        explain(&user, &["db:5432", "--from", "web"], 0, &["from inside web: accepted"]);
        second.stop();
        first.stop();
    });
}

#[test]
fn another_program_on_the_other_family_is_found() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web", "-p", "127.0.0.1:8080:80"], &machine.peer("who 80"));
        wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
        let stranger = TcpListener::bind("[::1]:8080").expect("the other family");
        explain(&user, &["8080"], 16, &["two programs share the number"]);
        drop(stranger);
        run.stop();
    });
}
