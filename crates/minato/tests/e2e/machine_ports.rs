//! `minato ports --host` against `ss`, on a machine with a thousand listening sockets.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use serde_json::Value;

use crate::machine::{MACHINE_V4, MACHINE_V6, Machine, SOON, wait_until};

/// What one port in ten is like, each: `*` is the wildcard of IPv6 that takes IPv4 as well.
const KINDS: [(&str, &[&str]); 10] = [
    ("tcp", &["0.0.0.0"]),
    ("tcp", &["*"]),
    ("tcp", &["0.0.0.0", "::"]),
    ("tcp", &["127.0.0.1"]),
    ("tcp", &["::1"]),
    ("tcp", &[MACHINE_V4, MACHINE_V6]),
    ("udp", &["0.0.0.0"]),
    ("udp", &["*"]),
    ("udp", &["::"]),
    ("udp", &["127.0.0.1", "::1"]),
];
/// Ports of each program, and its sockets on them.
const PORTS: u16 = 200;
const SOCKETS: usize = 260;
/// Where the programs' ports begin: every other one is the user's.
const FIRST: [u16; 4] = [20_000, 20_200, 21_000, 21_200];

/// A socket as both programs tell it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    port: u16,
    transport: String,
    /// As in [`KINDS`].
    address: String,
    /// Who has it; nobody that may be seen.
    pids: BTreeSet<u64>,
}

#[test]
fn ports_of_the_machine_are_those_that_ss_shows() {
    Machine::run(&["ss", "setpriv"], |machine| {
        let (root, user) = (machine.root(), machine.user());
        let start = |(index, first): (usize, &u16)| {
            let words = machine.peer(&format!("sockets {first}"));
            let account = if index % 2 == 0 { &root } else { &user };
            let mut command = account.command(&words[0]);
            command.args(&words[1..]);
            account.start(command)
        };
        let programs: Vec<_> = FIRST.iter().enumerate().map(start).collect();
        wait_until("the sockets", SOON, || programs.iter().all(|program| program.stderr().contains("all open")));

        for (account, visible) in [(&root, FIRST.len()), (&user, FIRST.len() / 2)] {
            let mut expected = sockets_of_ss(&account.finish("ss", &["-tulpnH"]).expect_success().stdout);
            expected.sort();
            let seen = expected.iter().filter(|socket| !socket.pids.is_empty()).count();
            let shared = expected.iter().filter(|socket| socket.pids.len() == 2).count();
            assert_eq!((expected.len(), seen, shared), (FIRST.len() * SOCKETS, visible * SOCKETS, visible));

            let mut sockets = sockets_of_json(&account.minato_json(&["ports", "--host"]));
            sockets.sort();
            assert_same(&sockets, &expected);
            let mut rows = rows_of_table(&account.minato_finish(&["ports", "--host"]).expect_success().stdout);
            rows.sort();
            let mut expected: Vec<_> = expected.iter().flat_map(in_table).collect();
            expected.sort();
            assert_same(&rows, &expected);
        }
        programs.into_iter().for_each(|program| drop(program.stop()));
    });
}

/// Names what one of them has and the other does not, rather than a thousand lines.
fn assert_same<T: Ord + std::fmt::Debug>(ours: &[T], expected: &[T]) {
    let without = |some: &[T], others: &[T]| {
        some.iter().filter(|one| others.binary_search(one).is_err()).map(|one| format!("{one:?}")).collect::<Vec<_>>()
    };
    assert_eq!(without(ours, expected), [""; 0], "not in ss");
    assert_eq!(without(expected, ours), [""; 0], "only in ss");
    assert_eq!(ours.len(), expected.len(), "something is there twice");
}

/// Lines such as `tcp LISTEN 0 128 [::1]:22 [::]:* users:(("sshd",pid=7,fd=3))`.
fn sockets_of_ss(lines: &str) -> Vec<Socket> {
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = words[4].rsplit_once(':').expect("ADDRESS:PORT");
        let pids =
            line.split("pid=").skip(1).map(|rest| rest.split(',').next().expect("a pid").parse().expect("a pid"));
        Socket {
            port: port.parse().expect("a port"),
            transport: words[0].to_owned(),
            address: address.trim_matches(['[', ']']).to_owned(),
            pids: pids.collect(),
        }
    };
    lines.lines().map(socket).collect()
}

