//! Address resolution in scripts of frames with explicit time: ARP (RFC 826, RFC 5227) and neighbour discovery (RFC 4861 §7).

mod common;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use common::start;
use minato_transport::{Config, Event, IpCidr, Link, MacAddress, ResetReason, SocketId, Stack, Unreachable};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv6Packet,
    Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NINE: [u8; 6] = [2, 0, 0, 0, 0, 9];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 7];
const EVERYBODY: [u8; 6] = [0xff; 6];
const ASKS: ArpOperation = ArpOperation::Request;
const ANSWERS: ArpOperation = ArpOperation::Reply;
const ANSWER: NdiscNeighborFlags = NdiscNeighborFlags::SOLICITED;
const OVERRIDES: NdiscNeighborFlags = NdiscNeighborFlags::OVERRIDE;

/// What the stack sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sent {
    /// To which station, asking for or answering to whom.
    Arp([u8; 6], ArpOperation, [u8; 4]),
    /// To which station and address, about whom.
    Solicitation([u8; 6], IpAddr, IpAddr),
    Advertisement([u8; 6], IpAddr, NdiscNeighborFlags),
    /// Anything else, to this station.
    Packet([u8; 6]),
}

struct Wire {
    stack: Stack,
    now: Instant,
    socket: SocketId,
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn six(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

impl Wire {
    fn new() -> Wire {
        Wire::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Wire {
        let now = start();
        let mut config = Config::new(Link::Ethernet { address: MacAddress(OWN), mtu: 1500, virtio: false }, [5; 16]);
        let prefix = |text, length| IpCidr::new(ip(text), length).expect("a prefix");
        config.addresses = vec![prefix("10.0.0.1", 24), prefix("fd00::1", 64)];
        change(&mut config);
        let mut stack = Stack::new(now, config);
        let any = minato_transport::BindOptions { v6only: false, ..Default::default() };
        let socket = stack.bind_datagram_with("[::]:53".parse().expect("an address"), 0, any).expect("free");
        Wire { stack, now, socket }
    }

    /// Sends a datagram; what leaves because of it.
    fn send_to(&mut self, address: &str) -> Vec<Sent> {
        let destination = SocketAddr::new(ip(address), 9);
        self.stack.send_bound(self.now, self.socket, Some(destination), b"data").expect("room");
        self.sent()
    }

    fn sent(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        while let Some(transmit) = self.stack.poll_transmit(self.now) {
            all.push(read(&transmit.to_vec()));
        }
        all
    }

    fn after(&mut self, milliseconds: u64) -> Vec<Sent> {
        self.now += Duration::from_millis(milliseconds);
        self.stack.handle_timeout(self.now);
        self.sent()
    }

    fn arp(&mut self, operation: ArpOperation, station: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<Sent> {
        let message = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: EthernetAddress(station),
            source_protocol_addr: sender.into(),
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: target.into(),
        };
        let mut frame = vec![0; 14 + message.buffer_len()];
        message.emit(&mut ArpPacket::new_unchecked(&mut frame[14..]));
        self.receive(frame, station, EVERYBODY, EthernetProtocol::Arp)
    }

    /// A neighbour discovery message from fd00::9 unless told otherwise.
    fn neighbor(&mut self, source: &str, destination: &str, hop_limit: u8, message: NdiscRepr<'_>) -> Vec<Sent> {
        let message = Icmpv6Repr::Ndisc(message);
        let (source, destination) = (six(source), six(destination));
        let header = Ipv6Repr {
            src_addr: source,
            dst_addr: destination,
            next_header: IpProtocol::Icmpv6,
            payload_len: message.buffer_len(),
            hop_limit,
        };
        let mut frame = vec![0; 14 + 40 + message.buffer_len()];
        header.emit(&mut Ipv6Packet::new_unchecked(&mut frame[14..]));
        let mut packet = Icmpv6Packet::new_unchecked(&mut frame[54..]);
        message.emit(&source, &destination, &mut packet, &ChecksumCapabilities::default());
        self.receive(frame, NINE, OWN, EthernetProtocol::Ipv6)
    }

    fn advertise(&mut self, destination: &str, flags: NdiscNeighborFlags, station: [u8; 6]) -> Vec<Sent> {
        let message = NdiscRepr::NeighborAdvert { flags, target_addr: six("fd00::9"), lladdr: Some(raw(station)) };
        self.neighbor("fd00::9", destination, 255, message)
    }

    fn receive(&mut self, mut frame: Vec<u8>, from: [u8; 6], to: [u8; 6], protocol: EthernetProtocol) -> Vec<Sent> {
        let header =
            EthernetRepr { src_addr: EthernetAddress(from), dst_addr: EthernetAddress(to), ethertype: protocol };
        header.emit(&mut EthernetFrame::new_unchecked(&mut frame));
        self.stack.receive(self.now, &mut frame);
        self.sent()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.stack.poll_event()).collect()
    }

    fn undeliverable(&self, address: &str) -> Event {
        let source = if ip(address).is_ipv4() { "10.0.0.1" } else { "fd00::1" };
        Event::DatagramUnreachable {
            source: SocketAddr::new(ip(source), 53),
            destination: SocketAddr::new(ip(address), 9),
            reason: Unreachable::Host,
        }
    }
}

fn raw(station: [u8; 6]) -> RawHardwareAddress {
    RawHardwareAddress::from(EthernetAddress(station))
}

fn read(frame: &[u8]) -> Sent {
    let ethernet = EthernetFrame::new_checked(frame).expect("a frame");
    let station = ethernet.dst_addr().0;
    if ethernet.ethertype() == EthernetProtocol::Arp {
        let packet = ArpPacket::new_checked(ethernet.payload()).expect("ARP");
        let target = packet.target_protocol_addr();
        return Sent::Arp(station, packet.operation(), target.try_into().expect("four bytes"));
    }
    let Ok(packet) = Ipv6Packet::new_checked(ethernet.payload()) else { return Sent::Packet(station) };
    if ethernet.ethertype() != EthernetProtocol::Ipv6 || packet.next_header() != IpProtocol::Icmpv6 {
        return Sent::Packet(station);
    }
    assert_eq!(packet.hop_limit(), 255, "RFC 4861 §7.1");
    let message = Icmpv6Packet::new_checked(packet.payload()).expect("ICMPv6");
    let caps = ChecksumCapabilities::default();
    match Icmpv6Repr::parse(&packet.src_addr(), &packet.dst_addr(), &message, &caps).expect("well formed") {
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, lladdr }) => {
            assert_eq!(lladdr, Some(raw(OWN)));
            Sent::Solicitation(station, packet.dst_addr().into(), target_addr.into())
        }
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, lladdr, .. }) => {
            assert_eq!(lladdr, Some(raw(OWN)));
            Sent::Advertisement(station, packet.dst_addr().into(), flags)
        }
        _ => Sent::Packet(station),
    }
}

