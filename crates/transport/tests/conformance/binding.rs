//! Options of UDP sockets and of binding.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use minato_transport::{BindOptions, Config, DatagramOptions, IpCidr, Link, ListenError, SendDatagramError, Stack};

use super::packets::{udp, udp6_to, v4, v6};
use super::script::{LOCAL, PEER, Script};

#[allow(clippy::disallowed_methods, reason = "where the virtual clock starts does not matter")]
fn dual() -> (Stack, Instant) {
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, [4; 16]);
    let prefix = |address: IpAddr, length| IpCidr::new(address, length).expect("a prefix");
    config.addresses = vec![prefix(LOCAL.0.into(), 24), prefix("fd00::1".parse().expect("an address"), 64)];
    let now = Instant::now();
    (Stack::new(now, config), now)
}

#[test]
fn a_datagram_sockets_options_are_its_own() {
    let (mut stack, now) = dual();
    let socket = stack.bind_datagram(SocketAddr::from((LOCAL.0, 53)), 0).expect("free");
    let options = DatagramOptions { hop_limit: 2, traffic_class: 0xb9, ..DatagramOptions::default() };
    stack.set_datagram_options(socket, options);
    stack.send_bound(now, socket, Some(PEER.into()), b"x").expect("room");
    let packet = stack.poll_transmit(now).expect("a datagram").to_vec();
    assert_eq!((packet[8], packet[1]), (2, 0xb8));

    let broadcast = SocketAddr::from(([10, 0, 0, 255], 9));
    let refused = stack.send_bound(now, socket, Some(broadcast), b"x");
    assert_eq!(refused, Err(SendDatagramError::BroadcastForbidden));
    stack.set_datagram_options(socket, DatagramOptions { broadcast: true, ..options });
    stack.send_bound(now, socket, Some(broadcast), b"x").expect("allowed");

    stack.set_datagram_options(socket, DatagramOptions { receive_buffer: 1000, ..options });
    let datagram = udp(&[7; 500]);
    for _ in 0..5 {
        stack.receive(now, &mut v4(LOCAL.0, smoltcp::wire::IpProtocol::Udp, 64, &datagram));
    }
    let mut arrived = 0;
    while stack.receive_bound(socket).is_some() {
        arrived += 1;
    }
    assert_eq!(arrived, 1);
}

#[test]
fn each_free_ephemeral_port_is_as_likely_whatever_stands_before_it() {
    let mut script = Script::new(|config| config.ephemeral = "50000-50099".parse().expect("a range"));
    let at = |port| SocketAddr::from((LOCAL.0, port));
    for port in 50_000..50_080 {
        script.stack.bind_datagram(at(port), 0).expect("free");
    }
    let mut counts = [0_u32; 20];
    for number in 0..2000_u64 {
        let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let socket = script.stack.bind_datagram(at(0), random).expect("one is free");
        let port = script.stack.datagram_address(socket).expect("bound").port();
        script.stack.unbind_datagram(socket);
        counts[usize::from(port - 50_080)] += 1;
    }
    assert!(counts.iter().all(|count| (60..150).contains(count)), "{counts:?}");
}

#[test]
fn broadcasts_reach_sockets_on_all_addresses_and_nobody_answers_them() {
    let (mut stack, now) = dual();
    let all = stack.bind_datagram(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 53)), 0).expect("free");
    for destination in [[10, 0, 0, 255], [255, 255, 255, 255]] {
        stack.receive(now, &mut v4(destination.into(), smoltcp::wire::IpProtocol::Udp, 64, &udp(b"all")));
        assert_eq!(stack.receive_bound(all).map(|datagram| datagram.payload.to_vec()).as_deref(), Some(&b"all"[..]));
    }
    stack.unbind_datagram(all);
    let one = stack.bind_datagram(SocketAddr::from((LOCAL.0, 53)), 0).expect("free");
    stack.receive(now, &mut v4([10, 0, 0, 255].into(), smoltcp::wire::IpProtocol::Udp, 64, &udp(b"all")));
    assert!(stack.receive_bound(one).is_none());
    stack.unbind_datagram(one);
    stack.receive(now, &mut v4([10, 0, 0, 255].into(), smoltcp::wire::IpProtocol::Udp, 64, &udp(b"all")));
    assert!(stack.poll_transmit(now).is_none());
}

