//! Several networks at once, and which addresses they have.

use std::fs;

use crate::machine::{Machine, SOON, wait_for, wait_until};
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
        assert_eq!(host.address_v6.to_string(), "fd77:0:a63:340::66");
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

#[test]
fn a_route_that_comes_later_is_told_and_avoided_the_next_time() {
    Machine::run(&["ip"], |machine| {
        let (user, root) = (machine.user(), machine.root());
        let web = user.run(&["--name", "web"], &machine.peer("line 3000"));
        wait_until("the service", SOON, || Api::USER.port("web", 3000).is_some());
        let watch = user.start(user.minato(&["watch"]));
        user.minato_finish(&["doctor"]).expect_success();
        let route = |verb| root.finish("ip", &["route", verb, "10.77.0.0/16", "dev", "up0"]).expect_success();
        let told = |text: String| text.contains("a route to 10.77.0.0/16 (up0)");

        route("add");
        wait_until("a warning to who runs the host", SOON, || told(web.stderr()));
        wait_until("an event", SOON, || told(watch.stdout()));
        assert!(web.stderr().contains("can't reach what is in 10.77.0.0/24"), "{}", web.stderr());
        let ps = user.minato_finish(&["ps"]).expect_success();
        assert!(told(ps.stderr.clone()) && ps.stdout.contains("10.77.0.2"), "{}", ps.stderr);
        let doctor = user.minato_finish(&["doctor"]).expect_success();
        assert!(doctor.stdout.contains("hides 10.77.0.0/24"), "{}", doctor.stdout);
        let hidden = ["10.77.0.77:80", "--from", "web"];
        crate::explain::explain(&user, &hidden, 11, &["✗ subnet", "a route to 10.77.0.0/16 (up0)"]);
        // Everything else goes on.
        assert!(!net::is_refused("127.77.0.2:3000"));
        let ask = machine.peer("ask 10.77.0.2:3000 hello");
        user.run(&["--name", "other"], &ask).finish().expect_success();

        route("del");
        wait_until("the end of it", SOON, || watch.stdout().contains("no longer has a route to 10.77.0.0/16"));
        assert_eq!(Api::USER.network().collisions, []);
        route("add");
        web.stop();
        wait_until("the engine's end", SOON, || machine.engines().is_empty());
        let next = user.run(&["--name", "web"], &["sleep", "100"]);
        assert_eq!(Api::USER.host("web").address_v4.to_string(), "172.29.0.2");
        next.stop();
    });
}