const QUESTION: Sent = Sent::Arp(EVERYBODY, ASKS, [10, 0, 0, 9]);

fn solicitation() -> Sent {
    Sent::Solicitation([0x33, 0x33, 0xff, 0, 0, 9], ip("ff02::1:ff00:9"), ip("fd00::9"))
}

#[test]
fn arp_asks_three_times_and_tells_that_nobody_answers() {
    let mut wire = Wire::new();
    assert_eq!(wire.send_to("10.0.0.9"), [QUESTION]);
    assert_eq!(wire.send_to("10.0.0.9"), [], "it is being asked");
    assert_eq!(wire.after(999), []);
    assert_eq!(wire.after(1), [QUESTION]);
    assert_eq!(wire.after(1000), [QUESTION]);
    assert_eq!(wire.events(), []);
    assert_eq!(wire.after(1000), []);
    assert_eq!(wire.events(), [wire.undeliverable("10.0.0.9"), wire.undeliverable("10.0.0.9")]);
    // Who comes later asks anew.
    assert_eq!(wire.send_to("10.0.0.9"), [QUESTION]);
}

#[test]
fn a_connection_to_nobody_ends_with_host_unreachable() {
    for (address, question) in [("10.0.0.9", QUESTION), ("fd00::9", solicitation())] {
        let mut wire = Wire::new();
        let id = wire.stack.connect(wire.now, None, SocketAddr::new(ip(address), 80), 1).expect("a free port");
        assert_eq!(wire.sent(), [question]);
        wire.after(1000);
        wire.after(1000);
        wire.after(1000);
        assert_eq!(wire.events(), [Event::Reset(id, ResetReason::Unreachable(Unreachable::Host))]);
    }
}