/// Each socket of each row: a dual-stack wildcard is one, though the row tells both families' addresses.
fn sockets_of_json(view: &Value) -> Vec<Socket> {
    let list = |row: &Value, name: &str| row[name].as_array().expect("a list").clone();
    let mut all = Vec::new();
    for row in view["ports"].as_array().expect("rows") {
        assert_eq!(row["listening"], true, "{row}");
        let pids: BTreeSet<u64> =
            list(row, "processes").iter().map(|one| one["pid"].as_u64().expect("a pid")).collect();
        let unknown = if pids.is_empty() { Value::from("no-permission") } else { Value::Null };
        assert_eq!(row["process_unknown"], unknown, "{row}");
        let dual = row["dual_stack"] == true;
        for address in list(row, "addresses").iter().map(|address| address.as_str().expect("an address")) {
            let address = match address {
                "0.0.0.0" if dual => continue,
                "::" if dual => "*",
                other => other,
            };
            let port = row["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
            let transport = row["transport"].as_str().expect("a transport").to_owned();
            all.push(Socket { port, transport, address: address.to_owned(), pids: pids.clone() });
        }
    }
    all
}

/// What the table tells of an address: its port as `80/tcp`, and who has it.
type Told = (String, String, String);

/// As the table must tell a socket.
fn in_table(socket: &Socket) -> Vec<Told> {
    let holders = match socket.pids.first() {
        None => "unknown (no permission)".to_owned(),
        Some(pid) if socket.pids.len() == 1 => pid.to_string(),
        Some(pid) => format!("{pid} +{}", socket.pids.len() - 1),
    };
    let addresses = if socket.address == "*" { vec!["0.0.0.0", "::"] } else { vec![socket.address.as_str()] };
    let port = format!("{}/{}", socket.port, socket.transport);
    addresses.into_iter().map(|address| (port.clone(), address.to_owned(), holders.clone())).collect()
}

fn rows_of_table(table: &str) -> Vec<Told> {
    let mut all = Vec::new();
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let [_host, bound, port, _class, _registered, holders, _reach] = cells[..] else { panic!("{line}") };
        // Of a process the table tells the name as well.
        let known = holders.split_once(' ').filter(|(name, _)| *name != "unknown").map(|(_name, pids)| pids);
        let addresses = match bound {
            "* (v4+v6)" => vec!["0.0.0.0", "::"],
            "* (v4)" => vec!["0.0.0.0"],
            "* (v6)" => vec!["::"],
            specific => specific.trim_end_matches(" only").split(", ").collect(),
        };
        let (numbers, transport) = port.split_once('/').expect("PORT/TRANSPORT");
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        for number in first.parse::<u16>().expect("a port")..=last.parse().expect("a port") {
            let port = format!("{number}/{transport}");
            let row = |address: &&str| (port.clone(), (*address).to_owned(), known.unwrap_or(holders).to_owned());
            all.extend(addresses.iter().map(row));
        }
    }
    all
}

/// Opens sockets of every kind, shares one of them with another program, and keeps them until it is ended.
pub(crate) fn open_sockets(first: u16) {
    let addresses = |(port, (transport, addresses)): (u16, &(&'static str, &'static [&'static str]))| {
        addresses.iter().map(|address| open(transport, address, port)).collect::<Vec<_>>()
    };
    let all: Vec<OwnedFd> = (first..first + PORTS).zip(KINDS.iter().cycle()).flat_map(addresses).collect();
    assert_eq!(all.len(), SOCKETS);
    fcntl_setfd(&all[0], FdFlags::empty()).expect("to share a socket");
    // It ends with us.
    let mut other =
        Command::new("setpriv").args(["--pdeathsig", "KILL", "sleep", "1000"]).spawn().expect("another program");
    fcntl_setfd(&all[0], FdFlags::CLOEXEC).expect("to share it once");
    eprintln!("all open");
    other.wait().expect("its end");
}

fn open(transport: &str, address: &str, port: u16) -> OwnedFd {
    let ip: IpAddr = if address == "*" { "::" } else { address }.parse().expect("an address");
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if transport == "tcp" { SocketType::STREAM } else { SocketType::DGRAM };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).expect("a socket");
    if ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, address != "*").expect("to choose the families");
    }
    bind(&socket, &SocketAddr::new(ip, port)).expect("to bind");
    if transport == "tcp" {
        listen(&socket, 16).expect("to listen");
    }
    socket
}
