//! From the world to a host: what forwards promise.

use std::net::{IpAddr, SocketAddr, TcpListener};

use crate::machine::{MACHINE_V4, MACHINE_V6, Machine, OUTSIDE_V4, OUTSIDE_V6, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::{net, peer};

#[test]
fn a_forward_holds_its_port_and_refuses_until_the_service_listens() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "late", "-p", "8080:80"], &["sleep", "100"]);
        Api::USER.host("late");
        for address in ["127.0.0.1:8080", "[::1]:8080"] {
            assert!(net::is_refused(address), "{address}: nothing listens yet");
            assert!(TcpListener::bind(address).is_err(), "{address} is not held");
        }
        let service = user.exec("late", &machine.peer("who 80"));
        for address in ["127.0.0.1:8080", "[::1]:8080"] {
            wait_until("the service", SOON, || net::read_from(address).is_some());
        }
        service.stop();
        wait_until("refusal again", SOON, || net::is_refused("127.0.0.1:8080"));
        assert!(TcpListener::bind("127.0.0.1:8080").is_err(), "not held any more");
        run.stop();
        wait_until("the port to be free", SOON, || TcpListener::bind("127.0.0.1:8080").is_ok());
    });
}

#[test]
fn a_loopback_client_appears_as_the_gateway_with_an_ephemeral_port() {
    Machine::run(&[], |machine| {
        let run = machine.user().run(&["--name", "web", "-p", "8080:80"], &machine.peer("who 80"));
        let network = {
            Api::USER.host("web");
            Api::USER.network()
        };
        let gateways = [
            ("127.0.0.1:8080", IpAddr::V4(network.gateway_v4)),
            ("[::1]:8080", IpAddr::V6(network.gateway_v6.expect("IPv6"))),
        ];
        for (address, gateway) in gateways {
            let seen: SocketAddr = wait_for("an answer", SOON, || net::read_from(address)?.trim().parse().ok());
            assert_eq!(seen.ip(), gateway, "{address}");
            assert!(seen.port() >= 49152, "{seen} has no ephemeral port");
        }
        run.stop();
    });
}

#[test]
fn tcp_clients_keep_their_address_and_port_in_both_families() {
    Machine::run(&[], |machine| {
        let forwards = ["--name", "web", "-p", "0.0.0.0:8080:80", "-p", "[::]:8081:80"];
        let run = machine.user().run(&forwards, &machine.peer("who 80"));
        let addresses = [(format!("{MACHINE_V4}:8080"), OUTSIDE_V4), (format!("[{MACHINE_V6}]:8081"), OUTSIDE_V6)];
        for (address, client) in addresses {
            wait_until("the service", SOON, || net::read_from(&address).is_some());
            let (local, seen) = machine.outside(move || {
                let stream = net::connect(&address).expect("to connect");
                (stream.local_addr().expect("an address"), peer::read_all(stream))
            });
            assert_eq!(seen.trim(), local.to_string());
            assert_eq!(local.ip().to_string(), client);
        }
        run.stop();
    });
}

#[test]
fn udp_clients_keep_their_address_and_port_in_both_families() {
    Machine::run(&[], |machine| {
        let forwards = ["--name", "udp", "-p", "0.0.0.0:5353:5300/udp", "-p", "[::]:5354:5300/udp"];
        let run = machine.user().run(&forwards, &machine.peer("who 5300"));
        for address in [format!("{MACHINE_V4}:5353"), format!("[{MACHINE_V6}]:5354")] {
            let ask = move || net::ask(&address, "who").ok();
            let (local, seen) = machine.outside(move || wait_for("an answer over UDP", SOON, ask));
            assert_eq!(seen, local.to_string());
        }
        run.stop();
    });
}

#[test]
fn a_connected_udp_client_gets_answers_from_the_address_that_it_asked() {
    Machine::run(&[], |machine| {
        let run = machine.user().run(&["--name", "udp", "-p", "0.0.0.0:5353:5300/udp"], &machine.peer("who 5300"));
        // The kernel alone would answer from 127.0.0.1, which a socket connected to another address does not take.
        let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        client.connect("127.0.0.9:5353").expect("to connect");
        client.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a timeout");
        wait_until("an answer", SOON, || client.send(b"who").is_ok() && client.recv(&mut [0; 100]).is_ok());
        run.stop();
    });
}

#[test]
fn a_loopback_udp_client_appears_as_the_gateway() {
    Machine::run(&[], |machine| {
        let run = machine.user().run(&["--name", "udp", "-p", "5353:5300/udp"], &machine.peer("who 5300"));
        Api::USER.host("udp");
        let gateway = IpAddr::V4(Api::USER.network().gateway_v4);
        let seen = wait_for("an answer over UDP", SOON, || net::ask("127.0.0.1:5353", "who").ok()).1;
        let seen: SocketAddr = seen.parse().expect("an address");
        assert_eq!(seen.ip(), gateway);
        assert!(seen.port() >= 49152, "{seen} has no ephemeral port");
        run.stop();
    });
}

