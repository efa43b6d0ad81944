//! What is small and easily broken: header layout, bits that must stay clear, bounds of timers, ECN on control packets.

use std::net::SocketAddr;
use std::time::Duration;

use minato_transport::{Config, Event, IpCidr, Link, ResetReason, Stack};
use smoltcp::wire::{IpProtocol, Ipv4Packet, TcpPacket};

use super::packets::{udp, v4};
use super::script::{LOCAL, Script};

const NOT_ECT: u8 = 0;
const ECT0: u8 = 2;

/// The ECN bits of the next packet, and its flags; time passes until there is one.
fn marks(script: &mut Script) -> (u8, u8) {
    loop {
        if let Some(packet) = script.next_packet() {
            return (packet[1] & 3, packet[33]);
        }
        script.now = script.stack.poll_timeout().expect("a timer runs").max(script.now);
        script.stack.handle_timeout(script.now);
    }
}

#[test]
fn only_new_data_is_ecn_capable() {
    let mut script = Script::new(|config| config.tcp.ecn = true);
    script.connect();
    let syn = script.next_packet().expect("SYN");
    assert_eq!((syn[1] & 3, syn[33]), (NOT_ECT, 0xc2), "RFC 3168 §6.1.1: a SYN asks by ECE and CWR");
    let mut script = Script::new(|config| config.tcp.ecn = true);
    script.send("SEW 0 <mss=1000>");
    let answer = script.next_packet().expect("SYN-ACK");
    assert_eq!((answer[1] & 3, answer[33]), (NOT_ECT, 0x52));
    script.read_initial(&answer);
    script.send(". 1 ack 1");
    let id = script.accept();
    script.write(10);
    assert_eq!(marks(&mut script), (ECT0, 0x18));
    // §6.1.5: retransmissions.
    assert_eq!(marks(&mut script), (NOT_ECT, 0x18));
    // §6.1.4: acknowledgements.
    script.send(". 1:101 ack 11 win 0");
    assert_eq!(marks(&mut script), (NOT_ECT, 0x10));
    // §6.1.6: window probes.
    script.write(10);
    assert_eq!(marks(&mut script), (NOT_ECT, 0x10));
    // §6.1.5 for FIN without data, and RST.
    script.send(". 101 ack 11 win 1000");
    script.next_packet().expect("the data");
    script.send(". 101 ack 21 win 1000");
    script.stack.shutdown(script.now, id);
    assert_eq!(marks(&mut script), (NOT_ECT, 0x11));
    script.stack.abort(script.now, id);
    assert_eq!(marks(&mut script), (NOT_ECT, 0x14));
}

#[test]
fn a_syn_that_is_not_answered_asks_without_ecn_in_the_end() {
    let mut script = Script::new(|config| config.tcp.ecn = true);
    script.connect();
    // RFC 3168 §6.1.1.1: some middleboxes drop such SYNs.
    let flags = [(); 4].map(|()| marks(&mut script).1);
    assert_eq!(flags, [0xc2, 0xc2, 0x02, 0x02]);
}

#[test]
fn headers_are_whole_words_and_every_option_says_its_length() {
    for (timestamps, sack) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut script = Script::new(|config| {
            config.tcp.timestamps = timestamps;
            config.tcp.sack = sack;
        });
        script.connect();
        let packet = script.next_packet().expect("SYN");
        let tcp = TcpPacket::new_checked(&packet[20..]).expect("a segment");
        assert_eq!(usize::from(tcp.header_len()), packet.len() - 20, "the data begins where the header ends");
        assert_eq!(tcp.header_len() % 4, 0);
        let mut rest = tcp.options();
        while let Some((kind, after)) = rest.split_first() {
            // MUST-68 and MUST-69: no-operation and end have no length; nothing but them pads.
            rest = match kind {
                1 => after,
                0 => {
                    assert!(after.iter().all(|byte| *byte == 0));
                    &[]
                }
                _ => {
                    let length = usize::from(after[0]);
                    assert!(length >= 2);
                    &rest[length..]
                }
            };
        }
    }
}

#[test]
fn a_reset_may_carry_data() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.send("R. 1:21 ack 1");
    script.expect_event(&Event::Reset(id, ResetReason::ByPeer));
    script.nothing();
}

#[test]
fn a_reset_counts_while_the_window_is_shut() {
    let mut script = Script::established("", |config| config.tcp.options.receive_buffer = 1000);
    let id = script.id();
    script.send("P. 1:1001 ack 1");
    script.expect(". 1 ack 1001 win 0");
    script.send("R. 1001 ack 1");
    script.expect_event(&Event::Reset(id, ResetReason::ByPeer));
}

