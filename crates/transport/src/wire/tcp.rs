//! TCP segments: parsing to a representation, and headers of segments that we send.

use std::net::SocketAddr;

use bytes::Bytes;
use smoltcp::wire::{IpProtocol, TcpOption};

use super::checksum::{self, Sum};
use super::ip::{Backing, IpPacket};
use crate::tcp::Seq;

/// Bytes of a header without options.
pub(crate) const HEADER_LENGTH: usize = 20;

/// Where the checksum stands in the header.
pub(crate) const CHECKSUM_OFFSET: usize = 16;

/// Most selective acknowledgements that one segment carries beside a timestamp.
pub(crate) const SACK_BLOCKS: usize = 3;

/// The option that is one byte of padding.
const NO_OPERATION: u8 = 1;

/// A range of received sequence numbers: first, and the one after the last.
pub(crate) type SackBlock = (Seq, Seq);

/// The flags that this stack knows (RFC 9293 §3.1, RFC 3168). Urgent data is taken as ordinary, which RFC 6093 advises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) psh: bool,
    pub(crate) ece: bool,
    pub(crate) cwr: bool,
}

/// Options of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) maximum_segment_size: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    pub(crate) sack: [Option<SackBlock>; SACK_BLOCKS],
    pub(crate) timestamp: Option<Timestamp>,
}

/// RFC 7323 §3: the sender's clock, and the last clock value that it had from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp {
    pub(crate) value: u32,
    pub(crate) echo: u32,
}

/// A received segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) seq: Seq,
    pub(crate) ack: Option<Seq>,
    pub(crate) flags: Flags,
    /// As in the header, not scaled.
    pub(crate) window: u16,
    pub(crate) options: Options,
    pub(crate) payload: &'a [u8],
    /// The memory that `payload` is in, if the stack may keep it.
    pub(crate) memory: Option<&'a Bytes>,
    /// A router on the path marked it (RFC 3168).
    pub(crate) congestion_experienced: bool,
}

impl Segment<'_> {
    /// Sequence numbers that it takes: SEG.LEN of RFC 9293 §3.4.
    pub(crate) fn length(&self) -> usize {
        self.payload.len() + usize::from(self.flags.syn) + usize::from(self.flags.fin)
    }

    /// The sequence number after its last one.
    pub(crate) fn end(&self) -> Seq {
        self.seq.plus(self.length())
    }
}

/// The flags' bits in the header's 14th byte (RFC 9293 §3.1).
mod bit {
    pub(super) const FIN: u8 = 0x01;
    pub(super) const SYN: u8 = 0x02;
    pub(super) const RST: u8 = 0x04;
    pub(super) const PSH: u8 = 0x08;
    pub(super) const ACK: u8 = 0x10;
    pub(super) const ECE: u8 = 0x40;
    pub(super) const CWR: u8 = 0x80;
}

/// How the timestamp option begins with its padding (RFC 7323 appendix A): the only option of nearly all segments.
const TIMESTAMP_START: [u8; 4] = [1, 1, 8, 10];

/// `None` for anything malformed or with a wrong checksum. Inlined, since the result is large and would be copied.
#[inline(always)]
pub(crate) fn parse<'a>(packet: &IpPacket<'a>, checksum_trusted: bool) -> Option<Segment<'a>> {
    let header = packet.payload.first_chunk::<HEADER_LENGTH>()?;
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let length = usize::from(header[12] >> 4) * 4;
    let options = packet.payload.get(HEADER_LENGTH..length)?;
    let (source_port, destination_port, bits) = (half(0), half(2), header[13]);
    if source_port == 0 || destination_port == 0 {
        return None;
    }
    if !checksum_trusted && !has_right_checksum(packet) {
        return None;
    }
    Some(Segment {
        source_port,
        destination_port,
        seq: Seq(word(4)),
        ack: (bits & bit::ACK != 0).then(|| Seq(word(8))),
        flags: Flags {
            syn: bits & bit::SYN != 0,
            fin: bits & bit::FIN != 0,
            rst: bits & bit::RST != 0,
            psh: bits & bit::PSH != 0,
            ece: bits & bit::ECE != 0,
            cwr: bits & bit::CWR != 0,
        },
        window: half(14),
        options: parse_options(options),
        payload: &packet.payload[length..],
        memory: if let Backing::Shared(frame) = packet.backing { Some(frame) } else { None },
        congestion_experienced: packet.ecn == 3,
    })
}

fn has_right_checksum(packet: &IpPacket<'_>) -> bool {
    let parts = packet.backing.parts();
    if parts.is_empty() {
        return checksum::verify(packet.source, packet.destination, IpProtocol::Tcp, packet.payload);
    }
    let length = packet.payload.len() + parts.iter().map(Bytes::len).sum::<usize>();
    let pseudo = Sum::of_pseudo_header(packet.source, packet.destination, IpProtocol::Tcp, length);
    parts.iter().fold(pseudo.and(packet.payload), |sum, part| sum.and(part)).fold() == u16::MAX
}

#[inline(always)]
fn parse_options(bytes: &[u8]) -> Options {
    if bytes.is_empty() {
        return Options::default();
    }
    match bytes.strip_prefix(&TIMESTAMP_START) {
        Some([a, b, c, d, e, f, g, h]) => {
            let (value, echo) = (u32::from_be_bytes([*a, *b, *c, *d]), u32::from_be_bytes([*e, *f, *g, *h]));
            Options { timestamp: Some(Timestamp { value, echo }), ..Options::default() }
        }
        _ => parse_any_options(bytes),
    }
}

