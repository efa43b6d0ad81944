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
