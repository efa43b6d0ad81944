//! TCP segments: parsing to a representation, and headers of segments that we send.

use std::net::SocketAddr;

use smoltcp::wire::{IpProtocol, TcpOption, TcpPacket, TcpSeqNumber};

use super::checksum;
use super::ip::IpPacket;
use crate::tcp::Seq;

/// Bytes of a header without options.
pub(crate) const HEADER_LENGTH: usize = 20;

/// Where the checksum stands in the header.
pub(crate) const CHECKSUM_OFFSET: usize = 16;

/// Most selective acknowledgements that one segment carries beside a timestamp.
pub(crate) const SACK_BLOCKS: usize = 3;

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

/// `None` for anything malformed or with a wrong checksum.
pub(crate) fn parse<'a>(packet: &IpPacket<'a>, checksum_trusted: bool) -> Option<Segment<'a>> {
    let segment = TcpPacket::new_checked(packet.payload).ok()?;
    if segment.src_port() == 0 || segment.dst_port() == 0 || usize::from(segment.header_len()) < HEADER_LENGTH {
        return None;
    }
    if !checksum_trusted && !checksum::verify(packet.source, packet.destination, IpProtocol::Tcp, packet.payload) {
        return None;
    }
    Some(Segment {
        source_port: segment.src_port(),
        destination_port: segment.dst_port(),
        seq: Seq(segment.seq_number().0 as u32),
        ack: segment.ack().then(|| Seq(segment.ack_number().0 as u32)),
        flags: Flags {
            syn: segment.syn(),
            fin: segment.fin(),
            rst: segment.rst(),
            psh: segment.psh(),
            ece: segment.ece(),
            cwr: segment.cwr(),
        },
        window: segment.window_len(),
        options: parse_options(segment.options()),
        payload: segment.payload(),
        congestion_experienced: packet.ecn == 3,
    })
}

/// RFC 9293 §3.1: unknown options are skipped; a malformed one ends the list.
fn parse_options(mut bytes: &[u8]) -> Options {
    let mut options = Options::default();
    while !bytes.is_empty() {
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
        let blocks = self.options.sack.iter().flatten().count();
        length + if blocks > 0 { 4 + 8 * blocks } else { 0 }
    }

    /// Writes the header to the first bytes of `buffer`, its checksum field zero.
    pub(crate) fn emit(&self, source_port: u16, destination_port: u16, buffer: &mut [u8]) {
        let length = self.length();
        let mut packet = TcpPacket::new_unchecked(&mut buffer[..length]);
        packet.set_src_port(source_port);
        packet.set_dst_port(destination_port);
        packet.set_seq_number(TcpSeqNumber(self.seq.0 as i32));
        packet.set_ack_number(TcpSeqNumber(self.ack.map_or(0, |ack| ack.0 as i32)));
        packet.clear_flags();
        packet.set_header_len(length as u8);
        packet.set_ack(self.ack.is_some());
        packet.set_syn(self.flags.syn);
        packet.set_fin(self.flags.fin);
        packet.set_rst(self.flags.rst);
        packet.set_psh(self.flags.psh);
        packet.set_ece(self.flags.ece);
        packet.set_cwr(self.flags.cwr);
        packet.set_window_len(self.window);
        packet.set_checksum(0);
        packet.set_urgent_at(0);
        self.emit_options(packet.options_mut());
    }

    /// Each option is padded in front, so that its numbers are aligned.
    fn emit_options(&self, mut rest: &mut [u8]) {
        if let Some(size) = self.options.maximum_segment_size {
            rest = TcpOption::MaxSegmentSize(size).emit(rest);
        }
        if let Some(shift) = self.options.window_scale {
            rest = TcpOption::NoOperation.emit(rest);
            rest = TcpOption::WindowScale(shift).emit(rest);
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
    let rest = TcpOption::NoOperation.emit(rest);
    TcpOption::NoOperation.emit(rest)
}

/// Completes the checksum of a header with `payload` after it, or only starts it where the link finishes it.
pub(crate) fn fill_checksum(
    source: SocketAddr,
    destination: SocketAddr,
    header: &mut [u8],
    payload: &[&[u8]],
    partial: bool,
) {
    let length = header.len() + payload.iter().map(|part| part.len()).sum::<usize>();
    let pseudo = checksum::pseudo_header(source.ip(), destination.ip(), IpProtocol::Tcp, length);
    let value =
        if partial { pseudo } else { !checksum::combine(&[pseudo, checksum::data(header), sum_of_parts(payload)]) };
    header[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&value.to_be_bytes());
}

/// A part that starts at an odd place has its bytes in swapped positions (RFC 1071 §2 B).
fn sum_of_parts(parts: &[&[u8]]) -> u16 {
    let mut sum = 0;
    let mut odd = false;
    for part in parts {
        let own = checksum::data(part);
        sum = checksum::combine(&[sum, if odd { own.swap_bytes() } else { own }]);
        odd ^= part.len() % 2 == 1;
    }
    sum
}