#[test]
fn what_waits_goes_when_arp_is_answered() {
    let mut wire = Wire::new();
    wire.send_to("10.0.0.9");
    wire.send_to("10.0.0.9");
    let packets = wire.arp(ANSWERS, NINE, [10, 0, 0, 9], [10, 0, 0, 1]);
    assert_eq!(packets, [Sent::Packet(NINE), Sent::Packet(NINE)]);
    assert_eq!(wire.send_to("10.0.0.9"), [Sent::Packet(NINE)]);
}

#[test]
fn other_addresses_are_other_ways() {
    let prefix = |text| IpCidr::new(ip(text), 24).expect("a prefix");
    let mut wire = Wire::with(|config| config.gateways = vec![ip("10.0.0.9")]);
    assert_eq!(wire.send_to("192.0.2.1"), [QUESTION]);
    assert_eq!(wire.arp(ANSWERS, NINE, [10, 0, 0, 9], [10, 0, 0, 1]), [Sent::Packet(NINE)]);
    assert_eq!(wire.send_to("192.0.2.1"), [Sent::Packet(NINE)]);
    // Its network is here now.
    wire.stack.set_addresses(vec![prefix("10.0.0.1"), prefix("192.0.2.77")]);
    assert_eq!(wire.send_to("192.0.2.1"), [Sent::Arp(EVERYBODY, ASKS, [192, 0, 2, 1])]);
}

#[test]
fn arp_teaches_as_rfc_826_says() {
    let mut wire = Wire::new();
    // Somebody else's question or announcement makes no entry.
    assert_eq!(wire.arp(ASKS, NINE, [10, 0, 0, 9], [10, 0, 0, 8]), []);
    assert_eq!(wire.arp(ASKS, NINE, [10, 0, 0, 9], [10, 0, 0, 9]), []);
    assert_eq!(wire.arp(ANSWERS, NINE, [10, 0, 0, 9], [10, 0, 0, 9]), []);
    assert_eq!(wire.send_to("10.0.0.9"), [QUESTION]);
    // A question for us is answered, and makes one.
    let mut wire = Wire::new();
    assert_eq!(wire.arp(ASKS, NINE, [10, 0, 0, 9], [10, 0, 0, 1]), [Sent::Arp(NINE, ANSWERS, [10, 0, 0, 9])]);
    let first = wire.send_to("10.0.0.9");
    assert_eq!(first.last(), Some(&Sent::Packet(NINE)));
    // An announcement (gratuitous ARP) changes what is known.
    wire.arp(ASKS, OTHER, [10, 0, 0, 9], [10, 0, 0, 9]);
    assert_eq!(wire.send_to("10.0.0.9").last(), Some(&Sent::Packet(OTHER)));
}

#[test]
fn arp_that_means_harm_or_nothing_teaches_nothing() {
    let mut wire = Wire::new();
    // RFC 5227: a probe is answered, and has no sender to learn of.
    assert_eq!(wire.arp(ASKS, NINE, [0, 0, 0, 0], [10, 0, 0, 1]), [Sent::Arp(NINE, ANSWERS, [0, 0, 0, 0])]);
    // Our own address, an address from elsewhere, a group's station.
    wire.arp(ASKS, OTHER, [10, 0, 0, 1], [10, 0, 0, 1]);
    wire.arp(ASKS, OTHER, [192, 0, 2, 1], [10, 0, 0, 1]);
    wire.arp(ASKS, [1, 0, 0x5e, 0, 0, 1], [10, 0, 0, 9], [10, 0, 0, 1]);
    assert_eq!(wire.send_to("10.0.0.9"), [QUESTION]);
}

