//! What `minato explain` prints for services that are bound to too few addresses, and for names that lead nowhere: run as it
//! is printed, it makes the connection work.

use std::net::UdpSocket;

use crate::explain::{explain, printed_fix, run_fix};
use crate::machine::{Account, MACHINE_V4, Machine, Program, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::net;

/// Starts the fix that was printed last, which goes on for as long as it is needed.
fn start_relay(user: &Account<'_>, text: &str) -> Program {
    let fix = printed_fix(text);
    assert!(fix.contains("minato relay --to "), "{fix}");
    let mut command = user.command("sh");
    command.args(["-c", &format!("PATH=/run/bin:$PATH; {fix}")]);
    user.start(command)
}

/// Ends a fix and what it has started: a shell does not always become the program that it starts last.
fn stop_relay(machine: &Machine, relay: Program) {
    for process in machine.processes_with_argument("--to") {
        machine.root().finish("kill", &[&process.pid.to_string()]);
    }
    relay.finish();
    wait_until("the relay's end", SOON, || machine.processes_with_argument("--to").is_empty());
}

fn is_reached(user: &Account<'_>, arguments: &[&str]) -> bool {
    user.minato_finish(&[&["explain"], arguments].concat()).status.code() == Some(0)
}

#[test]
fn a_service_on_loopback_only_is_passed_on_to_other_hosts() {
    Machine::run(&[], |machine| {
        for (user, api) in [(machine.user(), Api::USER), (machine.root(), Api::ROOT)] {
            let run = user.run(&["--name", "dev"], &machine.peer("who 127.0.0.1:3000"));
            let other = user.run(&["--name", "other"], &["sleep", "100"]);
            wait_until("the service", SOON, || api.port("dev", 3000).is_some());
            let (v4, v6) = (api.host("dev").address_v4, api.host("dev").address_v6.expect("IPv6"));
            api.host("other");
            for transport in ["tcp", "udp"] {
                let target = format!("dev:3000/{transport}");
                let text = explain(&user, &[&target, "--from", "other"], 11, &["✗ service", "bound to the loopback"]);
                let relay = start_relay(&user, &text);
                wait_until("the way", SOON, || is_reached(&user, &[&target, "--from", "other"]));
                for address in [format!("{v4}:3000"), format!("[{v6}]:3000")] {
                    let role =
                        if transport == "tcp" { format!("connect {address}") } else { format!("ask {address} x") };
                    let asked = user.exec("other", &machine.peer(&role)).finish().expect_success();
                    // A datagram's answer says who has asked.
                    let word = if transport == "tcp" { "connected" } else { "127.0.0.1:" };
                    assert!(asked.stderr.contains(word), "{transport} {address}: {}", asked.stderr);
                    explain(&user, &[&format!("{address}/{transport}"), "--from", "other"], 0, &["✓ trial"]);
                }
                stop_relay(machine, relay);
                assert!(!is_reached(&user, &[&target, "--from", "other"]));
            }
            other.stop();
            run.stop();
            wait_until("the engine's end", SOON, || machine.engines().is_empty());
        }
    });
}

#[test]
fn a_service_of_one_family_is_passed_on_to_the_other() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web"], &machine.peer("who 0.0.0.0:80"));
        wait_until("the service", SOON, || Api::USER.port("web", 80).is_some());
        let target = format!("[{}]:80", Api::USER.host("web").address_v6.expect("IPv6"));
        let text = explain(&user, &[&target, "--from", "web"], 11, &["✗ service", "is not bound to fd", "refused"]);
        let relay = start_relay(&user, &text);
        wait_until("the way", SOON, || is_reached(&user, &[&target, "--from", "web"]));
        explain(&user, &["web:80"], 0, &["✓ service"]);
        stop_relay(machine, relay);
        run.stop();
    });
}

