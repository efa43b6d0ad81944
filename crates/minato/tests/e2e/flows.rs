//! `minato flows`: both ends of every connection, with what lies between them.

use std::net::UdpSocket;
use std::thread;

use serde_json::Value;

use crate::machine::{Account, Machine, OUTSIDE_V4, Program, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::{dns, peer};

/// A program that connects and waits.
fn client(account: &Account<'_>, host: Option<&str>, place: &str) -> Program {
    let script = format!("exec 3<>/dev/tcp/{place} && exec sleep 100");
    let program = ["bash", "-c", &script];
    match host {
        Some(host) => account.exec(host, &program),
        None => {
            let mut command = account.command(program[0]);
            command.args(&program[1..]);
            account.start(command)
        }
    }
}

/// The flow that `fits`, once it is there.
fn flow(user: &Account<'_>, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, SOON, || {
        let flows = user.minato_json(&["flows"]);
        flows["flows"].as_array().expect("flows").iter().find(|flow| fits(flow)).cloned()
    })
}

fn serve_outside(machine: &Machine) {
    machine.outside(|| {
        dns::serve(&format!("{OUTSIDE_V4}:53"), OUTSIDE_V4.parse().expect("an address"));
        thread::spawn(|| peer::count(&format!("{OUTSIDE_V4}:7000")));
    });
}

/// What is shown to people has these.
fn expect_text(user: &Account<'_>, parts: &[&str]) {
    let text = user.minato_finish(&["flows"]).expect_success().stdout;
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn every_flow_names_both_ends() {
    Machine::run(&["bash"], |machine| {
        serve_outside(machine);
        let (user, root) = (machine.user(), machine.root());
        let forwards = ["--name", "web", "-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:5300:5300/udp"];
        let web = user.run(&forwards, &machine.peer("count 80"));
        wait_until("the first service", SOON, || Api::USER.port("web", 80).is_some());
        let names = user.exec("web", &machine.peer("who 5300"));
        let db = user.run(&["--name", "db"], &["sleep", "100"]);
        wait_until("the second service", SOON, || Api::USER.port("web", 5300).is_some());
        Api::USER.host("db");
        let sleeper = |pid: &Value| pid["process"]["name"] == "sleep";

        // Outbound, with the name that its program has asked for.
        let outbound = client(&user, Some("db"), "far.example.test/7000");
        let seen = flow(&user, "the outbound flow", |flow| {
            // Its round trip is known once the program's acknowledgement is here, a moment after its connect(2).
            let measured = flow["rtt_micros"].is_u64();
            flow["server"]["port"] == 7000 && sleeper(&flow["client"]) && measured
        });
        assert_eq!((&seen["client"]["host"], &seen["server"]["name"]), (&"db".into(), &"far.example.test".into()));
        assert!(seen["retransmits"].is_u64(), "{seen}");
        // Between hosts, and within one.
        let between = client(&user, Some("db"), "web/80");
        let seen = flow(&user, "the flow between hosts", |flow| {
            // It is there before a process has accepted it.
            let accepted = flow["server"]["process"]["name"].is_string();
            flow["client"]["host"] == "db" && flow["server"]["port"] == 80 && accepted && sleeper(&flow["client"])
        });
        assert_eq!(seen["server"]["host"], "web", "{seen}");
        let within = client(&user, Some("web"), "127.0.0.1/80");
        flow(&user, "the flow within a host", |flow| flow["client"]["host"] == "web" && sleeper(&flow["client"]));
        // Through a forward, from programs of this machine: the user's own, and somebody else's.
        let through = |flow: &Value| flow["via"] == "127.0.0.1:8080";
        let own = client(&user, None, "127.0.0.1/8080");
        let seen = flow(&user, "the flow through the forward", |flow| through(flow) && sleeper(&flow["client"]));
        assert_eq!((&seen["client"]["address"], &seen["server"]["host"]), (&"127.0.0.1".into(), &"web".into()));
        let other = client(&root, None, "127.0.0.1/8080");
        let hidden = |flow: &Value| flow["client"]["process_unknown"] == "no-permission";
        flow(&user, "the other one's", |flow| through(flow) && hidden(flow));
        let asker = UdpSocket::bind("127.0.0.1:0").expect("a port");
        asker.send_to(b"x", "127.0.0.1:5300").expect("sent");
        let is_served = |flow: &Value| flow["server"]["host"] == "web" && flow["server"]["process"]["name"] == "e2e";
        flow(&user, "the exchange of datagrams and its server", |flow| {
            flow["via"] == "127.0.0.1:5300" && hidden(flow) && is_served(flow)
        });
        let script = "exec 3<>/dev/udp/web/5300 && echo hello >&3 && exec sleep 100";
        let sender = user.exec("db", &["bash", "-c", script]);
        flow(&user, "datagrams between hosts, with both ends", |flow| {
            flow["client"]["host"] == "db" && flow["transport"] == "udp" && sleeper(&flow["client"]) && is_served(flow)
        });

        expect_text(
            &user,
            &["far.example.test:7000", " via 127.0.0.1:8080", "127.0.0.1 unknown (no permission)", "RTT"],
        );
        for program in [sender, outbound, between, within, own, other, names, db, web] {
            program.stop();
        }
    });
}

#[test]
fn equal_ends_within_two_hosts_have_the_processes_of_their_own() {
    const PAIR: &str = "
import socket, time
server = socket.create_server(('127.0.0.1', 5432))
client = socket.create_connection(('127.0.0.1', 5432), source_address=('127.0.0.1', 40000))
accepted, _ = server.accept()
time.sleep(100)
";
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let hosts = ["one", "two"].map(|name| user.run(&["--name", name], &["python3", "-c", PAIR]));
        for name in ["one", "two"] {
            let own =
                wait_for("its process", SOON, || Api::USER.host(name).processes.first().map(|process| process.pid));
            let seen = flow(&user, "the connection within a host", |flow| {
                flow["client"]["host"] == name && flow["client"]["port"] == 40_000
            });
            for end in ["client", "server"] {
                assert_eq!(seen[end]["process"]["pid"], own, "{name}: {seen}");
            }
        }
        hosts.into_iter().for_each(|host| drop(host.stop()));
    });
}
