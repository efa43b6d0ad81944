//! Below TCP: addresses, checksums, hop limits, fragments, extension headers, UDP (RFC 791, 1122, 8200, 5722, 768, 6946).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use minato_transport::{Config, ConnectError, IpCidr, Link, Stack};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr};

use super::script::{LOCAL, PEER, Script};

#[allow(clippy::disallowed_methods, reason = "where the virtual clock starts does not matter")]
fn router() -> (Stack, Instant) {
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, [4; 16]);
    config.addresses = vec![
        IpCidr::new(LOCAL.0.into(), 24).expect("a prefix"),
        IpCidr::new("fd00::1".parse().expect("an address"), 64).expect("a prefix"),
    ];
    config.any_destination = true;
    let now = Instant::now();
    (Stack::new(now, config), now)
}

/// An IPv4 packet from the peer.
pub fn v4(destination: Ipv4Addr, protocol: IpProtocol, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let ip = Ipv4Repr {
        src_addr: PEER.0,
        dst_addr: destination,
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit,
    };
    let mut packet = vec![0; 20 + payload.len()];
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut packet), &ChecksumCapabilities::default());
    packet[20..].copy_from_slice(payload);
    packet
}

/// A UDP datagram without checksum.
pub fn udp(payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x10, 0, 0, 53, 0, 0, 0, 0];
    datagram[4..6].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    datagram.extend_from_slice(payload);
    datagram
}

fn fragment(ident: u16, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = v4(Ipv4Addr::new(192, 0, 2, 1), IpProtocol::Udp, 64, payload);
    let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
    ip.set_ident(ident);
    ip.set_dont_frag(false);
    ip.set_more_frags(more);
    ip.set_frag_offset(offset as u16);
    ip.fill_checksum();
    packet
}

#[test]
fn a_segment_with_a_wrong_checksum_is_dropped() {
    let (mut stack, now) = router();
    stack.listen(SocketAddr::from(LOCAL), 1).expect("free");
    let syn = [0x10, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0x12, 0x34, 0, 0];
    stack.receive(now, &mut v4(LOCAL.0, IpProtocol::Tcp, 64, &syn));
    assert!(stack.poll_transmit(now).is_none());
    assert_eq!(stack.statistics().frames_dropped, 1);
}

#[test]
fn tcp_to_and_from_groups_is_dropped_and_not_opened() {
    let mut script = Script::new(|config| config.any_destination = true);
    for remote in ["255.255.255.255:80", "10.0.0.255:80", "224.0.0.1:80", "0.0.0.0:80", "10.0.0.9:0"] {
        let remote = remote.parse().expect("an address");
        let opened = script.stack.connect(script.now, None, remote, 0);
        assert_eq!(opened, Err(ConnectError::InvalidAddress { remote }));
    }
    for local in ["255.255.255.255:9", "10.0.0.255:9", "224.0.0.1:9", "0.0.0.0:9"] {
        let (local, remote) = (local.parse().expect("an address"), SocketAddr::from(PEER));
        let opened = script.stack.connect(script.now, Some(local), remote, 0);
        assert_eq!(opened, Err(ConnectError::InvalidAddress { remote }));
    }
    let far = Ipv4Addr::new(192, 0, 2, 1);
    for destination in [[10, 0, 0, 255], [224, 0, 0, 1], [255, 255, 255, 255], [127, 0, 0, 1], [240, 0, 0, 1]] {
        script.stack.receive(script.now, &mut syn(PEER.0, destination.into()));
    }
    for source in BAD_SOURCES {
        script.stack.receive(script.now, &mut syn(source.into(), far));
        script.stack.receive(script.now, &mut syn(source.into(), LOCAL.0));
    }
    script.nothing();
    assert!(script.events.is_empty(), "{:?}", script.events);
    // The very same request between decent addresses is one.
    script.stack.receive(script.now, &mut syn(PEER.0, far));
    script.poll();
    assert_eq!(script.events.len(), 1, "{:?}", script.events);
}

/// Addresses that send nothing: broadcast, groups, loopback, nobody, and ourselves.
const BAD_SOURCES: [[u8; 4]; 6] =
    [[10, 0, 0, 255], [255, 255, 255, 255], [224, 0, 0, 1], [127, 0, 0, 1], [0, 0, 0, 0], [10, 0, 0, 1]];

