//! Names: answered at the gateway address by the machine's resolvers.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::machine::{Machine, OUTSIDE_SECOND_V4, OUTSIDE_V4, SOON, wait_until};
use crate::support::api::Api;
use crate::support::dns;

#[test]
fn names_are_resolved_and_a_changed_resolver_is_noticed() {
    Machine::run(&["getent"], |machine| {
        machine.outside(|| {
            dns::serve(&format!("{OUTSIDE_V4}:53"), Ipv4Addr::new(192, 0, 2, 1));
            dns::serve(&format!("{OUTSIDE_SECOND_V4}:53"), Ipv4Addr::new(192, 0, 2, 2));
        });
        let user = machine.user();
        let host = user.run(&["--name", "client"], &["sleep", "100"]);
        Api::USER.host("client");
        let resolve = |name| user.exec("client", &["getent", "ahostsv4", name]).finish().stdout;

        let resolver = user.exec("client", &["cat", "/etc/resolv.conf"]).finish().expect_success().stdout;
        assert!(resolver.contains(&format!("nameserver {}", Api::USER.network().gateway_v4)), "{resolver}");
        assert!(resolve("first.test").starts_with("192.0.2.1 "));

        fs::write("/etc/resolv.conf", format!("nameserver {OUTSIDE_SECOND_V4}\n")).expect("to change the resolver");
        wait_until("the other resolver's answer", SOON, || resolve("second.test").starts_with("192.0.2.2 "));
        host.stop();
    });
}

#[test]
fn a_late_answer_is_better_than_none() {
    Machine::run(&["getent"], |machine| {
        machine.outside(|| {
            // Later than the other one is asked; the program is patient enough for a machine that is busy.
            let late = Duration::from_millis(4300);
            dns::serve_after(late, &format!("{OUTSIDE_V4}:53"), Ipv4Addr::new(192, 0, 2, 1));
            // Takes questions and never answers.
            std::mem::forget(std::net::UdpSocket::bind(format!("{OUTSIDE_SECOND_V4}:53")).expect("a port"));
        });
        let servers = format!("nameserver {OUTSIDE_V4}\nnameserver {OUTSIDE_SECOND_V4}\n");
        fs::write("/etc/resolv.conf", servers).expect("to set the resolvers");
        let found = machine
            .user()
            .run(&[], &["env", "RES_OPTIONS=timeout:20", "getent", "ahostsv4", "late.test"])
            .finish()
            .expect_success();
        assert!(found.stdout.starts_with("192.0.2.1 "), "{}", found.stdout);
    });
}
