//! IPv4 and IPv6 packets: parsing to one representation, and headers of packets that we send.

use std::net::IpAddr;

use bytes::Bytes;
use smoltcp::wire::{IpProtocol, Ipv6ExtHeader, Ipv6FragmentHeader, Ipv6Packet};

use super::checksum;

/// Bytes of an IPv4 header without options, and of an IPv6 header.
const V4_LENGTH: usize = 20;
const V6_LENGTH: usize = 40;

/// More extension headers than any honest packet has (RFC 8200 §4.1 lists seven kinds).
const EXTENSION_HEADERS_MAX: usize = 8;

/// A packet with its header checked; lengths are consistent, addresses are what the wire says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpPacket<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: IpProtocol,
    pub(crate) hop_limit: u8,
    /// The two ECN bits (RFC 3168 §5).
    pub(crate) ecn: u8,
    pub(crate) fragment: Option<Fragment>,
    /// After all headers that were understood.
    pub(crate) payload: &'a [u8],
    pub(crate) backing: Backing<'a>,
    /// From the first header byte to the end (of the first part): what an ICMP error quotes.
    pub(crate) whole: &'a [u8],
}

/// Whose memory a frame's bytes are in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backing<'a> {
    /// The caller's: what shall stay must be copied.
    Lent,
    /// All of it is in this, which the stack may keep.
    Shared(&'a Bytes),
    /// Headers are lent, and the payload comes after them in these, which the stack may keep.
    Parts(&'a [Bytes]),
}

impl<'a> Backing<'a> {
    /// What follows the bytes that are lent.
    pub(crate) fn parts(self) -> &'a [Bytes] {
        if let Backing::Parts(parts) = self { parts } else { &[] }
    }
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) ident: u32,
    /// In bytes.
    pub(crate) offset: usize,
    pub(crate) more: bool,
}

/// `None` for anything malformed or that this node must not take. With parts after `bytes` the packet must end where the
/// last of them does. Inlined, since the result is large and would be copied.
#[inline(always)]
pub(crate) fn parse<'a>(bytes: &'a [u8], backing: Backing<'a>) -> Option<IpPacket<'a>> {
    match bytes.first()? >> 4 {
        4 => parse_v4(bytes, backing),
        6 => parse_v6(bytes, backing),
        _ => None,
    }
}

/// The packet without what follows it on the link, if it is there.
fn whole<'a>(bytes: &'a [u8], parts: &[Bytes], length: usize) -> Option<&'a [u8]> {
    if parts.is_empty() {
        return bytes.get(..length);
    }
    (bytes.len() + parts.iter().map(Bytes::len).sum::<usize>() == length).then_some(bytes)
}

/// Whether there is more in the parts than the packet at the beginning of `bytes` says that it has.
pub(crate) fn is_padded(bytes: &[u8], parts: &[Bytes]) -> bool {
    let half = |at: usize| {
        bytes.get(at..at + 2).map_or(usize::MAX / 2, |half| usize::from(half[0]) << 8 | usize::from(half[1]))
    };
    let length = || match bytes.first().map_or(0, |first| first >> 4) {
        4 => half(2),
        _ => V6_LENGTH + half(4),
    };
    !parts.is_empty() && bytes.len() + parts.iter().map(Bytes::len).sum::<usize>() > length()
}

/// Read by hand: this is the way of every packet.
#[inline(always)]
fn parse_v4<'a>(bytes: &'a [u8], backing: Backing<'a>) -> Option<IpPacket<'a>> {
    let header = bytes.first_chunk::<V4_LENGTH>()?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let whole = whole(bytes, backing.parts(), length)?;
    if header_length < V4_LENGTH || header_length > whole.len() {
        return None;
    }
    if checksum::data(&whole[..header_length]) != u16::MAX {
        return None;
    }
    // RFC 791 §3.1: one reserved bit, "don't fragment", "more fragments", and the offset in units of eight bytes.
    let position = u16::from_be_bytes([header[6], header[7]]);
    let fragment = (position & 0x3fff != 0).then(|| Fragment {
        ident: u32::from(u16::from_be_bytes([header[4], header[5]])),
        offset: usize::from(position & 0x1fff) * 8,
        more: position & 0x2000 != 0,
    });
    Some(IpPacket {
        source: IpAddr::from([header[12], header[13], header[14], header[15]]),
        destination: IpAddr::from([header[16], header[17], header[18], header[19]]),
        protocol: IpProtocol::from(header[9]),
        hop_limit: header[8],
        ecn: header[1] & 3,
        fragment,
        payload: &whole[header_length..],
        backing,
        whole,
    })
}