#[test]
fn a_program_of_the_machine_is_passed_on_to_the_addresses_that_it_lacks() {
    Machine::run(&["socat"], |machine| {
        let user = machine.user();
        let serve = |place: &str| {
            let mut command = user.command("socat");
            command.args([place, "SYSTEM:echo hello"]);
            user.start(command)
        };
        let speaks = |address: &str| net::read_from(address).is_some_and(|text| text == "hello\n");

        let server = serve("TCP4-LISTEN:7000,reuseaddr,fork");
        wait_until("the server", SOON, || speaks("127.0.0.1:7000"));
        let text = explain(&user, &["7000"], 11, &["nothing is on [::1]:7000", "is IPv4 only"]);
        let relay = start_relay(&user, &text);
        wait_until("the other family", SOON, || speaks("[::1]:7000"));
        explain(&user, &["7000"], 0, &["and passes on to 127.0.0.1:7000", "[::1]:7000: accepted"]);
        stop_relay(machine, relay);
        server.stop();

        let server = serve(&format!("TCP4-LISTEN:7001,bind={MACHINE_V4},reuseaddr,fork"));
        wait_until("the server", SOON, || speaks(&format!("{MACHINE_V4}:7001")));
        let text = explain(&user, &["7001"], 11, &["is bound to 198.51.100.1 and nowhere else"]);
        let relay = start_relay(&user, &text);
        wait_until("both families", SOON, || speaks("[::1]:7001") && speaks("127.0.0.1:7001"));
        stop_relay(machine, relay);
        server.stop();

        let silent = UdpSocket::bind("127.0.0.1:7002").expect("a port");
        let text = explain(&user, &["7002/udp"], 11, &["nothing is on [::1]:7002", "is IPv4 only"]);
        let relay = start_relay(&user, &text);
        silent.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("set");
        let asker = UdpSocket::bind("[::1]:0").expect("a port");
        wait_for("a datagram by the other family", SOON, || {
            let _ = asker.send_to(b"hello", "[::1]:7002");
            let mut payload = [0; 5];
            silent.recv(&mut payload).ok().filter(|_| payload == *b"hello")
        });
        stop_relay(machine, relay);
    });
}

#[test]
fn of_two_programs_on_two_families_the_younger_one_goes() {
    Machine::run(&["socat"], |machine| {
        let user = machine.user();
        let serve = |place: &str, word: &str| {
            let mut command = user.command("socat");
            command.args([place, &format!("SYSTEM:echo {word}")]);
            user.start(command)
        };
        let old = serve("TCP4-LISTEN:7000,bind=127.0.0.1,reuseaddr,fork", "old");
        wait_until("the server", SOON, || net::read_from("127.0.0.1:7000").is_some());
        let young = serve("TCP6-LISTEN:7000,bind=[::1],reuseaddr,fork", "young");
        wait_until("the other server", SOON, || net::read_from("[::1]:7000").is_some());
        let text = explain(&user, &["7000"], 16, &["two programs share the number"]);
        let relay = start_relay(&user, &text);
        wait_until("the old one by both", SOON, || net::read_from("[::1]:7000").is_some_and(|text| text == "old\n"));
        young.finish();
        stop_relay(machine, relay);
        old.stop();
    });
}

#[test]
fn a_name_that_leads_nowhere_gets_an_address() {
    Machine::run(&["mount"], |machine| {
        let root = machine.root();
        // This machine's own, not the real one's.
        root.finish("sh", &["-c", "echo '127.0.0.1 localhost' > /run/work/hosts"]).expect_success();
        root.finish("mount", &["--bind", "/run/work/hosts", "/etc/hosts"]).expect_success();
        let run = root.run(&["--name", "web"], &machine.peer("who 8080"));
        let other = root.run(&["--name", "other"], &["sleep", "100"]);
        wait_until("the service", SOON, || Api::ROOT.port("web", 8080).is_some());
        Api::ROOT.host("other");
        // A host's name with something behind it.
        let text = explain(&root, &["web.example.test:8080"], 10, &["✗ name", "# if it is to be the host web"]);
        run_fix(&root, &text);
        wait_until("its own address", SOON, || is_reached(&root, &["web.example.test:8080"]));
        let inside = &["http://web.inside.test:8080/", "--from", "other"];
        let text = explain(&root, inside, 10, &["✗ name", "# if it is to be the host web"]);
        run_fix(&root, &text);
        explain(&root, inside, 0, &["from inside other: accepted"]);
        // A port of this machine.
        let server = std::net::TcpListener::bind("127.0.0.1:7000").expect("to listen");
        let text = explain(&root, &["app.example.test:7000"], 10, &["✗ name", "# if it is to be this machine"]);
        run_fix(&root, &text);
        explain(&root, &["app.example.test:7000"], 0, &["accepted"]);
        // Nobody knows what is meant: the address is the user's to fill in.
        let text = explain(&root, &["far.example.test:7001"], 10, &["✗ name", "# the one that it is to have"]);
        let far = std::net::TcpListener::bind((MACHINE_V4, 7001)).expect("to listen");
        run_fix(&root, &text.replace("ADDRESS", MACHINE_V4));
        explain(&root, &["far.example.test:7001"], 0, &["accepted"]);
        // Others need root for it.
        let text = explain(&machine.user(), &["no.example.test:9"], 10, &["✗ name"]);
        assert!(printed_fix(&text).starts_with("echo 'ADDRESS no.example.test' | sudo tee -a /etc/hosts"), "{text}");
        drop((server, far));
        other.stop();
        run.stop();
    });
}
