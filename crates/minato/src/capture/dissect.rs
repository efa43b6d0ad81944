//! What a packet is, in plain words: its two ends, and what it says to the other one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{Icmpv4Type, Icmpv6Type, LaxNetSlice, LaxSlicedPacket, TcpSlice, TransportSlice};
use minato_host::capture::LinkType;
use minato_inspect::Transport;

/// A packet, as far as it could be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dissected {
    /// From where to where, if it has a sender and a receiver.
    pub(super) way: Way,
    /// What it says.
    pub(super) words: String,
    /// Whether it begins a connection: what was known of its ports before is not true any more.
    pub(super) begins: bool,
}

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    /// From one port to another.
    Ports(Transport, SocketAddr, SocketAddr),
    /// From one address to another, without ports.
    Addresses(IpAddr, IpAddr),
    /// Neither is told.
    Unknown,
}

/// Reads a packet. Of one that was cut or is malformed, what is there.
pub(super) fn dissect(link: LinkType, bytes: &[u8]) -> Dissected {
    let packet = match link {
        LinkType::Ethernet => LaxSlicedPacket::from_ethernet(bytes).ok(),
        LinkType::Ip => LaxSlicedPacket::from_ip(bytes).ok(),
        LinkType::Other => None,
    };
    let Some(packet) = packet else { return without_way("no packet that minato can read".into()) };
    match &packet.net {
        Some(LaxNetSlice::Arp(arp)) => address_resolution(arp),
        Some(LaxNetSlice::Ipv4(v4)) => {
            let header = v4.header();
            let (source, destination) = (header.source_addr(), header.destination_addr());
            let payload = usize::from(header.total_len()).saturating_sub(header.slice().len());
            internet(&packet, (source.into(), destination.into()), payload)
        }
        Some(LaxNetSlice::Ipv6(v6)) => {
            let header = v6.header();
            let extensions = v6.extensions().slice().len();
            let payload = usize::from(header.payload_length()).saturating_sub(extensions);
            internet(&packet, (header.source_addr().into(), header.destination_addr().into()), payload)
        }
        None => without_way("no IP".into()),
    }
}

/// An IP packet; `payload` is how many bytes follow its headers, whether they were kept or not.
fn internet(packet: &LaxSlicedPacket<'_>, (source, destination): (IpAddr, IpAddr), payload: usize) -> Dissected {
    let ports =
        |transport, from, to| Way::Ports(transport, SocketAddr::new(source, from), SocketAddr::new(destination, to));
    let (way, words, begins) = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let way = ports(Transport::Tcp, tcp.source_port(), tcp.destination_port());
            let data = payload.saturating_sub(tcp.header_slice().len());
            (way, segment(tcp, data), tcp.syn() && !tcp.ack())
        }
        Some(TransportSlice::Udp(udp)) => {
            let way = ports(Transport::Udp, udp.source_port(), udp.destination_port());
            (way, format!("a datagram of {}", bytes(usize::from(udp.length()).saturating_sub(8))), false)
        }
        Some(TransportSlice::Icmpv4(icmp)) => (Way::Addresses(source, destination), icmp_v4(&icmp.icmp_type()), false),
        Some(TransportSlice::Icmpv6(icmp)) => (Way::Addresses(source, destination), icmp_v6(&icmp.icmp_type()), false),
        Some(TransportSlice::Igmp(_)) => {
            (Way::Addresses(source, destination), "tells its multicast groups".into(), false)
        }
        None => (Way::Addresses(source, destination), rest_of(packet, payload), false),
    };
    Dissected { way, words, begins }
}

/// A TCP segment (RFC 9293 §3.5): what matters most of what it says.
fn segment(tcp: &TcpSlice<'_>, data: usize) -> String {
    if tcp.rst() {
        // RFC 9293 §3.10.7.1: who refuses has no sequence number of its own.
        return if tcp.sequence_number() == 0 && tcp.ack() { "refuses" } else { "resets the connection" }.into();
    }
    if tcp.syn() {
        return if tcp.ack() { "accepts the connection" } else { "asks for a connection" }.into();
    }
    match (data, tcp.fin()) {
        (0, true) => "has no more to send".into(),
        (0, false) => "acknowledges".into(),
        (data, true) => format!("sends {}, and has no more", bytes(data)),
        (data, false) => format!("sends {}", bytes(data)),
    }
}

