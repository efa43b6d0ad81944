use std::net::{TcpListener, TcpStream, UdpSocket};

use super::*;

fn collect(query: Query) -> Vec<SocketInfo> {
    let mut sockets = Vec::new();
    SockDiag::open().unwrap().dump(query, |socket| sockets.push(*socket)).unwrap();
    sockets
}

#[test]
fn state_sets_are_what_their_names_say() {
    assert_eq!(States::CONNECTED.union(States::HOLDING).union(States::UNCONNECTED), States::ALL);
    assert_eq!(States::of(State::Listen), States::LISTEN);
}

#[test]
fn shows_a_listener_and_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();

    let query = Query { port: Some(address.port()), ..Query::new(Family::V4, Transport::Tcp, States::LISTEN) };
    let [socket] = collect(query)[..] else { panic!("one listener") };
    assert_eq!((socket.local, socket.state, socket.receive_queue), (address, State::Listen, 1));
    assert_eq!(socket.uid, rustix::process::geteuid().as_raw());
    assert_ne!(socket.inode, 0);

    let query = Query { details: true, ..Query::new(Family::V4, Transport::Tcp, States::CONNECTED) };
    let local = client.local_addr().unwrap();
    let connection = collect(query).into_iter().find(|socket| socket.local == local).unwrap();
    assert_eq!((connection.remote, connection.state), (address, State::Established));
    assert!(connection.tcp.unwrap().congestion_window > 0);
}

#[test]
fn shows_udp_and_v6only() {
    let Ok(socket) = UdpSocket::bind("[::]:0") else { return eprintln!("SKIPPED: no IPv6 here") };
    let address = socket.local_addr().unwrap();
    let query = Query::new(Family::V6, Transport::Udp, States::UNCONNECTED);
    let found = collect(query).into_iter().find(|socket| socket.local == address).unwrap();
    assert_eq!((found.state, found.v6only), (State::Close, false));

    let wildcard = crate::sockets::HeldPort::hold("[::]:0".parse().unwrap()).unwrap();
    wildcard.listen(1).unwrap();
    let port = wildcard.local_address().unwrap().port();
    let query = Query { port: Some(port), ..Query::new(Family::V6, Transport::Tcp, States::LISTEN) };
    assert!(collect(query)[0].v6only);
}