#[test]
fn a_neighbour_in_use_is_asked_itself_after_a_minute_and_everybody_if_it_is_silent() {
    let mut wire = Wire::new();
    wire.send_to("10.0.0.9");
    wire.arp(ANSWERS, NINE, [10, 0, 0, 9], [10, 0, 0, 1]);
    wire.after(59_999);
    assert_eq!(wire.send_to("10.0.0.9"), [Sent::Packet(NINE)]);
    wire.after(1);
    let question = Sent::Arp(NINE, ASKS, [10, 0, 0, 9]);
    for _ in 0..3 {
        assert_eq!(wire.send_to("10.0.0.9"), [question.clone(), Sent::Packet(NINE)]);
        assert_eq!(wire.send_to("10.0.0.9"), [Sent::Packet(NINE)], "once per second");
        wire.after(1000);
    }
    assert_eq!(wire.send_to("10.0.0.9"), [QUESTION]);
    for _ in 0..3 {
        wire.after(1000);
    }
    assert_eq!(wire.events(), [wire.undeliverable("10.0.0.9")]);
    // An answer in time confirms it for another minute.
    let mut wire = Wire::new();
    wire.send_to("10.0.0.9");
    wire.arp(ANSWERS, NINE, [10, 0, 0, 9], [10, 0, 0, 1]);
    wire.after(60_000);
    wire.send_to("10.0.0.9");
    wire.arp(ANSWERS, NINE, [10, 0, 0, 9], [10, 0, 0, 1]);
    wire.after(59_000);
    assert_eq!(wire.send_to("10.0.0.9"), [Sent::Packet(NINE)]);
}

#[test]
fn neighbour_discovery_asks_the_group_three_times() {
    let mut wire = Wire::new();
    assert_eq!(wire.send_to("fd00::9"), [solicitation()]);
    assert_eq!(wire.after(1000), [solicitation()]);
    assert_eq!(wire.after(1000), [solicitation()]);
    assert_eq!(wire.after(1000), []);
    assert_eq!(wire.events(), [wire.undeliverable("fd00::9")]);
    wire.send_to("fd00::9");
    assert_eq!(wire.advertise("fd00::1", ANSWER | OVERRIDES, NINE), [Sent::Packet(NINE)]);
    // Whether it is still there is asked of itself (RFC 4861 §7.3.3).
    wire.after(60_000);
    let question = Sent::Solicitation(NINE, ip("fd00::9"), ip("fd00::9"));
    assert_eq!(wire.send_to("fd00::9"), [question, Sent::Packet(NINE)]);
}

#[test]
fn the_override_flag_decides_between_two_stations() {
    let mut wire = Wire::new();
    wire.send_to("fd00::9");
    wire.advertise("fd00::1", ANSWER, NINE);
    // RFC 4861 §7.2.5: without the flag another station changes nothing, but is a reason to ask again.
    wire.advertise("fd00::1", ANSWER, OTHER);
    let question = Sent::Solicitation(NINE, ip("fd00::9"), ip("fd00::9"));
    assert_eq!(wire.send_to("fd00::9"), [question, Sent::Packet(NINE)]);
    wire.advertise("fd00::1", ANSWER, NINE);
    assert_eq!(wire.send_to("fd00::9"), [Sent::Packet(NINE)]);
    // With it, it does.
    wire.advertise("fd00::1", ANSWER | OVERRIDES, OTHER);
    assert_eq!(wire.send_to("fd00::9"), [Sent::Packet(OTHER)]);
    // An announcement that nobody asked for changes the station, and says nothing about the way back.
    wire.advertise("ff02::1", OVERRIDES, NINE);
    let question = Sent::Solicitation(NINE, ip("fd00::9"), ip("fd00::9"));
    assert_eq!(wire.send_to("fd00::9"), [question, Sent::Packet(NINE)]);
    // One that agrees with what is known changes nothing, and does not confirm it.
    wire.advertise("ff02::1", OVERRIDES, NINE);
    assert_eq!(wire.send_to("fd00::9").last(), Some(&Sent::Packet(NINE)));
}

