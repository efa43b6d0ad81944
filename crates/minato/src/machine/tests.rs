use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use minato_inspect::{PortRow, Transport};

use super::ports;

/// The rows of this test's own process on one port.
fn own(port: u16) -> Vec<PortRow> {
    let rows = ports().expect("the socket table");
    let is_own = |row: &PortRow| row.processes.iter().any(|process| process.pid == std::process::id());
    rows.into_iter().filter(|row| row.port == port && is_own(row)).collect()
}

#[test]
fn a_listener_of_this_process_is_found_and_released() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let [row] = own(port).try_into().expect("one row");
    assert_eq!(row.addresses, ["127.0.0.1".parse::<std::net::IpAddr>().expect("an address")]);
    assert!(row.listening && !row.dual_stack && row.host.is_none());
    drop(listener);
    assert_eq!(own(port), []);
}

#[test]
fn both_families_and_the_dual_stack_wildcard_are_one_row_each() {
    let first = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = first.local_addr().expect("its address").port();
    let Ok(_second) = TcpListener::bind(("::1", port)) else {
        eprintln!("SKIPPED: this machine has no IPv6, or somebody has the port there");
        return;
    };
    let [row] = own(port).try_into().expect("one row");
    assert_eq!(row.addresses.len(), 2);
    let wildcard = UdpSocket::bind("[::]:0").expect("a port");
    let [row] = own(wildcard.local_addr().expect("its address").port()).try_into().expect("one row");
    assert!(row.dual_stack && row.transport == Transport::Udp);
    assert_eq!(crate::render::ports(&[row], &crate::render::Look::default()).matches("* (v4+v6)").count(), 1);
}

/// Address, port and transport of every socket of this process, as `ss` prints them.
fn as_ss_sees_it() -> Option<BTreeSet<(String, u16, &'static str)>> {
    let output = Command::new("ss").args(["-tulpnH"]).output().ok()?;
    let own = format!("pid={},", std::process::id());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let transport = if words[0] == "tcp" { "tcp" } else { "udp" };
        let (address, port) = words[4].rsplit_once(':').expect("ADDRESS:PORT");
        (address.trim_matches(['[', ']']).to_owned(), port.parse().expect("a port"), transport)
    };
    Some(text.lines().filter(|line| line.contains(&own)).map(row).collect())
}

#[test]
fn a_thousand_sockets_are_seen_as_ss_sees_them() {
    let tcp = ["127.0.0.1:0", "0.0.0.0:0", "[::]:0", "[::1]:0"].into_iter().cycle().take(500);
    let listeners: Vec<_> = tcp.clone().filter_map(|address| TcpListener::bind(address).ok()).collect();
    let datagrams: Vec<_> = tcp.filter_map(|address| UdpSocket::bind(address).ok()).collect();
    let Some(theirs) = as_ss_sees_it().filter(|rows| !rows.is_empty()) else {
        eprintln!("SKIPPED: there is no ss here (Debian package iproute2)");
        return;
    };
    let mut ours = BTreeSet::new();
    for row in ports().expect("the socket table") {
        if row.processes.iter().any(|process| process.pid == std::process::id()) {
            for address in &row.addresses {
                // What takes both families is one line of ss, with a star.
                let any = row.dual_stack && address.is_unspecified();
                let address = if any { "*".to_owned() } else { address.to_string() };
                ours.insert((address, row.port, crate::render::transport(row.transport)));
            }
        }
    }
    assert_eq!(ours, theirs);
    drop((listeners, datagrams));
}
