//! ICMP (RFC 792) and ICMPv6 (RFC 4443) messages: echo, and errors about packets that we sent or got.

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet};

use super::checksum::{self, Sum};
use super::ip::IpPacket;
use crate::types::Unreachable;

/// Bytes before the data of an echo message or the quotation of an error.
pub(crate) const HEADER_LENGTH: usize = 8;

/// A message that this stack acts on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IcmpMessage<'a> {
    EchoRequest {
        ident: u16,
        sequence: u16,
        payload: &'a [u8],
    },
    EchoReply,
    Error {
        reason: Unreachable,
        quoted: Quoted<'a>,
    },
    /// Neighbour discovery (RFC 4861), the whole message.
    Neighbor(&'a [u8]),
}

/// The packet that an error is about, as far as it is quoted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: IpProtocol,
    /// At least eight bytes.
    pub(crate) payload: &'a [u8],
}

impl<'a> Quoted<'a> {
    /// A packet of ours as an error would quote it; it has at least eight bytes of payload.
    pub(crate) fn of(packet: &IpPacket<'a>) -> Quoted<'a> {
        let IpPacket { source, destination, protocol, payload, .. } = *packet;
        Quoted { source, destination, protocol, payload }
    }

    /// The ends of a quoted TCP segment or UDP datagram.
    pub(crate) fn ends(&self) -> (SocketAddr, SocketAddr) {
        let port = |at: usize| u16::from_be_bytes([self.payload[at], self.payload[at + 1]]);
        (SocketAddr::new(self.source, port(0)), SocketAddr::new(self.destination, port(2)))
    }

    /// The sequence number of a quoted TCP segment.
    pub(crate) fn sequence(&self) -> u32 {
        u32::from_be_bytes([self.payload[4], self.payload[5], self.payload[6], self.payload[7]])
    }
}

/// `None` for anything malformed, with a wrong checksum, or of no interest here.
pub(crate) fn parse<'a>(packet: &IpPacket<'a>) -> Option<IcmpMessage<'a>> {
    let message = packet.payload;
    let &[kind, code, _, _, a, b, c, d] = message.first_chunk::<HEADER_LENGTH>()?;
    let valid = match packet.protocol {
        IpProtocol::Icmp => packet.source.is_ipv4() && checksum::data(message) == u16::MAX,
        _ => {
            packet.source.is_ipv6() && checksum::verify(packet.source, packet.destination, IpProtocol::Icmpv6, message)
        }
    };
    if !valid {
        return None;
    }
    let rest = &message[HEADER_LENGTH..];
    let (ident, sequence) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let word = u32::from_be_bytes([a, b, c, d]);
    match (packet.source.is_ipv4(), kind) {
        (true, 8) | (false, 128) if code == 0 => Some(IcmpMessage::EchoRequest { ident, sequence, payload: rest }),
        (true, 0) | (false, 129) => Some(IcmpMessage::EchoReply),
        (true, 3 | 11) => error(reason_v4(kind, code, sequence)?, quoted_v4(rest)?),
        (false, 1..=3) => error(reason_v6(kind, code, word)?, quoted_v6(rest)?),
        (false, 133..=137) => Some(IcmpMessage::Neighbor(message)),
        _ => None,
    }
}

fn error(reason: Unreachable, quoted: Quoted<'_>) -> Option<IcmpMessage<'_>> {
    Some(IcmpMessage::Error { reason, quoted })
}

/// RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1; `mtu` by RFC 1191 §4.
fn reason_v4(kind: u8, code: u8, mtu: u16) -> Option<Unreachable> {
    Some(match (kind, code) {
        (3, 0 | 6 | 11) => Unreachable::Network,
        (3, 1 | 5 | 7 | 8 | 12) => Unreachable::Host,
        (3, 2) => Unreachable::Protocol,
        (3, 3) => Unreachable::Port,
        (3, 4) => Unreachable::PacketTooBig(mtu),
        (3, 9 | 10 | 13) => Unreachable::Prohibited,
        (11, 0) => Unreachable::HopLimit,
        _ => return None,
    })
}

/// RFC 4443 §3.
fn reason_v6(kind: u8, code: u8, mtu: u32) -> Option<Unreachable> {
    Some(match (kind, code) {
        (1, 0) => Unreachable::Network,
        (1, 1 | 5 | 6) => Unreachable::Prohibited,
        (1, 2 | 3) => Unreachable::Host,
        (1, 4) => Unreachable::Port,
        (2, _) => Unreachable::PacketTooBig(u16::try_from(mtu).unwrap_or(u16::MAX)),
        (3, 0) => Unreachable::HopLimit,
        _ => return None,
    })
}

fn quoted_v4(bytes: &[u8]) -> Option<Quoted<'_>> {
    let header_length = usize::from(bytes.first()? & 0x0f) * 4;
    if bytes[0] >> 4 != 4 || header_length < 20 || bytes.len() < header_length + 8 {
        return None;
    }
    let packet = Ipv4Packet::new_unchecked(bytes);
    if packet.frag_offset() != 0 {
        return None;
    }
    Some(Quoted {
        source: packet.src_addr().into(),
        destination: packet.dst_addr().into(),
        protocol: packet.next_header(),
        payload: &bytes[header_length..],
    })
}