fn icmp_v4(kind: &Icmpv4Type) -> String {
    match kind {
        Icmpv4Type::EchoRequest(echo) => format!("asks for echo {}", echo.seq),
        Icmpv4Type::EchoReply(echo) => format!("answers echo {}", echo.seq),
        Icmpv4Type::DestinationUnreachable(header) => {
            format!("reports a destination that can't be reached (code {})", header.code_u8())
        }
        Icmpv4Type::TimeExceeded(_) => "reports a packet that took too many hops".into(),
        other => format!("an ICMP message: {other:?}"),
    }
}

fn icmp_v6(kind: &Icmpv6Type) -> String {
    match kind {
        Icmpv6Type::EchoRequest(echo) => format!("asks for echo {}", echo.seq),
        Icmpv6Type::EchoReply(echo) => format!("answers echo {}", echo.seq),
        Icmpv6Type::DestinationUnreachable(code) => {
            format!("reports a destination that can't be reached (code {})", code.code_u8())
        }
        Icmpv6Type::PacketTooBig { mtu } => format!("reports a packet that is larger than {mtu} bytes"),
        Icmpv6Type::TimeExceeded(_) => "reports a packet that took too many hops".into(),
        Icmpv6Type::NeighborSolicitation => "asks for a neighbour's Ethernet address".into(),
        Icmpv6Type::NeighborAdvertisement(_) => "tells its Ethernet address".into(),
        Icmpv6Type::RouterSolicitation => "asks for routers".into(),
        Icmpv6Type::RouterAdvertisement(_) => "tells that it is a router".into(),
        Icmpv6Type::Unknown { type_u8: 143, .. } => "tells its multicast groups".into(),
        other => format!("an ICMPv6 message: {other:?}"),
    }
}

/// RFC 826.
fn address_resolution(arp: &etherparse::ArpPacketSlice<'_>) -> Dissected {
    let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from);
    let (Some(sender), Some(target)) = (address(arp.sender_protocol_addr()), address(arp.target_protocol_addr()))
    else {
        return without_way("address resolution of something else than IPv4".into());
    };
    let words = match arp.operation() {
        etherparse::ArpOperation::REQUEST => format!("asks for {target}'s Ethernet address"),
        _ => "tells its Ethernet address".to_owned(),
    };
    Dissected { way: Way::Addresses(sender.into(), target.into()), words, begins: false }
}

/// What has neither ports nor a meaning that is known here.
fn rest_of(packet: &LaxSlicedPacket<'_>, payload: usize) -> String {
    let net = packet.net.as_ref();
    let fragment = match net {
        Some(LaxNetSlice::Ipv4(v4)) => v4.header().is_fragmenting_payload(),
        Some(LaxNetSlice::Ipv6(v6)) => v6.is_payload_fragmented(),
        _ => false,
    };
    if fragment {
        return format!("a fragment of {}", bytes(payload));
    }
    let protocol = net.and_then(LaxNetSlice::ip_payload_ref).map(|payload| payload.ip_number.0);
    let protocol = protocol.map_or_else(String::new, |number| format!(" of protocol {number}"));
    format!("{}{protocol}", bytes(payload))
}

fn bytes(count: usize) -> String {
    if count == 1 { "1 byte".into() } else { format!("{count} bytes") }
}

fn without_way(words: String) -> Dissected {
    Dissected { way: Way::Unknown, words, begins: false }
}

/// Whether a packet to this address is for more than one.
pub(super) fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || address == Ipv4Addr::BROADCAST,
        IpAddr::V6(address) => address.is_multicast() || address == Ipv6Addr::UNSPECIFIED,
    }
}

#[cfg(test)]
mod tests;