#[test]
fn a_service_bound_to_loopback_only_is_reached() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run =
            user.run(&["--name", "dev", "-p", "3000:3000", "-p", "3000:3000/udp"], &machine.peer("who 127.0.0.1:3000"));
        wait_until("the service", SOON, || net::read_from("127.0.0.1:3000").is_some());
        wait_until("the service over UDP", SOON, || net::ask("127.0.0.1:3000", "who").is_ok());
        let ports = user.minato_finish(&["ports"]).expect_success().stdout;
        assert!(ports.lines().any(|line| line.contains("127.0.0.1 only") && line.contains("3000/tcp")), "{ports}");
        run.stop();
    });
}

#[test]
fn ranges_are_forwarded_pairwise() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "range", "-p", "9000-9002:3000-3002"], &machine.peer("who 3001"));
        wait_until("the middle of the range", SOON, || net::read_from("127.0.0.1:9001").is_some());
        assert!(net::is_refused("127.0.0.1:9000") && net::is_refused("127.0.0.1:9002"));
        let last = user.exec("range", &machine.peer("who 3002"));
        wait_until("the end of the range", SOON, || net::read_from("127.0.0.1:9002").is_some());
        assert!(TcpListener::bind("127.0.0.1:9000").is_err(), "the whole range is held");
        last.stop();
        run.stop();
    });
}

#[test]
fn a_forward_binds_only_the_address_that_it_names() {
    Machine::run(&[], |machine| {
        let run = machine.user().run(&["--name", "v6", "-p", "[::1]:8080:80"], &machine.peer("who 80"));
        wait_until("the service", SOON, || net::read_from("[::1]:8080").is_some());
        assert!(TcpListener::bind("127.0.0.1:8080").is_ok(), "IPv4 is held too");
        assert!(net::is_refused(&format!("{MACHINE_V4}:8080")));
        run.stop();
    });
}

#[test]
fn forwards_are_changed_while_the_service_runs() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web"], &machine.peer("who 80"));
        wait_until("the service to listen", SOON, || Api::USER.port("web", 80).is_some());
        user.minato_finish(&["forward", "add", "-p", "127.0.0.1:8080:80", "-p", "127.0.0.1:8081:80", "web"])
            .expect_success();
        wait_until("the new forward", SOON, || net::read_from("127.0.0.1:8080").is_some());
        wait_until("the other one", SOON, || net::read_from("127.0.0.1:8081").is_some());
        let list = user.minato_finish(&["forward", "ls"]).expect_success().stdout;
        assert!(list.contains("127.0.0.1:8080"), "{list}");

        user.minato_finish(&["forward", "rm", "-p", "127.0.0.1:8080:80", "web"]).expect_success();
        assert!(TcpListener::bind("127.0.0.1:8080").is_ok(), "the port is still held");
        assert!(net::read_from("127.0.0.1:8081").is_some(), "the other forward must not notice");
        user.minato_finish(&["forward", "rm", "-p", "127.0.0.1:8080:80", "web"]).expect_code(12);
        user.minato_finish(&["forward", "add", "-p", "127.0.0.1:8081:90", "web"])
            .expect_code(16)
            .expect_stderr(&["8081", "web"]);
        user.minato_finish(&["forward", "add", "-p", "8080:80", "nobody"]).expect_code(10).expect_stderr(&["nobody"]);
        run.stop();
    });
}

#[test]
fn a_client_may_end_its_direction_and_still_read() {
    Machine::run(&[], |machine| {
        let run = machine.user().run(&["--name", "count", "-p", "8080:80"], &machine.peer("count 80"));
        let stream = wait_for("the service", SOON, || net::connect("127.0.0.1:8080").ok());
        assert_eq!(peer::half_close(stream, 10_000_000), "10000000 bytes\n");
        run.stop();
    });
}

/// TCP and UDP of one port, on a machine of which only the IPv4 loopback has an address.
#[test]
fn forwards_of_both_transports_are_removed_without_ipv6() {
    Machine::run(&[], |machine| {
        let removed = std::process::Command::new("ip").args(["-6", "addr", "del", "::1/128", "dev", "lo"]).status();
        assert!(removed.expect("ip runs").success());
        let user = machine.user();
        let run = user.run(&["--name", "dns", "-p", "5353:53", "-p", "5353:53/udp"], &["sleep", "100"]);
        crate::support::api::Api::USER.host("dns");
        user.minato_finish(&["forward", "rm", "-p", "5353:53", "-p", "5353:53/udp", "dns"]).expect_success();
        run.stop();
    });
}

#[test]
fn datagrams_before_the_service_do_not_spoil_those_after_it() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run =
            user.run(&["--name", "late", "-p", "5353:5300/udp", "-p", "198.51.100.1:5353:5300/udp"], &["sleep", "100"]);
        Api::USER.host("late");
        let addresses = ["127.0.0.1:5353", "[::1]:5353", "198.51.100.1:5353"];
        for address in addresses {
            assert!(net::ask(address, "nobody").is_err(), "{address}: an answer from nobody");
        }
        for _ in 0..2 {
            let service = user.exec("late", &machine.peer("who 5300"));
            for address in addresses {
                wait_until("an answer from the late service", SOON, || net::ask(address, "who").is_ok());
            }
            service.stop();
            wait_until("its end", SOON, || Api::USER.port("late", 5300).is_none());
            assert!(net::ask("127.0.0.1:5353", "nobody").is_err(), "an answer after its end");
        }
        run.stop();
    });
}