fn quoted_v6(bytes: &[u8]) -> Option<Quoted<'_>> {
    if bytes.len() < 48 || bytes[0] >> 4 != 6 {
        return None;
    }
    let packet = Ipv6Packet::new_unchecked(bytes);
    Some(Quoted {
        source: packet.src_addr().into(),
        destination: packet.dst_addr().into(),
        protocol: packet.next_header(),
        payload: &bytes[40..],
    })
}

/// Writes an echo reply to `buffer`, which is `HEADER_LENGTH` longer than the payload.
pub(crate) fn emit_echo_reply(
    source: IpAddr,
    destination: IpAddr,
    ident: u16,
    sequence: u16,
    payload: &[u8],
    buffer: &mut [u8],
) {
    buffer[0] = if source.is_ipv4() { 0 } else { 129 };
    buffer[1] = 0;
    buffer[4..6].copy_from_slice(&ident.to_be_bytes());
    buffer[6..8].copy_from_slice(&sequence.to_be_bytes());
    buffer[HEADER_LENGTH..].copy_from_slice(payload);
    fill_checksum(source, destination, buffer);
}

/// Bytes that an error about `quoted` takes: RFC 1812 §4.3.2.3 and RFC 4443 §2.4 c let it quote up to 576 or 1280 bytes.
pub(crate) fn error_length(family: IpAddr, quoted: &[u8]) -> usize {
    let most = if family.is_ipv4() { 576 - 20 } else { 1280 - 40 };
    (HEADER_LENGTH + quoted.len()).min(most)
}

/// Writes an error about `quoted` to `buffer`, which has `error_length` bytes.
pub(crate) fn emit_error(source: IpAddr, destination: IpAddr, reason: Unreachable, quoted: &[u8], buffer: &mut [u8]) {
    let (kind, code, word) = if source.is_ipv4() { kind_v4(reason) } else { kind_v6(reason) };
    buffer[0] = kind;
    buffer[1] = code;
    buffer[4..8].copy_from_slice(&word.to_be_bytes());
    let room = buffer.len() - HEADER_LENGTH;
    buffer[HEADER_LENGTH..].copy_from_slice(&quoted[..room]);
    fill_checksum(source, destination, buffer);
}

fn kind_v4(reason: Unreachable) -> (u8, u8, u32) {
    match reason {
        Unreachable::Network => (3, 0, 0),
        Unreachable::Host => (3, 1, 0),
        Unreachable::Protocol => (3, 2, 0),
        Unreachable::Port => (3, 3, 0),
        Unreachable::PacketTooBig(mtu) => (3, 4, u32::from(mtu)),
        Unreachable::Prohibited => (3, 13, 0),
        Unreachable::HopLimit => (11, 0, 0),
    }
}

fn kind_v6(reason: Unreachable) -> (u8, u8, u32) {
    match reason {
        Unreachable::Network => (1, 0, 0),
        Unreachable::Host => (1, 3, 0),
        // RFC 4443 §3.4: an unrecognised next header; the pointer says where it stands in the quoted packet.
        Unreachable::Protocol => (4, 1, 6),
        Unreachable::Port => (1, 4, 0),
        Unreachable::PacketTooBig(mtu) => (2, 0, u32::from(mtu)),
        Unreachable::Prohibited => (1, 1, 0),
        Unreachable::HopLimit => (3, 0, 0),
    }
}

/// Computes the checksum of a whole message.
pub(crate) fn fill_checksum(source: IpAddr, destination: IpAddr, message: &mut [u8]) {
    message[2..4].fill(0);
    let pseudo = match source {
        IpAddr::V4(_) => Sum::default(),
        IpAddr::V6(_) => Sum::of_pseudo_header(source, destination, IpProtocol::Icmpv6, message.len()),
    };
    let sum = !pseudo.and(message).fold();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}
