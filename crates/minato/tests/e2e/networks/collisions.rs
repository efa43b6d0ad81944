//! The machine comes to have a route to addresses that a network has.

use std::fs;

use crate::explain::{explain, printed_fix, start_fix};
use crate::machine::{Account, Machine, SOON, wait_until};
use crate::support::api::Api;
use crate::support::net;
use crate::support::watching::watch;

fn route(machine: &Machine, verb: &str) {
    machine.root().finish("ip", &["route", verb, "10.77.0.0/16", "dev", "up0"]).expect_success();
}

fn subnet(account: &Account<'_>) -> String {
    let shown = account.minato_json(&["ps", "--network", "work"]);
    shown.pointer("/hosts/0/address_v4").and_then(|address| address.as_str()).unwrap_or_default().to_owned()
}

#[test]
fn a_route_that_comes_later_is_told_and_avoided_the_next_time() {
    Machine::run(&["ip"], |machine| {
        let user = machine.user();
        let web = user.run(&["--name", "web"], &machine.peer("line 3000"));
        wait_until("the service", SOON, || Api::USER.port("web", 3000).is_some());
        let watch = watch(&user, "web", &[]);
        user.minato_finish(&["doctor"]).expect_success();
        let told = |text: String| text.contains("a route to 10.77.0.0/16 (up0)");

        route(machine, "add");
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
        let text = explain(&user, &hidden, 11, &["✗ subnet", "a route to 10.77.0.0/16 (up0)"]);
        let elsewhere = start_fix(&user, printed_fix(&text), &["sleep".into(), "100".into()]);
        wait_until("the host in another network", SOON, || {
            let text = user.minato_finish(&["--network", "default-2", "explain", hidden[0], "--from", "web"]).stdout;
            text.contains("from inside web") && !text.contains("✗ subnet")
        });
        elsewhere.stop();
        // Everything else goes on.
        assert!(!net::is_refused("127.77.0.2:3000"));
        let asks = machine.peer("lines 10.77.0.2:3000 1");
        user.run(&["--name", "other"], &asks).finish().expect_success();

        route(machine, "del");
        wait_until("the end of it", SOON, || watch.stdout().contains("no longer has a route to 10.77.0.0/16"));
        assert_eq!(Api::USER.network().collisions, []);
        route(machine, "add");
        web.stop();
        wait_until("the engine's end", SOON, || machine.engines().is_empty());
        let next = user.run(&["--name", "web"], &["sleep", "100"]);
        assert_eq!(Api::USER.host("web").address_v4.to_string(), "172.29.0.2");
        next.stop();
    });
}

/// A network that stays while it has no host has other addresses at once; one with hosts when the last has ended.
#[test]
fn a_network_without_hosts_gets_another_subnet() {
    Machine::run(&["ip", "python3"], |machine| {
        let user = machine.user();
        let write = |subnet: &str, seconds: u32| {
            let service = "command = 'python3 -u -m http.server 80'\nports = { 80 = 8080 }\n";
            let client = "command = ['python3', '-c', 'import socket, time; s = socket.create_connection((\"web\", 80)); \
                          print(s.getpeername()[0], flush=True); time.sleep(1000)']\n";
            let text = format!(
                "{subnet}[host.web]\nenvironment = {{ N = {seconds} }}\n{service}[host.z]\ndepends-on = ['web']\nenvironment = {{ N = {seconds} }}\n{client}"
            );
            fs::write(machine.work().join("minato.toml"), text).expect("a file");
        };
        write("", 1);
        let up = user.start(user.minato(&["up", "--watch"]));
        let served = || net::http_get("127.0.0.1:8080", "/").is_some_and(|answer| answer.contains("200 OK"));
        wait_until("the page", SOON, served);
        wait_until("both", SOON, || up.stderr().contains("network 'work' is ready"));
        assert_eq!(subnet(&user), "10.77.0.2");
        let watch = user.start(user.minato(&["watch", "--network", "work"]));
        let event = |words: &str| watch.stdout().matches(words).count();
        wait_until("events", SOON, || served() && !watch.stdout().is_empty());
        route(machine, "add");
        wait_until("a warning", SOON, || up.stderr().contains("gets another subnet when its last host has ended"));
        wait_until("an event", SOON, || event("the machine has a route to 10.77.0.0/16") == 1);
        assert!(served() && subnet(&user) == "10.77.0.2", "hosts keep their addresses");
        assert_eq!(up.stderr().matches("the machine has a route").count(), 1, "{}", up.stderr());
        // Both hosts begin anew, and between that there is none.
        write("", 2);
        let told = "network \"work\" has the subnet 172.29.0.0/24 from now on";
        wait_until("the other subnet", SOON, || up.stderr().contains(told));
        wait_until("the page at another address", SOON, || served() && subnet(&user) == "172.29.0.2");
        wait_until("the client, which finds it by name", SOON, || up.stdout().contains("| 172.29.0.2\n"));
        // With the other subnet nothing collides any more, though the route is still there.
        wait_until("an event of the change", SOON, || event("172.29.0.0/24") == 1);
        wait_until("events of what came after it", SOON, || event("web") > 2);
        assert_eq!(event("no longer has a route"), 0, "{}", watch.stdout());
        let network = user.minato_json(&["ps", "--network", "work"]);
        assert!(!network.to_string().contains("10.77.0.0/16"), "{network}");
        watch.stop();
        up.stop().expect_success();
        route(machine, "del");

        // Nothing runs, and a route comes: the next host has other addresses already.
        fs::write(machine.work().join("minato.toml"), "[host.once]\ncommand = 'true'\n").expect("a file");
        let up = user.start(user.minato(&["up", "--watch"]));
        wait_until("the end of it", SOON, || up.stderr().contains("once has ended"));
        wait_until("no host", SOON, || {
            user.minato_json(&["ps", "--network", "work"])["hosts"] == serde_json::json!([])
        });
        route(machine, "add");
        wait_until("the other subnet", SOON, || up.stderr().contains(told));
        up.stop().expect_success();
    });
}

#[test]
fn a_subnet_that_was_asked_for_stays() {
    Machine::run(&["ip"], |machine| {
        let user = machine.user();
        let text = "subnet = '10.77.3.0/24'\n[host.once]\ncommand = 'true'\n";
        fs::write(machine.work().join("minato.toml"), text).expect("a file");
        let up = user.start(user.minato(&["up", "--watch"]));
        wait_until("the end of it", SOON, || up.stderr().contains("once has ended"));
        route(machine, "add");
        wait_until("a warning", SOON, || up.stderr().contains("The subnet stays, since it was asked for"));
        assert!(!up.stderr().contains("from now on"), "{}", up.stderr());
        up.stop().expect_success();
    });
}