/// RFC 9293 §3.1: unknown options are skipped; a malformed one ends the list.
fn parse_any_options(mut bytes: &[u8]) -> Options {
    let mut options = Options::default();
    while !bytes.is_empty() {
        if let Some(rest) = bytes.strip_prefix(&[NO_OPERATION]) {
            bytes = rest;
            continue;
        }
        let Ok((rest, option)) = TcpOption::parse(bytes) else { break };
        match option {
            TcpOption::EndOfList => break,
            TcpOption::MaxSegmentSize(size) => options.maximum_segment_size = Some(size),
            // RFC 7323 §2.3: a larger shift counts as 14.
            TcpOption::WindowScale(shift) => options.window_scale = Some(shift.min(14)),
            TcpOption::SackPermitted => options.sack_permitted = true,
            TcpOption::SackRange(blocks) => {
                options.sack = blocks.map(|block| block.map(|(from, to)| (Seq(from), Seq(to))));
            }
            TcpOption::TimeStamp { tsval, tsecr } => {
                options.timestamp = Some(Timestamp { value: tsval, echo: tsecr });
            }
            TcpOption::NoOperation | TcpOption::Unknown { .. } => {}
        }
        bytes = rest;
    }
    options
}

/// Bytes that the option for selective acknowledgements takes, with its padding.
pub(crate) fn sack_length(blocks: &[Option<SackBlock>; SACK_BLOCKS]) -> usize {
    // They are filled from the front.
    if blocks[0].is_none() { 0 } else { 4 + 8 * blocks.iter().flatten().count() }
}

/// A header of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) seq: Seq,
    pub(crate) ack: Option<Seq>,
    pub(crate) flags: Flags,
    /// As it goes into the header, scaled.
    pub(crate) window: u16,
    pub(crate) options: Options,
}

impl Header {
    /// Bytes that `emit` writes: a multiple of four, at most 60.
    pub(crate) fn length(&self) -> usize {
        let mut length = HEADER_LENGTH;
        length += if self.options.maximum_segment_size.is_some() { 4 } else { 0 };
        length += if self.options.window_scale.is_some() { 4 } else { 0 };
        length += if self.options.sack_permitted { 4 } else { 0 };
        length += if self.options.timestamp.is_some() { 12 } else { 0 };
        length + sack_length(&self.options.sack)
    }

    /// Writes the header to the first bytes of `buffer`, its checksum field zero.
    pub(crate) fn emit(&self, source_port: u16, destination_port: u16, buffer: &mut [u8]) {
        let length = self.length();
        let (fixed, options) = buffer[..length].split_at_mut(HEADER_LENGTH);
        fixed[..2].copy_from_slice(&source_port.to_be_bytes());
        fixed[2..4].copy_from_slice(&destination_port.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.seq.0.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ack.map_or(0, |ack| ack.0).to_be_bytes());
        fixed[12..14].copy_from_slice(&[(length as u8) << 2, self.bits()]);
        fixed[14..16].copy_from_slice(&self.window.to_be_bytes());
        // Checksum and urgent pointer.
        fixed[16..20].fill(0);
        match (self.options.timestamp, options.first_chunk_mut::<12>()) {
            (Some(timestamp), Some(option)) if length == HEADER_LENGTH + option.len() => {
                option[..4].copy_from_slice(&TIMESTAMP_START);
                option[4..8].copy_from_slice(&timestamp.value.to_be_bytes());
                option[8..].copy_from_slice(&timestamp.echo.to_be_bytes());
            }
            _ => self.emit_options(options),
        }
    }

    fn bits(&self) -> u8 {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = self.flags;
        bit(self.ack.is_some(), bit::ACK)
            | bit(flags.syn, bit::SYN)
            | bit(flags.fin, bit::FIN)
            | bit(flags.rst, bit::RST)
            | bit(flags.psh, bit::PSH)
            | bit(flags.ece, bit::ECE)
            | bit(flags.cwr, bit::CWR)
    }

    /// Each option is padded in front, so that its numbers are aligned.
    fn emit_options(&self, mut rest: &mut [u8]) {
        if let Some(size) = self.options.maximum_segment_size {
            rest = TcpOption::MaxSegmentSize(size).emit(rest);
        }
        if let Some(shift) = self.options.window_scale {
            rest[0] = NO_OPERATION;
            rest = TcpOption::WindowScale(shift).emit(&mut rest[1..]);
        }
        if self.options.sack_permitted {
            rest = padding(rest);
            rest = TcpOption::SackPermitted.emit(rest);
        }
        if let Some(timestamp) = self.options.timestamp {
            rest = padding(rest);
            rest = TcpOption::TimeStamp { tsval: timestamp.value, tsecr: timestamp.echo }.emit(rest);
        }
        if self.options.sack[0].is_some() {
            rest = padding(rest);
            TcpOption::SackRange(self.options.sack.map(|block| block.map(|(from, to)| (from.0, to.0)))).emit(rest);
        }
    }
}

fn padding(rest: &mut [u8]) -> &mut [u8] {
    let (padding, rest) = rest.split_at_mut(2);
    padding.fill(NO_OPERATION);
    rest
}

/// Completes the checksum of a header with `payload` after it, whose empty parts come last, or only starts it where the link
/// finishes it.
pub(crate) fn fill_checksum(
    source: SocketAddr,
    destination: SocketAddr,
    header: &mut [u8],
    payload: &[&[u8]],
    partial: bool,
) {
    let length = header.len() + payload.iter().map(|part| part.len()).sum::<usize>();
    let pseudo = Sum::of_pseudo_header(source.ip(), destination.ip(), IpProtocol::Tcp, length);
    let value = if partial {
        pseudo.fold()
    } else {
        let parts = payload.iter().take_while(|part| !part.is_empty());
        !parts.fold(pseudo.and(header), |sum, part| sum.and(part)).fold()
    };
    header[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&value.to_be_bytes());
}
