//! `minato explain` about the places that are easily taken for others: loopback, gateways, families, networks, the proxy.

use crate::explain::{explain, printed_fix, run_fix, works};
use crate::machine::{Account, Machine, SOON, wait_until};
use crate::support::api::Api;
use crate::support::net;

fn wait_for_service(host: &str, port: u16) {
    wait_until("the service", SOON, || Api::USER.port(host, port).is_some());
}

#[test]
fn loopback_is_each_hosts_own() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let dev = user.run(&["--name", "dev"], &machine.peer("who 127.0.0.1:3000"));
        let other = user.run(&["--name", "other", "-p", "8080:80"], &machine.peer("who 80"));
        wait_for_service("dev", 3000);
        wait_until("the forward", SOON, || net::read_from("127.0.0.1:8080").is_some());
        for target in ["http://127.0.0.1:3000/", "http://localhost:3000/", "3000"] {
            explain(&user, &[target, "--from", "dev"], 0, &["dev itself", "127.0.0.1:3000 from inside dev: accepted"]);
        }
        let text =
            explain(&user, &["127.0.0.1:8080", "--from", "other"], 10, &["nothing in other listens on 8080/tcp"]);
        assert!(!text.contains("held by minato"), "{text}");
        other.stop();
        dev.stop();
    });
}

#[test]
fn addresses_of_hosts_and_gateways_are_for_hosts() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let web = user.run(&["--name", "web"], &machine.peer("who 8000"));
        wait_for_service("web", 8000);
        let at = |port: u16| format!("{}:{port}", Api::USER.host("web").address_v4);
        let loopback = Api::USER.host("web").loopback_v4.expect("a loopback address");
        wait_until("its own forward", SOON, || net::read_from(&format!("{loopback}:8000")).is_some());
        let text = explain(&user, &[&at(8000)], 11, &["✗ machine", "is reached from hosts, not from this machine"]);
        assert_eq!(printed_fix(&text), format!("minato explain {loopback}:8000"));
        run_fix(&user, &text);

        let listener = std::net::TcpListener::bind("127.0.0.1:8080").expect("a port of the machine");
        let gateway = format!("{}:8080", Api::USER.network().gateway_v4);
        for target in ["gateway:8080", gateway.as_str()] {
            let text = explain(&user, &[target, "--from", "web"], 12, &["✓ gateway", "--host-port 8080"]);
            assert!(!text.contains("policy"), "{text}");
            assert!(printed_fix(&text).starts_with("minato run --name web --host-port 8080 -- PROGRAM"), "{text}");
        }
        let opened = user.run(&["--name", "opened", "--host-port", "8080"], &["sleep", "100"]);
        Api::USER.host("opened");
        explain(&user, &["gateway:8080", "--from", "opened"], 0, &["leads to 127.0.0.1:8080", "accepted"]);
        drop(listener);
        opened.stop();
        web.stop();
    });
}

#[test]
fn a_forward_of_the_other_family_says_so() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let forwards = ["-p", "[::]:8086:80", "-p", "8080:80"];
        let web = user.run(&[&["--name", "web"], &forwards[..]].concat(), &machine.peer("who 0.0.0.0:80"));
        wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
        let list = user.minato_finish(&["forward", "ls"]).expect_success().stdout;
        let line = list.lines().find(|line| line.contains("8086")).expect("the forward");
        assert!(line.contains("service is IPv4 only"), "{list}");
        let ports = user.minato_finish(&["ports"]).expect_success().stdout;
        assert!(ports.contains("8080") && !ports.contains(":8086"), "{ports}");
        for target in ["[::1]:8086", "8086"] {
            explain(&user, &[target], 11, &["✗ service", "IPv4 only"]);
        }
        let text = explain(&user, &["[::1]:8086"], 11, &[]);
        let relay = start(&user, printed_fix(&text));
        works(&user, "[::1]:8086", "[::1]:8086");
        relay.stop();
        web.stop();
    });
}

fn start(user: &Account<'_>, fix: &str) -> crate::machine::Program {
    let mut command = user.command("sh");
    command.args(["-c", &format!("PATH=/run/bin:$PATH; exec {fix}")]);
    user.start(command)
}

#[test]
fn fixes_can_be_carried_out_by_a_user() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let web = user.run(&["--name", "web", "-p", "[::1]:8085:80"], &machine.peer("who 80"));
        wait_until("the service", SOON, || net::read_from("[::1]:8085").is_some());
        let dev = user.exec("web", &machine.peer("who 127.0.0.1:3000"));
        wait_for_service("web", 3000);
        let text = explain(&user, &["web:99"], 10, &["others listen on 80, 3000 (loopback only)"]);
        run_fix(&user, &text);
        let text = explain(&user, &["http://127.0.0.1:8085/"], 11, &["is at [::1]:8085 and nowhere else"]);
        run_fix(&user, &text);
        works(&user, "8085", "127.0.0.1:8085");

        let loopback = Api::USER.host("web").loopback_v4.expect("a loopback address");
        let text = user.minato_finish(&["explain", &format!("{loopback}:80")]).stdout;
        assert!(printed_fix(&text).ends_with(&format!("forward add -p {loopback}:80:80 web")), "{text}");
        let text = explain(&user, &["22"], 10, &["no program has 22/tcp"]);
        assert_eq!(printed_fix(&text), "minato run -p 8022:22 -- PROGRAM");
        dev.stop();
        web.stop();
    });
}

#[test]
fn what_works_without_ipv6_is_said_to_work() {
    Machine::run(&[], |machine| {
        for interfaces in ["all", "default"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{interfaces}/disable_ipv6"), "1").expect("a setting");
        }
        let user = machine.user();
        let web = user.run(&["--name", "web", "-p", "8080:80"], &machine.peer("who 0.0.0.0:80"));
        wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
        explain(&user, &["8080"], 0, &["accepted"]);
        explain(&user, &["80", "--from", "web"], 0, &["accepted"]);
        let taken = user.run(&["--name", "next", "-p", "8080:80"], &["sleep", "100"]).finish();
        taken.expect_code(16).expect_stderr(&["the next free port is 8081: -p 8081:80"]);
        web.stop();
    });
}

#[test]
fn other_networks_are_named_by_their_names() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let shop = ["--network", "shop", "--name", "web", "-p", "8080:80"];
        let web = user.run(&shop, &machine.peer("who 80"));
        wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
        let text = explain(&user, &["web:80"], 10, &["web is a host of network shop", "shop: running"]);
        run_fix(&user, &text);
        explain(&user, &["8080"], 0, &["is held by minato, for web of network shop", "leads to web:80"]);
        let taken = user.run(&["--name", "db", "-p", "8080:80"], &["sleep", "100"]).finish();
        taken.expect_code(16).expect_stderr(&["is held by your network shop, as a forward"]);
        explain(&user, &["http://web.shop.localhost:7080/"], 10, &["✗ proxy"]);
        let proxy = user.start(user.minato(&["proxy"]));
        wait_until("the proxy", SOON, || net::connect("127.0.0.1:7080").is_ok());
        let parts = ["minato-proxy", "leads to port 80 of web in network shop", "127.0.0.1:7080: accepted"];
        explain(&user, &["http://web.shop.localhost:7080/"], 0, &parts);
        proxy.stop();
        web.stop();
    });
}