/// A SYN with its checksum.
fn syn(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let segment = [0x10, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
    let mut packet = v4(destination, IpProtocol::Tcp, 64, &segment);
    Ipv4Packet::new_unchecked(&mut packet[..]).set_src_addr(source);
    Ipv4Packet::new_unchecked(&mut packet[..]).fill_checksum();
    let mut tcp = smoltcp::wire::TcpPacket::new_unchecked(&mut packet[20..]);
    tcp.fill_checksum(&source.into(), &destination.into());
    packet
}

#[test]
fn datagrams_from_addresses_that_must_not_appear_are_dropped() {
    let (mut stack, now) = router();
    for source in BAD_SOURCES {
        let mut packet = v4(Ipv4Addr::new(192, 0, 2, 1), IpProtocol::Udp, 64, &udp(b"data"));
        Ipv4Packet::new_unchecked(&mut packet[..]).set_src_addr(source.into());
        Ipv4Packet::new_unchecked(&mut packet[..]).fill_checksum();
        stack.receive(now, &mut packet);
        assert!(stack.poll_datagram().is_none(), "{source:?}");
    }
}

#[test]
fn fragments_take_bounded_memory() {
    let (_, now) = router();
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, [4; 16]);
    config.any_destination = true;
    // Of which one source may take a quarter.
    config.limits.fragment_bytes = 40_000;
    let mut stack = Stack::new(now, config);
    let whole = udp(&[7; 1000]);
    for ident in 0..100 {
        stack.receive(now, &mut fragment(ident, 0, true, &whole[..800]));
    }
    assert!(stack.statistics().limited >= 90, "{:?}", stack.statistics());
    // What was taken is kept, and completes.
    stack.receive(now, &mut fragment(0, 800, false, &whole[800..]));
    assert!(stack.poll_datagram().is_some());
    // Others are not kept out by it.
    let mut other = fragment(0, 0, true, &whole[..800]);
    Ipv4Packet::new_unchecked(&mut other[..]).set_src_addr([10, 0, 0, 10].into());
    Ipv4Packet::new_unchecked(&mut other[..]).fill_checksum();
    let limited = stack.statistics().limited;
    stack.receive(now, &mut other);
    assert_eq!(stack.statistics().limited, limited);
    // And all of it is free again after a minute.
    stack.handle_timeout(now + Duration::from_secs(60));
    for ident in 200..209 {
        stack.receive(now + Duration::from_secs(60), &mut fragment(ident, 0, true, &whole[..800]));
    }
    assert_eq!(stack.statistics().limited, limited);
}

#[test]
fn ethernets_padding_is_cut_off_whatever_way_a_frame_comes() {
    let parts = |datagram: &[u8], padding: usize| {
        let (mut stack, now) = router();
        let packet = [&v4(Ipv4Addr::new(192, 0, 2, 1), IpProtocol::Udp, 64, datagram)[..], &vec![0; padding]].concat();
        let body = minato_transport::Bytes::copy_from_slice(&packet[28..]);
        stack.receive_parts(now, &packet[..28], &[body]);
        stack.poll_datagram().map(|datagram| datagram.payload.to_vec())
    };
    assert_eq!(parts(&udp(b"data"), 0).as_deref(), Some(&b"data"[..]));
    assert_eq!(parts(&udp(b"data"), 14).as_deref(), Some(&b"data"[..]));
}

#[test]
fn the_last_hop_is_told_to_the_sender() {
    let (mut stack, now) = router();
    let beyond = Ipv4Addr::new(192, 0, 2, 1);
    stack.receive(now, &mut v4(beyond, IpProtocol::Udp, 1, &udp(b"trace")));
    let answer = stack.poll_transmit(now).expect("an error").to_vec();
    assert_eq!((answer[9], &answer[12..20], &answer[20..22]), (1, &[10, 0, 0, 1, 10, 0, 0, 9][..], &[11, 0][..]));
    assert!(stack.poll_datagram().is_none());
    // To ourselves it is the end of the way and not an error.
    stack.receive(now, &mut v4(LOCAL.0, IpProtocol::Udp, 1, &udp(b"here")));
    assert!(stack.poll_datagram().is_some());
}

#[test]
fn fragments_come_together_in_any_order() {
    let (mut stack, now) = router();
    let whole = udp(&[7; 40]);
    stack.receive(now, &mut fragment(1, 32, false, &whole[32..]));
    stack.receive(now, &mut fragment(1, 0, true, &whole[..16]));
    // The same again changes nothing.
    stack.receive(now, &mut fragment(1, 0, true, &whole[..16]));
    assert!(stack.poll_datagram().is_none());
    stack.receive(now, &mut fragment(1, 16, true, &whole[16..32]));
    assert_eq!(stack.poll_datagram().map(|datagram| datagram.payload), Some(&[7; 40][..]));
}

