//! `minato demo`: ports explained with live events.

use rustix::process::Signal;

use crate::machine::{Machine, SOON, wait_until};
use crate::support::net;

#[test]
fn demo_tells_what_happens_at_each_step() {
    Machine::run(&[], |machine| {
        let demo = machine.user().minato_finish(&["demo", "--once"]).expect_success();
        for word in ["80", "25", "21", "ephemeral", "bind", "released"] {
            assert!(demo.stdout.contains(word), "no {word:?} in:\n{}", demo.stdout);
        }
    });
}

#[test]
fn demo_without_ports_shows_the_counterfactual() {
    Machine::run(&[], |machine| {
        let demo = machine.user().minato_finish(&["demo", "--without-ports", "--once"]).expect_success();
        for word in ["refused", "address"] {
            assert!(demo.stdout.contains(word), "no {word:?} in:\n{}", demo.stdout);
        }
    });
}

#[test]
fn demo_stays_up_with_forwards_until_interrupted() {
    Machine::run(&[], |machine| {
        let demo = machine.user().start(machine.user().minato(&["demo"]));
        wait_until("the demo's web page", SOON, || net::http_get("127.0.0.1:8080", "/").is_some());
        demo.signal(Signal::INT);
        demo.finish().expect_success();
    });
}