#[test]
fn without_v6only_the_wildcard_takes_both_families() {
    let (mut stack, now) = dual();
    let any: SocketAddr = "[::]:53".parse().expect("an address");
    let both = BindOptions { v6only: false, ..BindOptions::default() };
    let socket = stack.bind_datagram_with(any, 0, both).expect("free");
    stack.receive(now, &mut v4(LOCAL.0, smoltcp::wire::IpProtocol::Udp, 64, &udp(b"four")));
    let mut packet = v6(17, &udp6_to("fd00::1", b"six"));
    packet[24..40].copy_from_slice(&"fd00::1".parse::<std::net::Ipv6Addr>().expect("an address").octets());
    stack.receive(now, &mut packet);
    for payload in [&b"four"[..], b"six"] {
        assert_eq!(stack.receive_bound(socket).map(|datagram| datagram.payload.to_vec()).as_deref(), Some(payload));
    }

    let listener = stack.listen_with(any, 4, both).expect("free");
    let v4_only = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 53));
    assert!(matches!(stack.listen(v4_only, 4), Err(ListenError::InUse { .. })));
    stack.unlisten(now, listener);
    let v6_listener = stack.listen(any, 4).expect("free");
    stack.listen(v4_only, 4).expect("the other family");
    stack.unlisten(now, v6_listener);
}

#[test]
fn listeners_share_a_port_if_all_of_them_ask_for_it() {
    let mut script = Script::new(|_| {});
    script.stack.unlisten(script.now, script.listener);
    let local = SocketAddr::from(LOCAL);
    let shared = BindOptions { reuse_port: true, ..BindOptions::default() };
    let listeners = [0; 3].map(|_| script.stack.listen_with(local, 100, shared).expect("shared"));
    assert!(matches!(script.stack.listen(local, 100), Err(ListenError::InUse { .. })));
    for port in 1000..1060 {
        script.initial = None;
        script.send_from(port, "S 0 <mss=1000>");
        script.take("S.");
        script.send_from(port, ". 1 ack 1");
    }
    script.poll();
    let counts = listeners.map(|listener| std::iter::from_fn(|| script.stack.accept(listener)).count());
    assert_eq!(counts.iter().sum::<usize>(), 60);
    assert!(counts.iter().all(|count| *count >= 5), "{counts:?}");
    // The others go on when one ends.
    script.stack.unlisten(script.now, listeners[0]);
    for port in 2000..2010 {
        script.initial = None;
        script.send_from(port, "S 0 <mss=1000>");
        script.take("S.");
    }
}

#[test]
fn a_connected_datagram_socket_goes_before_others_on_its_port() {
    let (mut stack, now) = dual();
    let local = SocketAddr::from((LOCAL.0, 53));
    let shared = BindOptions { reuse_port: true, ..BindOptions::default() };
    let [open, connected] = [0; 2].map(|_| stack.bind_datagram_with(local, 0, shared).expect("shared"));
    stack.connect_datagram(connected, Some(SocketAddr::from((PEER.0, 0x1000))));
    stack.receive(now, &mut v4(LOCAL.0, smoltcp::wire::IpProtocol::Udp, 64, &udp(b"mine")));
    assert!(stack.receive_bound(open).is_none());
    assert!(stack.receive_bound(connected).is_some());
    stack.connect_datagram(connected, Some(SocketAddr::from((PEER.0, 9))));
    stack.receive(now, &mut v4(LOCAL.0, smoltcp::wire::IpProtocol::Udp, 64, &udp(b"other")));
    assert!(stack.receive_bound(open).is_some());
    assert!(stack.receive_bound(connected).is_none());
}
