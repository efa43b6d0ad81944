use std::net::{TcpListener, UdpSocket};

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
