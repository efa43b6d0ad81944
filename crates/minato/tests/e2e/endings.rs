//! How connections end, and what must have arrived by then.

use std::net::TcpListener;
use std::thread;

use crate::machine::{Account, Machine, OUTSIDE_V4, SOON, wait_for};
use crate::support::{net, peer};

const BYTES: u64 = 20_000_000;

/// Runs a program that ends as soon as its kernel has taken what it sends, and counts what arrives.
fn arrives_from(machine: &Machine, account: &Account<'_>) -> u64 {
    let listening = machine.outside(|| TcpListener::bind("[::]:7000").expect("to listen"));
    let server = thread::spawn(move || peer::read_late(listening.accept().expect("a client").0));
    let role = format!("send {OUTSIDE_V4}:7000 {BYTES}");
    account.run(&[], &machine.peer(&role)).finish().expect_success();
    server.join().expect("the server")
}

#[test]
fn what_a_program_sent_before_its_end_arrives_outside() {
    Machine::run(&[], |machine| {
        for account in [machine.user(), machine.root()] {
            assert_eq!(arrives_from(machine, &account), BYTES);
        }
    });
}

#[test]
fn what_a_service_answered_before_its_end_arrives_at_the_client() {
    Machine::run(&[], |machine| {
        for account in [machine.user(), machine.root()] {
            let run = account.run(&["-p", "8080:80"], &machine.peer(&format!("give 80 {BYTES}")));
            let client = wait_for("the service", SOON, || net::connect("127.0.0.1:8080").ok());
            assert_eq!(peer::read_late(client), BYTES);
            run.finish().expect_success();
        }
    });
}

/// What is lost on the direct way may be lost, no more.
fn compare(way: &str, through: usize, direct: usize) {
    eprintln!("complete answers before a reset, of {}: {through} {way}, {direct} directly", peer::UPLOADS);
    assert!(through.max(direct) > 0, "no answer arrives on either way: nothing is compared");
    assert!(through >= direct, "{way}: {through}, directly: {direct}");
}

#[test]
fn an_answer_before_a_reset_is_not_lost_in_a_forward() {
    Machine::run(&[], |machine| {
        let listener = TcpListener::bind("127.0.0.1:9000").expect("to listen");
        thread::spawn(move || peer::refuse(&listener));
        let run = machine.user().run(&["--name", "refuse", "-p", "8080:80"], &machine.peer("refuse 80"));
        drop(wait_for("the service", SOON, || net::connect("127.0.0.1:8080").ok()));
        let through = peer::complete_answers("127.0.0.1:8080");
        compare("through a forward", through, peer::complete_answers("127.0.0.1:9000"));
        run.stop();
    });
}

#[test]
fn an_answer_before_a_reset_is_not_lost_on_the_way_from_outside() {
    Machine::run(&[], |machine| {
        let address = format!("{OUTSIDE_V4}:7000");
        let listener = machine.outside(|| TcpListener::bind("[::]:7000").expect("to listen"));
        thread::spawn(move || peer::refuse(&listener));
        let role = machine.peer(&format!("refused {address}"));
        let inside = machine.user().run(&[], &role).finish().expect_success().stderr;
        let through = inside.trim().parse().expect("a number");
        compare("from a host", through, peer::complete_answers(&address));
    });
}
