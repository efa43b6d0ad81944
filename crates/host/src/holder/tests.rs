use std::net::{TcpListener, TcpStream, UdpSocket};

use super::*;
use crate::sockets::HeldPort;

#[test]
fn names_this_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let found = holders(Transport::Tcp, address.ip(), address.port()).unwrap();
    let HolderProcesses::Known(processes) = &found[0].processes else { panic!("{found:?}") };
    assert_eq!(processes[0].pid, std::process::id());
    assert_eq!((found[0].local, found[0].state, found[0].remote), (address, State::Listen, None));
}

#[test]
fn wildcards_and_addresses_are_in_each_others_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let held = |address: &str| !sockets(Transport::Tcp, address.parse().unwrap(), port).unwrap().is_empty();
    assert!(held("127.0.0.1") && held("0.0.0.0"));
    assert!(!held("127.0.0.2") && !held("::1") && !held("::"));
    assert!(sockets(Transport::Udp, "127.0.0.1".parse().unwrap(), port).unwrap().is_empty());
}

#[test]
fn a_dual_stack_wildcard_is_in_the_way_of_ipv4() {
    let Ok(listener) = TcpListener::bind("[::]:0") else { return eprintln!("SKIPPED: no IPv6 here") };
    let port = listener.local_addr().unwrap().port();
    assert_eq!(sockets(Transport::Tcp, "127.0.0.1".parse().unwrap(), port).unwrap().len(), 1);
    let udp = UdpSocket::bind("[::]:0").unwrap();
    let port = udp.local_addr().unwrap().port();
    assert_eq!(sockets(Transport::Udp, "127.0.0.1".parse().unwrap(), port).unwrap().len(), 1);
}

#[test]
fn an_ipv4_socket_is_in_the_way_of_a_dual_stack_wildcard() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let addresses = ["::".parse().unwrap(), "0.0.0.0".parse().unwrap()];
    let mut table = SockDiag::open().unwrap();
    assert_eq!(in_the_way(&mut table, Transport::Tcp, &addresses[..1], port).unwrap(), []);
    assert_eq!(in_the_way(&mut table, Transport::Tcp, &addresses, port).unwrap().len(), 1);
}

/// A client's ephemeral port holds its number too.
#[test]
fn a_connection_is_named_with_its_remote_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let local = client.local_addr().unwrap();
    let found = holders(Transport::Tcp, local.ip(), local.port()).unwrap();
    assert_eq!(found[0].remote, Some(listener.local_addr().unwrap()));
}

#[test]
fn a_port_that_is_held_without_listening_is_seen() {
    let held = HeldPort::hold("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_address().unwrap();
    let found = sockets(Transport::Tcp, address.ip(), address.port()).unwrap();
    if found.is_empty() {
        return eprintln!("SKIPPED: kernels before 6.8 do not list bound sockets");
    }
    assert_eq!(found[0].state, State::BoundInactive);
}