#[test]
fn overlapping_fragments_destroy_their_datagram() {
    let (mut stack, now) = router();
    let whole = udp(&[7; 40]);
    stack.receive(now, &mut fragment(1, 0, true, &whole[..24]));
    stack.receive(now, &mut fragment(1, 16, true, &whole[16..32]));
    stack.receive(now, &mut fragment(1, 24, false, &whole[24..]));
    assert!(stack.poll_datagram().is_none());
}

#[test]
fn fragments_that_stay_alone_are_forgotten() {
    let (mut stack, now) = router();
    let whole = udp(&[7; 40]);
    stack.receive(now, &mut fragment(1, 0, true, &whole[..24]));
    assert_eq!(stack.poll_timeout(), Some(now + Duration::from_secs(60)));
    stack.handle_timeout(now + Duration::from_secs(60));
    assert_eq!(stack.poll_timeout(), None);
    stack.receive(now, &mut fragment(1, 24, false, &whole[24..]));
    assert!(stack.poll_datagram().is_none());
}

/// An IPv6 packet from fd00::9 with a chain of headers.
pub fn v6(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, first, 64];
    packet[4..6].copy_from_slice(&(rest.len() as u16).to_be_bytes());
    packet.extend("fd00::9".parse::<Ipv6Addr>().expect("an address").octets());
    packet.extend("2001:db8::1".parse::<Ipv6Addr>().expect("an address").octets());
    packet.extend_from_slice(rest);
    packet
}

/// A UDP datagram over IPv6 with its checksum.
fn udp6(payload: &[u8]) -> Vec<u8> {
    udp6_to("2001:db8::1", payload)
}

pub fn udp6_to(destination: &str, payload: &[u8]) -> Vec<u8> {
    let mut datagram = udp(payload);
    let addresses = ["fd00::9", destination].map(|text| text.parse::<IpAddr>().expect("an address"));
    let pseudo = smoltcp::wire::checksum::pseudo_header(
        &addresses[0].into(),
        &addresses[1].into(),
        IpProtocol::Udp,
        datagram.len() as u32,
    );
    let sum = !smoltcp::wire::checksum::combine(&[pseudo, smoltcp::wire::checksum::data(&datagram)]);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

fn arrives(packet: &mut [u8]) -> bool {
    let (mut stack, now) = router();
    stack.receive(now, packet);
    stack.poll_datagram().is_some()
}

#[test]
fn extension_headers_are_walked() {
    let datagram = udp6(b"data");
    let with = |first: u8, header: &[u8]| v6(first, &[header, &datagram].concat());
    assert!(arrives(&mut v6(17, &datagram)));
    assert!(arrives(&mut with(0, &[17, 0, 1, 4, 0, 0, 0, 0])), "hop by hop, padding");
    assert!(arrives(&mut with(60, &[17, 0, 0x1e, 4, 0, 0, 0, 0])), "an unknown option that may be skipped");
    assert!(!arrives(&mut with(60, &[17, 0, 0x5e, 4, 0, 0, 0, 0])), "an unknown option that must not");
    assert!(arrives(&mut with(43, &[17, 0, 0, 0, 0, 0, 0, 0])), "a route that is at its end");
    assert!(!arrives(&mut with(43, &[17, 0, 0, 1, 0, 0, 0, 0])), "a source route");
    assert!(arrives(&mut with(44, &[17, 0, 0, 0, 0, 0, 0, 9])), "an atomic fragment (RFC 6946)");
    assert!(!arrives(&mut with(44, &[0, 0, 0, 0, 0, 0, 0, 9])), "hop by hop after others");
    assert!(!arrives(&mut with(59, &[])), "nothing follows");
    let chain = [17, 0, 1, 4, 0, 0, 0, 0].repeat(40);
    assert!(!arrives(&mut with(60, &chain)), "more than a chain");
}

#[test]
fn udp_without_checksum_is_taken_over_ipv4_only() {
    assert!(arrives(&mut v4(Ipv4Addr::new(192, 0, 2, 1), IpProtocol::Udp, 64, &udp(b"data"))));
    assert!(!arrives(&mut v6(17, &udp(b"data"))));
    let mut wrong = udp(b"data");
    wrong[6] = 1;
    assert!(!arrives(&mut v4(Ipv4Addr::new(192, 0, 2, 1), IpProtocol::Udp, 64, &wrong)));
}

#[test]
fn an_unknown_protocol_is_unreachable_at_our_own_address() {
    let (mut stack, now) = router();
    stack.receive(now, &mut v4(LOCAL.0, IpProtocol::from(99), 64, b"12345678"));
    let answer = stack.poll_transmit(now).expect("an error").to_vec();
    assert_eq!(&answer[20..22], [3, 2]);
}

#[test]
fn errors_are_never_about_errors() {
    let (mut stack, now) = router();
    let error = [3, 3, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 0, 0, 0, 0, 0];
    stack.receive(now, &mut v4(Ipv4Addr::new(192, 0, 2, 1), IpProtocol::Icmp, 1, &error));
    assert!(stack.poll_transmit(now).is_none());
}

#[test]
fn an_error_about_a_datagram_in_fragments_quotes_the_first() {
    let (_, now) = router();
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, [4; 16]);
    config.addresses = vec![IpCidr::new(LOCAL.0.into(), 24).expect("a prefix")];
    let mut stack = Stack::new(now, config);
    let whole = udp(&[7; 40]);
    let to_us = |offset: usize, more: bool, payload: &[u8]| {
        let mut packet = v4(LOCAL.0, IpProtocol::Udp, 64, payload);
        let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
        ip.set_ident(77);
        ip.set_dont_frag(false);
        ip.set_more_frags(more);
        ip.set_frag_offset(offset as u16);
        ip.fill_checksum();
        packet
    };
    stack.receive(now, &mut to_us(24, false, &whole[24..]));
    let mut first = to_us(0, true, &whole[..24]);
    stack.receive(now, &mut first);
    let error = stack.poll_transmit(now).expect("port unreachable").to_vec();
    assert_eq!((error[9], error[20], error[21]), (1, 3, 3));
    assert_eq!(error[28..], first);
}