fn parse_v6<'a>(bytes: &'a [u8], backing: Backing<'a>) -> Option<IpPacket<'a>> {
    let header = bytes.get(..V6_LENGTH)?;
    let packet = Ipv6Packet::new_unchecked(header);
    let whole = whole(bytes, backing.parts(), packet.total_len())?;
    let mut parsed = IpPacket {
        source: packet.src_addr().into(),
        destination: packet.dst_addr().into(),
        protocol: packet.next_header(),
        hop_limit: packet.hop_limit(),
        ecn: packet.traffic_class() & 3,
        fragment: None,
        payload: whole.get(V6_LENGTH..)?,
        backing,
        whole,
    };
    for position in 0..EXTENSION_HEADERS_MAX {
        match parsed.protocol {
            // RFC 8200 §4.1: hop-by-hop options come first or not at all.
            IpProtocol::HopByHop if position > 0 => return None,
            IpProtocol::HopByHop | IpProtocol::Ipv6Opts => {
                let header = Ipv6ExtHeader::new_checked(parsed.payload).ok()?;
                if !options_allow(header.payload()) {
                    return None;
                }
                parsed.skip_extension(&header)?;
            }
            IpProtocol::Ipv6Route => {
                let header = Ipv6ExtHeader::new_checked(parsed.payload).ok()?;
                // RFC 8200 §4.4: with segments left the packet is for another node; source routes are not followed here.
                if header.payload().get(1) != Some(&0) {
                    return None;
                }
                parsed.skip_extension(&header)?;
            }
            IpProtocol::Ipv6Frag => return parse_v6_fragment(parsed),
            IpProtocol::Ipv6NoNxt => return None,
            _ => return Some(parsed),
        }
    }
    None
}

impl<'a> IpPacket<'a> {
    fn skip_extension(&mut self, header: &Ipv6ExtHeader<&'a [u8]>) -> Option<()> {
        let length = (usize::from(header.header_len()) + 1) * 8;
        self.protocol = header.next_header();
        self.payload = self.payload.get(length..)?;
        Some(())
    }

    /// Whether an ICMP error may answer this packet (RFC 1122 §3.2.2, RFC 4443 §2.4 e): not if it is an ICMP error itself,
    /// not the first fragment, or to or from more than one node.
    pub(crate) fn may_be_answered_with_error(&self) -> bool {
        let first = self.fragment.is_none_or(|fragment| fragment.offset == 0);
        let error = match self.protocol {
            IpProtocol::Icmp => !matches!(self.payload.first(), Some(0 | 8 | 13 | 14)),
            IpProtocol::Icmpv6 => self.payload.first().is_none_or(|kind| kind & 0x80 == 0),
            _ => false,
        };
        first && !error && is_unicast(self.source) && is_unicast(self.destination)
    }
}

/// RFC 8200 §4.6, and §4.5 for how the rest of the chain follows: only the first fragment has it.
fn parse_v6_fragment(mut parsed: IpPacket<'_>) -> Option<IpPacket<'_>> {
    let header = Ipv6FragmentHeader::new_checked(parsed.payload.get(2..8)?).ok()?;
    parsed.protocol = IpProtocol::from(parsed.payload[0]);
    let fragment =
        Fragment { ident: header.ident(), offset: usize::from(header.frag_offset()) * 8, more: header.more_frags() };
    parsed.payload = parsed.payload.get(8..)?;
    // RFC 6946: an atomic fragment is a whole packet.
    if fragment.offset != 0 || fragment.more {
        parsed.fragment = Some(fragment);
        return Some(parsed);
    }
    match parsed.protocol {
        IpProtocol::Tcp | IpProtocol::Udp | IpProtocol::Icmpv6 => Some(parsed),
        _ => None,
    }
}

/// RFC 8200 §4.2: an unknown option whose type begins with two zero bits is skipped; any other makes us drop the packet.
fn options_allow(mut options: &[u8]) -> bool {
    while let Some(&kind) = options.first() {
        if kind == 0 {
            options = &options[1..];
            continue;
        }
        let Some(&length) = options.get(1) else { return false };
        let known = kind == 1 || kind == 5; // PadN, router alert
        if !known && kind >> 6 != 0 {
            return false;
        }
        let Some(rest) = options.get(2 + usize::from(length)..) else { return false };
        options = rest;
    }
    true
}

/// Whether the address names one node: not unspecified, multicast or limited broadcast.
pub(crate) fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast(),
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast(),
    }
}

