use std::net::{IpAddr, Ipv4Addr, TcpStream};

use minato_host::sockets::HeldPort;
use minato_relay::{Listener, Services};

use super::*;

#[test]
fn a_forward_that_can_not_be_watched_refuses_until_it_can() {
    let port = HeldPort::hold("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = port.local_address().expect("its address");
    let poller = Poller::new().expect("epoll");
    // The kernel takes a descriptor only once, as it takes none when there are too many.
    let in_the_way = Poller::new().expect("epoll");
    in_the_way.add(&port, Token::Forward(0, 1)).expect("to watch");
    let mut forward =
        Forward::new(1, false, HeldForward { id: 1, address, service_port: 80, socket: HeldSocket::Tcp(port) });
    let own = [IpAddr::from(Ipv4Addr::new(10, 77, 0, 2))];
    let services = Services::new([Listener { transport: Transport::Tcp, address: own[0], port: 80, v6_only: false }]);
    forward.follow(0, &services, &own, &in_the_way);
    assert!(forward.stuck && !forward.watched && forward.service.is_none());
    TcpStream::connect(address).expect_err("nobody would accept");

    forward.follow(0, &services, &own, &poller);
    assert!(!forward.stuck && forward.watched && forward.service.is_some());
    TcpStream::connect(address).expect("it listens");

    forward.follow(0, &Services::default(), &own, &poller);
    assert!(forward.service.is_none());
    TcpStream::connect(address).expect_err("the service is gone");
}
