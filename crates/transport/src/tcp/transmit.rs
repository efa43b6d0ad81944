//! From a connection's wishes to the next segment's header.

use super::send::{Span, Transmission};
use super::status::State;
use super::{Connection, Context, Seq, SocketOptions};
use crate::wire::tcp::{Flags, Header, Options, SACK_BLOCKS, Timestamp, sack_length};

/// What the link can take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkLimits {
    /// Largest payload and options of a segment that we take: goes into our SYN (RFC 9293 §3.7.1).
    pub(crate) segment_size: u16,
    /// Segments that are chosen, booked and cut together at most: by the link as many as make a packet of 64 KiB, otherwise
    /// by the stack.
    pub(crate) segments: usize,
}

impl LinkLimits {
    /// Segments that the stack cuts at most before another connection has its turn.
    const CUT_BY_STACK: usize = 16;

    /// Of a link for packets of `mtu` bytes, of which IP and TCP take `headers`.
    pub(crate) fn new(mtu: u16, headers: u16, link_cuts: bool) -> LinkLimits {
        let segments = if link_cuts { usize::MAX } else { LinkLimits::CUT_BY_STACK };
        LinkLimits { segment_size: mtu.saturating_sub(headers), segments }
    }

    /// Our own largest segment for a connection with these options.
    pub(crate) fn segment_size_of(&self, options: &SocketOptions) -> u16 {
        options.segment_size_max.map_or(self.segment_size, |most| most.min(self.segment_size))
    }
}

/// A segment to send, or several in a row: the header of the first, and where their payload is in the send buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) header: Header,
    pub(crate) offset: usize,
    pub(crate) length: usize,
    /// Payload per segment on the wire.
    pub(crate) segment_size: usize,
    /// ECT(0) may be set (RFC 3168 §6.1.5: not on retransmissions and bare acknowledgements).
    pub(crate) ecn_capable: bool,
}

/// Largest payload that leaves room for every header within 64 KiB. One segment always fits: it is as large as the link takes.
const SEGMENTATION_MAX: usize = 65_535 - 60 - 60;

impl Connection {
    /// The next segment, booked as sent; `None` if there is nothing to send now.
    pub(crate) fn next_segment(&mut self, ctx: &mut Context<'_>, limits: &LinkLimits) -> Option<Outgoing> {
        match self.state {
            State::SynSent => return self.synchronize(ctx, limits),
            State::SynReceived => return self.synchronize(ctx, limits).or_else(|| self.answer_half_open(ctx)),
            State::Closed | State::Listen | State::TimeWait => return None,
            _ => {}
        }
        // Only what is acknowledged now is told, and a duplicate once (RFC 2883 §4): so by a segment that is not cut.
        let segments = if self.receive.has_duplicate() { 1 } else { limits.segments };
        let blocks = self.receive.sack_blocks();
        let sack_bytes = sack_length(&blocks);
        self.send.raise_segments(ctx.now);
        let size = self.send.payload_size() - sack_bytes;
        let most = (SEGMENTATION_MAX / size).clamp(1, segments) * size;
        match self.send.next_transmission(ctx, size, most) {
            Transmission::Span(span) => Some(self.data_segment(ctx, span, blocks)),
            Transmission::WindowProbe => Some(self.probe(ctx)),
            Transmission::Nothing if self.receive.acknowledge_now => Some(self.acknowledgement(ctx, blocks)),
            Transmission::Nothing if std::mem::take(&mut self.keep_alive_due) => Some(self.probe(ctx)),
            Transmission::Nothing => None,
        }
    }

    /// Whether `next_segment` may have another one. Must not be false where it has.
    pub(crate) fn has_more(&mut self) -> bool {
        let own = self.synchronize_due || self.receive.acknowledge_now || self.keep_alive_due;
        self.send.has_more() || own
    }

