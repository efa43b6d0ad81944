//! Several networks at once, and which addresses they have.

mod isolation;

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
        // Who goes on looking is told once.
        let watching = user.start(user.minato(&["ps", "--watch=0.02"]));
        let json = user.start(user.minato(&["ps", "--json", "--watch=0.02"]));
        let frames = || watching.stdout().matches("HOST").count();
        wait_until("many looks", SOON, || json.stdout().lines().count() > 20 && frames() > 0);
        let (watching, json) = (watching.stop(), json.stop());
        let count = |text: &str| text.matches("hosts can't reach 10.77.0.0/24").count();
        assert_eq!((count(&json.stdout), count(&json.stderr)), (0, 1), "{}", json.stderr);
        let frames = watching.stdout.matches("HOST").count();
        assert_eq!((count(&watching.stdout), count(&watching.stderr)), (frames, 0), "{}", watching.stdout);
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

fn two_networks(machine: &Machine, account: &Account<'_>) {
    let db = account.run(&["--name", "db", "--network", "back"], &machine.peer("who 5432"));
    let web = account.run(&["--name", "web", "--join", "back"], &machine.peer("who 80"));
    let plain = account.run(&["--name", "plain"], &["sleep", "100"]);
    let home = |host| wait_for("the host", SOON, || shown(account, "default", host));
    let (web_home, _) = (home("web"), home("plain"));
    let joined = &web_home["networks"][0];
    assert_eq!(joined["network"], "back");
    let guest = wait_for("the guest", SOON, || shown(account, "back", "web"));
    assert_eq!((&guest["home"], &guest["address_v4"]), (&"default".into(), &joined["address_v4"]));
    assert!(guest["processes"][0]["name"].is_string(), "{guest}");
    let db_there = wait_for("the host", SOON, || shown(account, "back", "db"));
    let text = |value: &serde_json::Value| value.as_str().expect("an address").to_owned();
    let (db_v4, db_v6) = (text(&db_there["address_v4"]), text(&db_there["address_v6"]));
    let (web_v4, web_v6) = (text(&joined["address_v4"]), text(&joined["address_v6"]));

    // From the host that is in both, by name and address; it is seen with its address there.
    let from_web = |place: &str| wait_for(place, SOON, || seen_at(account, "default", "web", place));
    for place in ["db/5432", "db.back.internal/5432"] {
        let seen = from_web(place);
        assert!(seen.starts_with(&web_v4) || seen.starts_with(&format!("[{web_v6}]")), "{place}: {seen}");
    }
    assert!(from_web(&format!("{db_v4}/5432")).starts_with(&web_v4));
    assert!(from_web(&format!("{db_v6}/5432")).starts_with(&format!("[{web_v6}]")));
    // And from there to it, by name and address.
    for place in ["web/80", &format!("{web_v4}/80"), &format!("{web_v6}/80")] {
        assert!(seen_at(account, "back", "db", place).is_some(), "{place}");
    }
    // The host beside it reaches neither address nor name, nor does the other network reach what has not joined.
    for place in ["db/5432", "db.back.internal/5432", &format!("{db_v4}/5432"), &format!("{db_v6}/5432")] {
        let script = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{place}'");
        assert!(!bash(account, "default", "plain", &script).status.success(), "{place}");
    }
    assert!(!bash(account, "back", "db", "getent hosts plain || getent hosts plain.default.internal").status.success());
    // What leaves does so by its own network.
    let routes = bash(account, "default", "web", "ip route show default").stdout;
    assert!(routes.lines().count() == 1 && routes.contains("dev eth0"), "{routes}");

    // A name is one host's in each network.
    let taken = account.run(&["--name", "db", "--join", "back"], &["true"]).finish();
    taken.expect_code(16).expect_stderr(&["network \"back\" has a host named \"db\" already"]);
    let left = shown(account, "default", "db");
    assert!(left.is_none(), "a host that could not join is left: {left:?}");

    plain.stop();
    web.stop();
    wait_until("the guest to be gone", SOON, || shown(account, "back", "web").is_none());
    db.stop();
}

#[test]
fn a_host_joins_a_second_network() {
    Machine::run(&["bash", "ip", "getent", "timeout"], |machine| two_networks(machine, &machine.user()));
}

#[test]
fn a_host_of_root_joins_a_second_network() {
    Machine::run(&["bash", "ip", "getent", "timeout"], |machine| two_networks(machine, &machine.root()));
}

#[test]
fn what_joined_a_network_that_is_killed_goes_on_without_it() {
    Machine::run(&["bash", "ip"], |machine| {
        let user = machine.user();
        // Joining is what makes it begin, and keeps it.
        let web = user.run(&["--name", "web", "--join", "back"], &machine.peer("line 80"));
        wait_until("the service", SOON, || Api::USER.port("web", 80).is_some());
        let has_second = || bash(&user, "default", "web", "ip -o link show eth1").status.success();
        assert!(has_second());
        let engine = |process: &crate::machine::Process| process.command.iter().any(|word| word == "back");
        let engine = machine.engines().into_iter().find(engine).expect("the other engine");
        engine.signal(rustix::process::Signal::KILL);
        wait_until("the interface to be gone", SOON, || !has_second());
        wait_until("a warning", SOON, || web.stderr().contains("network \"back\" has ended"));
        assert_eq!(Api::USER.host("web").networks, []);
        let ask = machine.peer("ask 10.77.0.2:80 hello");
        user.run(&["--name", "other"], &ask).finish().expect_success();
        web.stop();
    });
}
