//! What is in one network is not there for another one of the same user.

use std::net::{Ipv4Addr, TcpListener};

use super::{bash, seen_at, shown};
use crate::machine::{Account, Machine, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::{dns, net, peer};

/// Where the machine's own connections come from, as the world sees it.
const MACHINE: [&str; 2] = ["198.51.100.1:", "[2001:db8:51::1]:"];

/// The outcome of a TCP connection from host `here`.
fn connect(account: &Account<'_>, machine: &Machine, address: &str) -> String {
    let finished = account.exec("here", &machine.peer(&format!("connect {address}"))).finish().expect_success();
    finished.stderr.lines().last().and_then(|line| line.split_once(' ')).expect("an outcome").0.to_owned()
}

/// What host `here` gets back for a datagram.
fn ask(account: &Account<'_>, machine: &Machine, address: &str) -> String {
    account.exec("here", &machine.peer(&format!("ask {address} who"))).finish().expect_success().stderr
}

/// The IPv4 and IPv6 addresses of host `there` and of its gateway.
fn addresses_there(account: &Account<'_>) -> [String; 4] {
    let there = wait_for("the other network's host", SOON, || shown(account, "other", "there"));
    let text = |key: &str| there[key].as_str().expect("an address").to_owned();
    let (v4, v6) = (text("address_v4"), text("address_v6"));
    assert!(v4.ends_with(".2") && v6.ends_with("::2"), "{v4} {v6}");
    let gateway = |address: &str| format!("{}1", &address[..address.len() - 1]);
    [v4.clone(), v6.clone(), gateway(&v4), gateway(&v6)]
}

fn with_port(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Where no network of the machine is concerned, an address is whoever has it in the world. So somebody there has those of
/// the other network, and answers for each of them: what it is that was reached is seen, and not only that nothing was.
#[test]
fn addresses_of_another_network_are_the_worlds() {
    Machine::run(&["bash", "ip", "timeout"], |machine| {
        let (user, root) = (machine.user(), machine.root());
        let there = user.run(&["--name", "there", "--network", "other"], &machine.peer("who 8080"));
        let here = user.run(&["--name", "here"], &["sleep", "100"]);
        Api::USER.host("here");
        let addresses = addresses_there(&user);
        for address in &addresses {
            let add = ["-n", "outside", "address", "add", address, "dev", "lo"];
            // An IPv6 address can't be bound until it is certain that nobody else has it.
            let at_once: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            root.finish("ip", &[&add, at_once].concat()).expect_success();
            for place in [8080, 53].map(|port| with_port(address, port)) {
                machine.outside_thread({
                    let place = place.clone();
                    move || peer::who(&place)
                });
                wait_until("the world", SOON, || net::read_from(&place).is_some());
            }
        }
        // The service there is up, and knows its own clients by other addresses.
        let place = format!("{}/8080", addresses[0]);
        let own = wait_for("the service", SOON, || seen_at(&user, "other", "there", &place));
        assert!(own.starts_with(&addresses[0]), "{own}");

        for address in &addresses {
            for port in [8080, 53] {
                let place = format!("{address}/{port}");
                let seen = seen_at(&user, "default", "here", &place).unwrap_or_default();
                assert!(MACHINE.iter().any(|machine| seen.starts_with(machine)), "{place}: {seen:?}");
                let seen = ask(&user, machine, &with_port(address, port));
                assert!(MACHINE.iter().any(|machine| seen.starts_with(machine)), "{place}, UDP: {seen:?}");
            }
            let nobody = with_port(address, 9);
            assert_eq!(connect(&user, machine, &nobody), "ConnectionRefused", "{nobody}");
        }
        here.stop();
        there.stop();
    });
}

#[test]
fn loopback_addresses_of_another_network_are_refused() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let there = user.run(&["--name", "there", "--network", "other"], &machine.peer("who 8080"));
        let here = user.run(&["--name", "here"], &["sleep", "100"]);
        Api::USER.host("here");
        let other = wait_for("the other network's host", SOON, || shown(&user, "other", "there"));
        let loopback = other["loopback_v4"].as_str().expect("an address on the machine's loopback");
        let service = format!("{loopback}:8080");
        wait_until("the service, from the machine", SOON, || net::read_from(&service).is_some());
        let _machines: Vec<_> =
            ["127.0.0.1:7000", "[::1]:7000"].map(|own| TcpListener::bind(own).expect("a port")).into();

        let network = Api::USER.network();
        let gateways = [network.gateway_v4.to_string(), network.gateway_v6.expect("IPv6").to_string()];
        let mut refused = vec![service, "127.0.0.1:7000".to_owned(), "[::1]:7000".to_owned()];
        refused.extend(gateways.iter().flat_map(|gateway| [7000, 8080].map(|port| with_port(gateway, port))));
        for place in &refused {
            assert_eq!(connect(&user, machine, place), "ConnectionRefused", "{place}");
            assert!(ask(&user, machine, place).contains("ConnectionRefused"), "{place}, UDP");
        }
        here.stop();
        there.stop();
    });
}