    /// SYN or SYN-ACK with everything that we offer.
    fn synchronize(&mut self, ctx: &mut Context<'_>, limits: &LinkLimits) -> Option<Outgoing> {
        if !std::mem::take(&mut self.synchronize_due) {
            return None;
        }
        let answer = self.state == State::SynReceived;
        self.synchronized_at = (self.attempts == 0).then_some(ctx.now);
        if self.attempts > 0 {
            self.send.retransmits += 1;
        }
        self.send.next = self.send.initial.plus(1);
        self.count_attempt(ctx);
        let offers = |agreed: bool| !answer || agreed;
        let window_scale = offers(self.agreed.window_scale).then_some(self.receive.window_shift);
        let ecn = if answer { self.agreed.ecn } else { ctx.config.ecn && self.attempts <= 2 };
        let acknowledgement = answer.then(|| self.receive.acknowledge_synchronize());
        let header = Header {
            seq: self.send.initial,
            ack: acknowledgement,
            // RFC 3168 §6.1.1: ECE and CWR ask, ECE alone agrees.
            flags: Flags { syn: true, ece: ecn, cwr: ecn && !answer, ..Flags::default() },
            window: self.receive.initial_window(),
            options: Options {
                maximum_segment_size: Some(limits.segment_size_of(&self.options)),
                window_scale,
                sack_permitted: if answer { self.receive.sack } else { ctx.config.sack },
                timestamp: self.agreed.timestamps.then(|| self.timestamp(ctx)),
                ..Options::default()
            },
        };
        Some(Outgoing { header, offset: 0, length: 0, segment_size: 0, ecn_capable: false })
    }

    /// RFC 9293 §3.10.7.4, RFC 5961 §3.2 and §4.2 in SYN-RECEIVED: what is out of place is answered with the state of things.
    fn answer_half_open(&mut self, ctx: &Context<'_>) -> Option<Outgoing> {
        self.receive.acknowledge_now.then(|| self.acknowledgement(ctx, [None; SACK_BLOCKS]))
    }

    /// RFC 6298 §5: what goes because the timer ran out starts it anew and counts as an attempt. An answer to the peer's
    /// repeated SYN does neither, so that a peer that repeats it often is not given up early.
    pub(super) fn count_attempt(&mut self, ctx: &Context<'_>) {
        if !self.send.handshake_timer_runs() {
            self.send.start_handshake_timer(ctx.now, ctx.config, self.attempts);
            self.attempts = self.attempts.saturating_add(1);
        }
    }

    fn timestamp(&self, ctx: &Context<'_>) -> Timestamp {
        Timestamp { value: ctx.now.milliseconds().wrapping_add(self.timestamp_offset), echo: self.receive.timestamp }
    }

    /// A header of the synchronized states.
    fn header(&mut self, ctx: &Context<'_>, seq: Seq, sack: [Option<(Seq, Seq)>; SACK_BLOCKS]) -> Header {
        let size = self.send.payload_size();
        let (ack, window) = self.receive.acknowledge(size);
        let flags = Flags { ece: self.receive.echo_congestion, ..Flags::default() };
        let timestamp = self.agreed.timestamps.then(|| self.timestamp(ctx));
        Header { seq, ack: Some(ack), flags, window, options: Options { sack, timestamp, ..Options::default() } }
    }

    fn data_segment(&mut self, ctx: &Context<'_>, span: Span, blocks: [Option<(Seq, Seq)>; SACK_BLOCKS]) -> Outgoing {
        let mut header = self.header(ctx, span.start, blocks);
        header.flags.fin = span.fin;
        header.flags.psh = span.last && span.length > 0;
        if !span.retransmission && span.length > 0 && self.agreed.ecn {
            header.flags.cwr = self.send.take_congestion_window_reduced();
        }
        Outgoing {
            header,
            offset: span.offset,
            length: span.length,
            segment_size: span.segment,
            ecn_capable: self.agreed.ecn && !span.retransmission && span.length > 0,
        }
    }

    fn acknowledgement(&mut self, ctx: &Context<'_>, blocks: [Option<(Seq, Seq)>; SACK_BLOCKS]) -> Outgoing {
        let header = self.header(ctx, self.send.next, blocks);
        Outgoing { header, offset: 0, length: 0, segment_size: 0, ecn_capable: false }
    }

    /// An empty segment one before what the peer expects, which it must answer (RFC 9293 §3.8.4, §3.10.7.4).
    fn probe(&mut self, ctx: &Context<'_>) -> Outgoing {
        let header = self.header(ctx, self.send.unacknowledged.minus(1), [None; SACK_BLOCKS]);
        Outgoing { header, offset: 0, length: 0, segment_size: 0, ecn_capable: false }
    }

    /// The last acknowledgement of a connection that ends, if one is due.
    pub(crate) fn final_acknowledgement(&mut self, ctx: &Context<'_>) -> Option<Header> {
        self.receive.acknowledge_now.then(|| self.header(ctx, self.send.next, [None; SACK_BLOCKS]))
    }

    /// RST with a sequence number that the peer believes.
    pub(crate) fn reset(&self) -> Header {
        let (seq, ack) = self.reset_sequence();
        Header { seq, ack, flags: Flags { rst: true, ..Flags::default() }, window: 0, options: Options::default() }
    }
}
