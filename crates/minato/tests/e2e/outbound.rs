//! From a host to the world: through the TAP, our stack, and sockets of the machine.

use std::io::Write;
use std::net::TcpListener;
use std::thread;

use crate::machine::{Account, Machine, OUTSIDE_V4, OUTSIDE_V6, SOON, wait_until};
use crate::support::api::Api;
use crate::support::{net, peer, servers};

#[test]
fn curl_reaches_a_server_in_both_families() {
    Machine::run(&["nginx", "curl"], |machine| {
        let nginx = servers::nginx(machine, 8000, "from outside");
        let server = machine.root().start(machine.outside_command(&nginx.command));
        wait_until("nginx outside", SOON, || net::http_get(&format!("{OUTSIDE_V4}:8000"), "/").is_some());
        for address in [OUTSIDE_V4.to_owned(), format!("[{OUTSIDE_V6}]")] {
            let url = format!("http://{address}:8000/");
            let curl =
                machine.user().run(&[], &["curl", "--silent", "--show-error", "--fail", "--max-time", "10", &url]);
            assert_eq!(curl.finish().expect_success().stdout, "from outside", "{url}");
        }
        server.stop();
    });
}

#[test]
fn the_machines_own_outer_address_is_reached() {
    Machine::run(&["nginx", "curl"], |machine| {
        let nginx = servers::nginx(machine, 8000, "from the machine");
        let mut command = machine.root().command(&nginx.command[0]);
        command.args(&nginx.command[1..]);
        let server = machine.root().start(command);
        wait_until("nginx on the machine", SOON, || net::http_get("127.0.0.1:8000", "/").is_some());
        for address in ["198.51.100.1", "[2001:db8:51::1]"] {
            let url = format!("http://{address}:8000/");
            let curl = machine.user().run(&[], &["curl", "--silent", "--fail", "--max-time", "10", &url]);
            assert_eq!(curl.finish().expect_success().stdout, "from the machine", "{url}");
        }
        server.stop();
    });
}

/// The outcome and the milliseconds of a TCP connection from a new host.
fn connect(account: &Account<'_>, machine: &Machine, arguments: &[&str], address: &str) -> (String, f64) {
    let finished = account.run(arguments, &machine.peer(&format!("connect {address}"))).finish().expect_success();
    let line = finished.stderr.lines().last().unwrap_or_default().to_owned();
    let (outcome, milliseconds) = line.split_once(' ').unwrap_or_else(|| panic!("not an outcome: {line}"));
    (outcome.to_owned(), milliseconds.parse().expect("milliseconds"))
}

#[test]
fn a_refusal_arrives_within_50_milliseconds() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        for address in [format!("{OUTSIDE_V4}:9"), format!("[{OUTSIDE_V6}]:9")] {
            wait_until(&format!("a quick refusal of {address}"), SOON, || {
                let (outcome, milliseconds) = connect(&user, machine, &[], &address);
                assert_eq!(outcome, "ConnectionRefused", "{address}");
                milliseconds < 50.0
            });
        }
    });
}

#[test]
fn unreachable_and_silent_destinations_are_told_apart() {
    Machine::run(&[], |machine| {
        machine.root().finish("ip", &["route", "add", "unreachable", "203.0.113.0/24"]).expect_success();
        let user = machine.user();
        assert_eq!(connect(&user, machine, &[], "203.0.113.9:80").0, "HostUnreachable");
        // Outside forwards nothing: this address never answers, so the program's own patience decides.
        assert_eq!(connect(&user, machine, &[], "192.0.2.77:80").0, "TimedOut");
    });
}