#[test]
fn names_of_another_network_are_the_worlds() {
    const NAMED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
    Machine::run(&["bash", "getent"], |machine| {
        machine.outside(|| dns::serve("198.51.100.2:53", NAMED));
        let user = machine.user();
        let there = user.run(&["--name", "there", "--network", "other"], &["sleep", "100"]);
        let here = user.run(&["--name", "here"], &["sleep", "100"]);
        Api::USER.host("here");
        let [v4, v6, ..] = addresses_there(&user);
        let look_up = |network: &str, host: &str, what: &str| {
            let finished = bash(&user, network, host, &format!("getent hosts {what}"));
            (finished.status.code(), finished.stdout)
        };
        for what in ["there", "there.other.internal", &v4, &v6] {
            let (code, found) = look_up("other", "there", what);
            assert!(code == Some(0) && found.contains("there"), "{what}, at home: {found}");
        }
        // What is no name of the own network is a name of the world, which here is called alike, all of it.
        for name in ["there", "there.other.internal"] {
            let (_, found) = look_up("default", "here", name);
            assert!(found.starts_with(&NAMED.to_string()), "{name}: {found}");
        }
        for address in [&v4, &v6] {
            // "One or more supplied keys could not be found."
            assert_eq!(look_up("default", "here", address), (Some(2), String::new()), "{address}");
        }
        here.stop();
        there.stop();
    });
}

/// Greets whoever comes to port 80.
const SERVICE: &str = "import socket\ns = socket.create_server(('', 80))\nwhile True:\n    c, _ = s.accept()\n    c.send(b'hello')\n    c.close()";

fn v6_of(host: &str) -> String {
    Api::USER.host(host).address_v6.expect("IPv6").to_string()
}

/// Runs a program to which the kernel gives no IPv6 socket, as with `ipv6.disable=1` on its command line.
const WITHOUT_IPV6: &str = r#"
import ctypes, os, platform, struct, sys
socket = {"x86_64": 41, "aarch64": 198}[platform.machine()]
def bpf(code, value, yes=0, no=0): return struct.pack("HBBI", code, yes, no, value)
program = (bpf(0x20, 0) + bpf(0x15, socket, 0, 3)        # the number of the system call
    + bpf(0x20, 16) + bpf(0x15, 10, 0, 1)                # its first argument: AF_INET6
    + bpf(0x06, 0x00050000 | 97) + bpf(0x06, 0x7fff0000))  # EAFNOSUPPORT, or go on
filters = ctypes.create_string_buffer(program)
struct_prog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(filters))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_char_p(struct_prog)) == 0
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn a_kernel_without_ipv6_is_told_no_address_of_it() {
    Machine::run(&["bash", "dig", "python3"], |machine| {
        let (user, back) = (machine.user(), ["--network", "back"]);
        let mut command = user.command("python3");
        command.args([
            "-c",
            WITHOUT_IPV6,
            "/run/bin/minato",
            "run",
            "--name",
            "web",
            "-p",
            "8080:80",
            "--join",
            "back",
        ]);
        // What it starts has none either: both engines.
        let web = user.start(command.args(["--", "python3", "-c", SERVICE]));
        let web_v6 = Api::USER.host("web").address_v6;
        let here = user.run(&["--name", "here"], &["sleep", "100"]);
        assert_eq!((web_v6, Api::USER.host("here").address_v6), (None, None));
        let network = Api::USER.network();
        assert_eq!((network.subnet_v6, network.gateway_v6), (None, None));
        wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
        let inside = |script: &str| bash(&user, "default", "here", script).stdout;
        assert!(!inside("cat /etc/resolv.conf").contains(':'), "{}", inside("cat /etc/resolv.conf"));
        for name in ["web", "gateway.default.internal"] {
            assert_eq!(inside(&format!("dig +short {name} AAAA")), "", "{name}");
            assert!(inside(&format!("dig +short {name} A")).starts_with("10.77."), "{name}");
        }
        assert!(seen_at(&user, "default", "here", "web/80").is_some());
        let guest = shown(&user, "back", "web").expect("a guest");
        assert_eq!(guest["address_v6"], serde_json::Value::Null);
        let there = user.run(&[&["--name", "there"], &back[..]].concat(), &["sleep", "100"]);
        wait_for("the guest", SOON, || seen_at(&user, "back", "there", "web/80"));
        there.stop();
        here.stop();
        web.stop();
    });
}

#[test]
fn hosts_of_a_machine_without_ipv6_have_it_among_themselves() {
    Machine::run(&["bash", "timeout"], |machine| {
        for interfaces in ["all", "default"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{interfaces}/disable_ipv6"), "1").expect("a setting");
        }
        let user = machine.user();
        let web = user.run(&["--name", "web"], &machine.peer("who 8080"));
        let here = user.run(&["--name", "here"], &["sleep", "100"]);
        let (web_v6, own_v6) = (v6_of("web"), v6_of("here"));
        let seen = wait_for("the service", SOON, || seen_at(&user, "default", "here", &format!("{web_v6}/8080")));
        assert!(seen.starts_with(&format!("[{own_v6}]")), "{seen}");
        // The machine has no address to come from.
        let beyond = connect(&user, machine, "[2001:db8:51::2]:80");
        assert_eq!(beyond, "HostUnreachable");
        here.stop();
        web.stop();
    });
}