/// Whether the address may stand in a packet on a link at all. Loopback addresses never may (RFC 1122 §3.2.1.3, RFC 4291
/// §2.5.3), 0.0.0.0/8 and 240.0.0.0/4 are no one's, and IPv4-mapped ones are no wire format (RFC 4291 §2.5.5.2).
pub(crate) fn is_allowed_on_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let first = address.octets()[0];
            first != 0 && first != 127 && (first < 240 || address.is_broadcast())
        }
        IpAddr::V6(address) => {
            !address.is_loopback() && !address.is_unspecified() && address.to_ipv4_mapped().is_none()
        }
    }
}

/// How a packet of ours shall be treated on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) hop_limit: u8,
    /// DSCP (RFC 2474), with zero where ECN's bits are.
    pub(crate) traffic_class: u8,
}

impl Service {
    /// 64 hops (RFC 1700), best effort.
    pub(crate) const DEFAULT: Service = Service { hop_limit: 64, traffic_class: 0 };

    /// The nearest that makes sense: a packet with hop limit zero goes nowhere, and ECN's bits are not the caller's.
    pub(crate) fn new(hop_limit: u8, traffic_class: u8) -> Service {
        Service { hop_limit: hop_limit.max(1), traffic_class: traffic_class & !3 }
    }
}

/// What a header of ours says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpHeader {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: IpProtocol,
    pub(crate) service: Service,
    /// The two ECN bits (RFC 3168 §5).
    pub(crate) ecn: u8,
    pub(crate) payload_length: usize,
}

impl IpHeader {
    /// A header with what is the same on nearly all: the service, and no ECN.
    pub(crate) fn new(source: IpAddr, destination: IpAddr, protocol: IpProtocol, payload_length: usize) -> IpHeader {
        IpHeader { source, destination, protocol, service: Service::DEFAULT, ecn: 0, payload_length }
    }

    /// The same header with another service.
    pub(crate) fn served(self, service: Service) -> IpHeader {
        IpHeader { service, ..self }
    }

    /// The same header with another hop limit.
    pub(crate) fn hops(self, hop_limit: u8) -> IpHeader {
        self.served(Service { hop_limit, ..self.service })
    }

    /// Bytes that `emit` writes.
    pub(crate) fn length(&self) -> usize {
        header_length(self.source)
    }

    /// Writes the header to the first bytes of `buffer`, with "don't fragment" for IPv4.
    pub(crate) fn emit(&self, buffer: &mut [u8]) {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let (header, _) = buffer.split_at_mut(V4_LENGTH);
                header[..2].copy_from_slice(&[0x45, self.service.traffic_class | self.ecn]);
                header[2..4].copy_from_slice(&((V4_LENGTH + self.payload_length) as u16).to_be_bytes());
                header[4..12].copy_from_slice(&[0, 0, 0x40, 0, self.service.hop_limit, self.protocol.into(), 0, 0]);
                header[12..16].copy_from_slice(&source.octets());
                header[16..20].copy_from_slice(&destination.octets());
                let sum = !checksum::data(header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut packet = Ipv6Packet::new_unchecked(&mut buffer[..V6_LENGTH]);
                packet.set_version(6);
                packet.set_traffic_class(self.service.traffic_class | self.ecn);
                packet.set_flow_label(0);
                packet.set_payload_len(self.payload_length as u16);
                packet.set_next_header(self.protocol);
                packet.set_hop_limit(self.service.hop_limit);
                packet.set_src_addr(source);
                packet.set_dst_addr(destination);
            }
            _ => debug_assert!(false, "families are checked before a header is made"),
        }
    }
}

/// Bytes of an IP header without options in the family of `address`.
pub(crate) fn header_length(address: IpAddr) -> usize {
    if address.is_ipv4() { V4_LENGTH } else { V6_LENGTH }
}
