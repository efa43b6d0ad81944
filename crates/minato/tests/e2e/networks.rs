//! Several networks at once, and which addresses they have.

mod collisions;
mod isolation;
mod joining;

use std::fs;

use crate::machine::{Account, Finished, Machine, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::net;

#[test]
fn networks_are_separate() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let first = user.run(&["--name", "same"], &["sleep", "100"]);
        let second = user.run(&["--name", "same", "--network", "other"], &["sleep", "100"]);
        wait_until("two engines", SOON, || machine.engines().len() == 2);
        let list = wait_for("the host in the other network", SOON, || {
            let list = user.minato_finish(&["ps", "--network", "other"]).stdout;
            list.contains("same").then_some(list)
        });
        assert!(!list.contains(&Api::USER.host("same").address_v4.to_string()), "one subnet in two networks: {list}");
        first.stop();
        second.stop();
    });
}

#[test]
fn a_subnet_can_be_fixed() {
    Machine::run(&["ip"], |machine| {
        let (user, root) = (machine.user(), machine.root());
        let route = ["route", "add", "10.200.0.0/16", "dev", "up0"];
        root.finish("ip", &route).expect_success();
        let server = user.run(&["--name", "web", "--subnet", "10.99.3.64/26"], &machine.peer("line 3000"));
        let host = Api::USER.host("web");
        assert_eq!(host.address_v4.to_string(), "10.99.3.66");
        assert_eq!(host.address_v6.expect("IPv6").to_string(), "fd77:0:a63:340::66");
        assert_eq!(host.loopback_v4.map(|address| address.to_string()).as_deref(), Some("127.99.3.66"));
        assert_eq!(Api::USER.network().subnet_v4, "10.99.3.64/26");
        wait_until("the service at the loopback address", SOON, || !net::is_refused("127.99.3.66:3000"));

        let refused = |arguments: &[&str], code, parts: &[&str]| {
            let finished = user.run(&[&["--name", "other"], arguments].concat(), &["true"]).finish();
            finished.expect_code(code).expect_stderr(parts);
        };
        user.run(&["--name", "same", "--subnet", "10.99.3.64/26"], &["true"]).finish().expect_success();
        refused(&["--subnet", "10.99.4.0/24"], 16, &["has the subnet 10.99.3.64/26, not 10.99.4.0/24"]);
        refused(
            &["--network", "b", "--subnet", "10.99.0.0/16"],
            16,
            &["10.99.0.0/16", "\"default\" has addresses of it"],
        );
        refused(&["--network", "b", "--subnet", "10.200.7.0/24"], 16, &["a route to 10.200.0.0/16 (up0)"]);
        refused(&["--network", "b", "--subnet", "198.51.100.0/24"], 2, &["not for private use"]);
        refused(&["--network", "b", "--subnet", "10.99.3.7/24"], 2, &["the subnet is 10.99.3.0/24"]);
        // The other half of one /24 is free, with loopback addresses of its own.
        let beside = ["--network", "b", "--subnet", "10.99.3.128/26"];
        let other = user.run(&[&["--name", "beside"], &beside[..]].concat(), &["sleep", "100"]);
        let shown = wait_for("the host beside", SOON, || {
            let list = user.minato_finish(&["ps", "--network", "b", "--json"]).stdout;
            list.contains("10.99.3.130").then_some(list)
        });
        assert!(shown.contains("127.78.0.130"), "{shown}");
        other.stop();
        server.stop();
    });
}

/// The first one's host, and its engine, are just ending when the next one comes.
#[test]
fn the_next_network_can_have_another_subnet_at_once() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = |number: u8, program: &[&str]| {
            user.run(&["--subnet", &format!("10.99.{number}.0/24")], program).finish().expect_success();
        };
        for number in 3..11 {
            run(number, &["true"]);
        }
        let killed = user.run(&["--subnet", "10.99.3.0/24"], &["sleep", "100"]);
        wait_until("the program", SOON, || !machine.processes_named("sleep").is_empty());
        killed.signal(rustix::process::Signal::KILL);
        run(4, &["true"]);
        fs::write(
            machine.work().join("minato.toml"),
            "subnet = \"10.99.5.0/24\"\n[host.web]\ncommand = \"sleep 100\"\n",
        )
        .expect("a file");
        for subnet in ["10.99.5.0/24", "10.99.6.0/24"] {
            user.minato_finish(&["up", "-d", "--network", "default", "--subnet", subnet]).expect_success();
            user.minato_finish(&["down", "--network", "default"]).expect_success();
        }
        drop(killed.finish());
    });
}

#[test]
fn a_file_can_fix_the_subnet() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let file = machine.work().join("minato.toml");
        let text = "network = \"shop\"\nsubnet = \"10.99.0.0/20\"\n[host.web]\ncommand = \"sleep 100\"\n";
        fs::write(&file, text).expect("a file");
        user.minato_finish(&["up", "-d"]).expect_success();
        user.minato_finish(&["up", "-d", "--instance", "two"]).expect_success();
        let address = |network: &str| {
            let shown = user.minato_json(&["ps", "--network", network]);
            shown.pointer("/hosts/0/address_v4").and_then(|address| address.as_str()).map(str::to_owned)
        };
        assert_eq!(address("shop").as_deref(), Some("10.99.0.2"));
        assert_eq!(address("shop-two").as_deref(), Some("10.77.0.2"), "an instance takes a free one");
        user.minato_finish(&["down"]).expect_success();
        user.minato_finish(&["down", "--instance", "two"]).expect_success();
        fs::write(&file, text.replace("/20", "/4")).expect("a file");
        user.minato_finish(&["check"]).expect_code(2).expect_stderr(&["'10.99.0.0/4' can't be the subnet", "16 to 29"]);
    });
}

/// Runs a line of bash in a host.
fn bash(account: &Account<'_>, network: &str, host: &str, script: &str) -> Finished {
    account.start(account.minato(&["exec", "--network", network, host, "--", "bash", "-c", script])).finish()
}

/// What a service of `who` says to a client in a host: the client's address, as it sees it.
fn seen_at(account: &Account<'_>, network: &str, host: &str, place: &str) -> Option<String> {
    let script = format!("exec 3<>/dev/tcp/{place} && timeout 5 cat <&3");
    let finished = bash(account, network, host, &script);
    finished.status.success().then(|| finished.stdout.trim().to_owned())
}

/// A host as `ps` shows it.
fn shown(account: &Account<'_>, network: &str, host: &str) -> Option<serde_json::Value> {
    let shown = account.minato_json(&["ps", "--network", network]);
    shown["hosts"].as_array()?.iter().find(|other| other["name"] == host).cloned()
}