#[test]
fn advertisements_that_nobody_needs_or_that_break_the_rules_are_ignored() {
    let mut wire = Wire::new();
    assert_eq!(wire.advertise("ff02::1", OVERRIDES, NINE), []);
    assert_eq!(wire.send_to("fd00::9"), [solicitation()], "nobody needed it before");
    // RFC 4861 §7.1.2: from beyond the link; an answer to a group; without a station; a group's station.
    let message =
        |station| NdiscRepr::NeighborAdvert { flags: ANSWER | OVERRIDES, target_addr: six("fd00::9"), lladdr: station };
    assert_eq!(wire.neighbor("fd00::9", "fd00::1", 254, message(Some(raw(NINE)))), []);
    assert_eq!(wire.neighbor("fd00::9", "ff02::1", 255, message(Some(raw(NINE)))), []);
    assert_eq!(wire.neighbor("fd00::9", "fd00::1", 255, message(None)), []);
    assert_eq!(wire.neighbor("fd00::9", "fd00::1", 255, message(Some(raw([0x33, 0x33, 0, 0, 0, 1])))), []);
    assert_eq!(wire.neighbor("fd00::9", "fd00::1", 255, message(Some(raw(NINE)))), [Sent::Packet(NINE)]);
}

#[test]
fn solicitations_are_answered_and_teach() {
    let mut wire = Wire::new();
    let question = |target: &str, station| NdiscRepr::NeighborSolicit { target_addr: six(target), lladdr: station };
    let group = "ff02::1:ff00:1";
    assert_eq!(wire.neighbor("fd00::9", group, 255, question("fd00::2", Some(raw(NINE)))), [], "not for us");
    assert_eq!(wire.neighbor("fd00::9", group, 64, question("fd00::1", Some(raw(NINE)))), [], "from beyond the link");
    let answer = Sent::Advertisement(NINE, ip("fd00::9"), ANSWER | OVERRIDES);
    assert_eq!(wire.neighbor("fd00::9", group, 255, question("fd00::1", Some(raw(NINE)))), [answer]);
    // The asker is known now, but not that it hears us (RFC 4861 §7.2.3: STALE).
    let ask = Sent::Solicitation(NINE, ip("fd00::9"), ip("fd00::9"));
    assert_eq!(wire.send_to("fd00::9"), [ask, Sent::Packet(NINE)]);
}

#[test]
fn who_checks_for_duplicates_is_told_by_multicast() {
    let mut wire = Wire::new();
    let question = |station| NdiscRepr::NeighborSolicit { target_addr: six("fd00::1"), lladdr: station };
    let told = Sent::Advertisement([0x33, 0x33, 0, 0, 0, 1], ip("ff02::1"), OVERRIDES);
    assert_eq!(wire.neighbor("::", "ff02::1:ff00:1", 255, question(None)), [told]);
    // RFC 4861 §7.1.1: nobody has no station, and asks a group.
    assert_eq!(wire.neighbor("::", "ff02::1:ff00:1", 255, question(Some(raw(NINE)))), []);
    assert_eq!(wire.neighbor("::", "fd00::1", 255, question(None)), []);
}

#[test]
fn the_cache_is_bounded_and_the_oldest_goes() {
    let mut wire = Wire::with(|config| config.limits.neighbors = 8);
    for number in 10..100 {
        wire.arp(ASKS, [2, 0, 0, 0, 1, number], [10, 0, 0, number], [10, 0, 0, 1]);
        wire.after(10);
    }
    let known = |wire: &mut Wire, number: u8| {
        let destination = SocketAddr::from(([10, 0, 0, number], 9));
        wire.stack.send_bound(wire.now, wire.socket, Some(destination), b"x").expect("room");
        wire.sent().contains(&Sent::Packet([2, 0, 0, 0, 1, number]))
    };
    assert!(known(&mut wire, 99), "the latest is there");
    assert!(!known(&mut wire, 10), "the first is not");
    // Asking for many that are not there is bounded as well, and what waited for those that made room is no more.
    for number in 100..=250 {
        known(&mut wire, number);
    }
    for _ in 0..3 {
        wire.after(1000);
    }
    assert!(wire.events().len() <= 8);
}
