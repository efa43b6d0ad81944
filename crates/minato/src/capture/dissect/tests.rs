use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};

use super::*;

const MACS: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

type Segment = PacketBuilderStep<TcpHeader>;

/// The words of a TCP segment with this payload; its sequence number is 7.
fn tcp(data: usize, flags: impl FnOnce(Segment) -> Segment) -> Dissected {
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv4([10, 77, 0, 2], [10, 77, 0, 3], 64);
    let mut bytes = Vec::new();
    flags(builder.tcp(50_000, 80, 7, 1000)).write(&mut bytes, &vec![0; data]).unwrap();
    dissect(LinkType::Ethernet, &bytes)
}

#[test]
fn segments_in_words() {
    assert_eq!(tcp(0, Segment::syn).words, "asks for a connection");
    assert_eq!(tcp(0, |tcp| tcp.syn().ack(1)).words, "accepts the connection");
    assert_eq!(tcp(0, |tcp| tcp.ack(1)).words, "acknowledges");
    assert_eq!(tcp(1, |tcp| tcp.ack(1)).words, "sends 1 byte");
    assert_eq!(tcp(60_000, |tcp| tcp.ack(1)).words, "sends 60000 bytes");
    assert_eq!(tcp(0, |tcp| tcp.ack(1).fin()).words, "has no more to send");
    assert_eq!(tcp(9, |tcp| tcp.ack(1).fin()).words, "sends 9 bytes, and has no more");
    assert_eq!(tcp(0, Segment::rst).words, "resets the connection");
    assert!(tcp(0, Segment::syn).begins);
    assert!(!tcp(0, |tcp| tcp.syn().ack(1)).begins);
    let way = Way::Ports(Transport::Tcp, "10.77.0.2:50000".parse().unwrap(), "10.77.0.3:80".parse().unwrap());
    assert_eq!(tcp(0, Segment::syn).way, way);
}

#[test]
fn a_refusal_is_a_reset_without_a_number_of_its_own() {
    let builder = PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(80, 50_000, 0, 0).rst().ack(8);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &[]).unwrap();
    assert_eq!(dissect(LinkType::Ip, &bytes).words, "refuses");
}

#[test]
fn what_was_cut_counts_as_if_it_were_whole() {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv6([1; 16], [2; 16], 64);
    builder.tcp(1, 2, 3, 4).write(&mut bytes, &[0; 1400]).unwrap();
    assert_eq!(dissect(LinkType::Ethernet, &bytes[..100]).words, "sends 1400 bytes");
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv4([1; 4], [2; 4], 64);
    builder.udp(1, 2).write(&mut bytes, &[0; 500]).unwrap();
    assert_eq!(dissect(LinkType::Ethernet, &bytes[..60]).words, "a datagram of 500 bytes");
}

#[test]
fn other_packets() {
    let echo = |bytes: &mut Vec<u8>| {
        let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv4([1; 4], [2; 4], 64);
        builder.icmpv4_echo_request(9, 3).write(bytes, &[]).unwrap();
    };
    let mut bytes = Vec::new();
    echo(&mut bytes);
    let ways = Way::Addresses("1.1.1.1".parse().unwrap(), "2.2.2.2".parse().unwrap());
    assert_eq!(
        dissect(LinkType::Ethernet, &bytes),
        Dissected { way: ways, words: "asks for echo 3".into(), begins: false }
    );
    bytes[12..14].copy_from_slice(&[0x88, 0xcc]);
    assert_eq!(dissect(LinkType::Ethernet, &bytes).words, "no IP");
}

#[test]
fn nonsense_is_no_panic() {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(MACS.0, MACS.1).ipv4([1; 4], [2; 4], 64);
    builder.tcp(1, 2, 3, 4).write(&mut bytes, &[0; 20]).unwrap();
    for link in [LinkType::Ethernet, LinkType::Ip, LinkType::Other] {
        for length in 0..bytes.len() {
            dissect(link, &bytes[..length]);
            for value in [0, 0x45, 0x4f, 0x60, 0xff] {
                let mut wrong = bytes.clone();
                wrong[length] = value;
                dissect(link, &wrong);
            }
        }
    }
}