#[test]
fn mapped_addresses_and_scopes_mean_nothing_to_the_tables() {
    let (mut stack, now) = router();
    let mapped = |address: Ipv4Addr, port| SocketAddr::new(address.to_ipv6_mapped().into(), port);
    let id = stack.connect(now, Some(mapped(LOCAL.0, 5000)), mapped(PEER.0, 80), 0).expect("IPv4");
    let status = stack.status(id).expect("opening");
    assert_eq!((status.local, status.remote), (SocketAddr::from((LOCAL.0, 5000)), SocketAddr::from((PEER.0, 80))));
    assert_eq!(stack.poll_transmit(now).expect("SYN").to_vec()[0], 0x45);
    stack.send_datagram(now, mapped(LOCAL.0, 53), SocketAddr::from(PEER), b"x").expect("IPv4");
    assert_eq!(stack.poll_transmit(now).expect("a datagram").to_vec()[0], 0x45);
    // A scope given to bind does not keep datagrams away.
    let own = std::net::SocketAddrV6::new("fd00::1".parse().expect("an address"), 53, 9, 3);
    let socket = stack.bind_datagram(own.into(), 0).expect("own");
    let mut packet = v6(17, &udp6_to("fd00::1", b"data"));
    packet[24..40].copy_from_slice(&own.ip().octets());
    stack.receive(now, &mut packet);
    assert!(stack.receive_bound(socket).is_some());
}

#[test]
fn an_echo_request_from_nobody_is_dropped() {
    let mut echo = vec![128, 0, 0, 0, 0, 1, 0, 2];
    for (source, events) in [("::", 0), ("fd00::9", 1)] {
        let (mut stack, now) = router();
        let ends = [source, "2001:db8::1"].map(|text| text.parse::<IpAddr>().expect("an address"));
        echo[2..4].fill(0);
        let pseudo = smoltcp::wire::checksum::pseudo_header(&ends[0].into(), &ends[1].into(), IpProtocol::Icmpv6, 8);
        let sum = !smoltcp::wire::checksum::combine(&[pseudo, smoltcp::wire::checksum::data(&echo)]);
        echo[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut packet = v6(58, &echo);
        packet[8..24].copy_from_slice(&source.parse::<Ipv6Addr>().expect("an address").octets());
        stack.receive(now, &mut packet);
        assert_eq!(std::iter::from_fn(|| stack.poll_event()).count(), events, "{source}");
    }
}