#[test]
fn ip_options_are_skipped() {
    let mut stack = Stack::new(Script::new(|_| {}).now, {
        let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, [4; 16]);
        config.addresses = vec![IpCidr::new(LOCAL.0.into(), 24).expect("a prefix")];
        config
    });
    let now = Script::new(|_| {}).now;
    let socket = stack.bind_datagram(SocketAddr::from((LOCAL.0, 53)), 0).expect("free");
    let plain = v4(LOCAL.0, IpProtocol::Udp, 64, &udp(b"data"));
    // A record-route option of seven bytes, and the end.
    let mut packet = [&plain[..20], &[7, 7, 4, 0, 0, 0, 0, 0], &plain[20..]].concat();
    packet[0] = 0x47;
    packet[3] += 8;
    Ipv4Packet::new_unchecked(&mut packet[..]).fill_checksum();
    stack.receive(now, &mut packet);
    assert_eq!(stack.receive_bound(socket).map(|datagram| datagram.payload.to_vec()).as_deref(), Some(&b"data"[..]));
}

#[test]
fn the_timeout_grows_to_two_minutes_and_no_further() {
    let mut script = Script::established("", |config| config.tcp.options.user_timeout = Duration::from_secs(3600));
    script.write(10);
    script.expect("P. 1:11 ack 1");
    let mut wait = 200;
    for _ in 0..12 {
        script.expect_after(wait, "P. 1:11 ack 1");
        wait = (2 * wait).min(120_000);
    }
}

#[test]
fn after_a_lost_syn_the_first_timeout_is_three_seconds() {
    let mut script = Script::new(|_| {});
    script.connect();
    script.expect("S 0");
    script.expect_after(1000, "S 0");
    script.send("S. 0 ack 1 <mss=1000>");
    script.expect(". 1 ack 1");
    script.write(10);
    script.expect("P. 1:11 ack 1");
    // RFC 6298 §5.7: nothing is measured, since either SYN may have been answered.
    script.expect_after(3000, "P. 1:11 ack 1");
}

#[test]
fn every_connections_clock_has_its_own_zero() {
    let mut script = Script::new(|config| config.tcp.timestamps = true);
    let mut clock = |port| {
        script.send_from(port, "S 0 <mss=1000,ts=1/0>");
        let packet = script.next_packet().expect("SYN-ACK");
        let options = TcpPacket::new_unchecked(&packet[20..]).options().to_vec();
        let at = options.windows(2).position(|window| window == [8, 10]).expect("timestamps");
        u32::from_be_bytes([options[at + 2], options[at + 3], options[at + 4], options[at + 5]])
    };
    let clocks = [clock(1), clock(2), clock(3)];
    let apart = |one: u32, other: u32| one.wrapping_sub(other).min(other.wrapping_sub(one));
    assert!(apart(clocks[0], clocks[1]) > 1000 && apart(clocks[1], clocks[2]) > 1000, "{clocks:?}");
}

#[test]
fn icmp_errors_are_limited_to_a_thousand_a_second() {
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, [4; 16]);
    config.addresses = vec![IpCidr::new(LOCAL.0.into(), 24).expect("a prefix")];
    let now = Script::new(|_| {}).now;
    let mut stack = Stack::new(now, config);
    let mut errors = |now| {
        for _ in 0..3000 {
            stack.receive(now, &mut v4(LOCAL.0, IpProtocol::Udp, 64, &udp(b"nobody")));
        }
        std::iter::from_fn(|| stack.poll_transmit(now).map(|_| ())).count()
    };
    let later = now + Duration::from_secs(2);
    assert_eq!((errors(later), errors(later)), (1000, 0));
    assert_eq!(errors(later + Duration::from_secs(1)), 1000);
}

#[test]
fn over_ipv6_a_peer_that_says_nothing_takes_1220_bytes() {
    let now = Script::new(|_| {}).now;
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: true }, [4; 16]);
    config.addresses = vec![IpCidr::new("fd00::1".parse().expect("an address"), 64).expect("a prefix")];
    let mut stack = Stack::new(now, config);
    stack.listen("[fd00::1]:80".parse().expect("an address"), 1).expect("free");
    // The link vouches for the checksum.
    let mut packet = vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 20, 6, 64];
    for address in ["fd00::9", "fd00::1"] {
        packet.extend(address.parse::<std::net::Ipv6Addr>().expect("an address").octets());
    }
    packet.extend([0x10, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    stack.receive(now, &mut packet);
    let id = stack.connections().next().expect("SYN-RECEIVED");
    assert_eq!(stack.status(id).expect("opening").segment_size, 1220);
}