#[test]
fn the_machines_loopback_is_closed_unless_a_port_is_opened() {
    Machine::run(&[], |machine| {
        let listener = TcpListener::bind("127.0.0.1:7000").expect("a port");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.expect("a client").write_all(b"secret\n");
            }
        });
        let user = machine.user();
        let probe = user.run(&["--name", "probe"], &["sleep", "100"]);
        Api::USER.host("probe");
        let gateway = Api::USER.network().gateway_v4;
        assert_eq!(connect(&user, machine, &[], &format!("{gateway}:7000")).0, "ConnectionRefused");
        assert_eq!(connect(&user, machine, &[], "127.0.0.1:7000").0, "ConnectionRefused");
        let open = connect(&user, machine, &["--host-port", "7000"], &format!("{gateway}:7000"));
        assert_eq!(open.0, "connected");
        assert_eq!(
            connect(&user, machine, &["--host-port", "7000"], &format!("{gateway}:7001")).0,
            "ConnectionRefused"
        );
        probe.stop();
    });
}

#[test]
fn ping_reaches_the_gateway_and_the_world() {
    Machine::run(&["ping"], |machine| {
        let user = machine.user();
        let probe = user.run(&["--name", "probe"], &["sleep", "100"]);
        Api::USER.host("probe");
        let network = Api::USER.network();
        let gateways = [network.gateway_v4.to_string(), network.gateway_v6.expect("IPv6").to_string()];
        for address in gateways.iter().map(String::as_str).chain([OUTSIDE_V4, OUTSIDE_V6]) {
            user.exec("probe", &["ping", "-c", "2", "-i", "0.2", "-W", "3", address]).finish().expect_success();
        }
        let silent = user.exec("probe", &["ping", "-c", "1", "-W", "1", "192.0.2.77"]).finish();
        assert!(!silent.status.success(), "an echo that nobody sent: {}", silent.stdout);
        probe.stop();
    });
}

#[test]
fn datagrams_reach_the_world_and_answers_come_back() {
    Machine::run(&[], |machine| {
        machine.outside(|| {
            let socket = std::net::UdpSocket::bind("[::]:7777").expect("a port");
            thread::spawn(move || {
                let mut buffer = [0; 2048];
                while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], client);
                }
            });
        });
        for address in [format!("{OUTSIDE_V4}:7777"), format!("[{OUTSIDE_V6}]:7777")] {
            let asked =
                machine.user().run(&[], &machine.peer(&format!("ask {address} marco"))).finish().expect_success();
            assert!(asked.stderr.contains("marco"), "{address}: {}", asked.stderr);
        }
        // Nobody there: the kernel's own error for an ICMP port unreachable.
        let asked =
            machine.user().run(&[], &machine.peer(&format!("ask {OUTSIDE_V4}:7778 marco"))).finish().expect_success();
        assert!(asked.stderr.contains("ConnectionRefused"), "{}", asked.stderr);
    });
}

#[test]
fn a_program_may_end_its_direction_and_still_read() {
    Machine::run(&[], |machine| {
        machine.outside_thread(|| peer::count("[::]:7000"));
        for address in [format!("{OUTSIDE_V4}:7000"), format!("[{OUTSIDE_V6}]:7000")] {
            let role = format!("upload {address} 10000000");
            let finished = machine.user().run(&[], &machine.peer(&role)).finish().expect_success();
            assert_eq!(finished.stderr, "10000000 bytes\n", "{address}");
        }
    });
}

#[test]
fn every_byte_reaches_a_server_that_ended_its_direction_first() {
    const BYTES: u64 = 20_000_000;
    Machine::run(&[], |machine| {
        let address = format!("{OUTSIDE_V4}:7000");
        let listening = machine.outside(|| TcpListener::bind("[::]:7000").expect("to listen"));
        let server = thread::spawn(move || {
            let (stream, _) = listening.accept().expect("a client");
            peer::read_slowly(stream)
        });
        let user = machine.user();
        let probe = user.run(&["--name", "probe"], &["sleep", "100"]);
        Api::USER.host("probe");
        let role = format!("upload {address} {BYTES}");
        user.exec("probe", &machine.peer(&role)).finish().expect_success();
        assert_eq!(server.join().expect("the server"), BYTES);
        probe.stop();
    });
}
