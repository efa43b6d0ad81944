//! The sending direction: what is queued, what is under way, what the peer takes.

mod acknowledged;
mod loss;
mod path;
mod reduction;
mod rtt;
mod scoreboard;
mod spurious;
mod timers;
mod transmit;
mod undo;

use super::buffer::{CHUNK, ChunkPool, ChunkQueue};
use super::congestion::Congestion;
use super::{PathMtu, Seq, SocketOptions};
use crate::time::Time;
pub(super) use acknowledged::AckVerdict;
use loss::{Rack, Recovery};
use path::Search;
use reduction::Reduction;
use rtt::RoundTrip;
use scoreboard::Scoreboard;
pub(super) use timers::Expired;
pub(super) use transmit::{Span, Transmission};
use undo::Undo;

/// The sending half of a connection. Names follow RFC 9293 §3.3.1.
///
/// The queue's first byte has the sequence number SND.UNA (once our SYN is acknowledged); FIN follows its last.
#[derive(Debug)]
pub(super) struct SendHalf {
    /// ISS.
    pub(super) initial: Seq,
    /// SND.UNA.
    pub(super) unacknowledged: Seq,
    /// SND.NXT.
    pub(super) next: Seq,
    /// SND.WND, scaled.
    pub(super) window: usize,
    /// SND.WL1 and SND.WL2.
    window_from: (Seq, Seq),
    /// Largest window that the peer ever offered.
    window_max: usize,
    /// Shift of the peer's window field.
    pub(super) window_shift: u8,
    /// Largest TCP payload, options included in the count (RFC 9293 §3.7.1, RFC 6691).
    pub(super) segment_size: u16,
    /// Least segment size that the path makes us use: the family's least MTU.
    segment_size_min: u16,
    /// Bytes of every segment's options.
    pub(super) option_bytes: u16,
    /// The path takes or may take less than both ends.
    search: Option<Box<Search>>,
    path_mtu: PathMtu,
    pub(super) queue: ChunkQueue,
    /// The caller ended the direction.
    pub(super) shut: bool,
    fin_acknowledged: bool,
    pub(super) sack: bool,
    pub(super) nagle: bool,
    /// The end of the last segment that was not full-sized.
    small_end: Seq,
    scoreboard: Scoreboard,
    congestion: Congestion,
    pub(super) round_trip: RoundTrip,
    rack: Rack,
    recovery: Recovery,
    /// RFC 9937, while a recovery with SACK lasts.
    reduction: Option<Box<Reduction>>,
    undo: Option<Box<Undo>>,
    timers: timers::SendTimers,
    /// The congestion window was what held data back.
    window_limited: bool,
    /// `send_space` was short.
    pub(super) wants_space: bool,
    /// RFC 3168 §6.1.2: tell the peer that the window was reduced.
    congestion_window_reduced: bool,
    /// Congestion marks count once per window: until more than this is acknowledged.
    mark_end: Option<Seq>,
    pub(super) ecn: bool,
    last_sent: Option<Time>,
    pub(super) retransmits: u64,
    pub(super) bytes_acknowledged: u64,
}

impl SendHalf {
    pub(super) fn new(initial: Seq, segment_size: u16, ipv6: bool, options: &SocketOptions) -> SendHalf {
        SendHalf {
            initial,
            unacknowledged: initial,
            next: initial,
            window: 0,
            window_from: (Seq(0), initial),
            window_max: 0,
            window_shift: 0,
            segment_size,
            segment_size_min: path::segment_size_min(ipv6),
            option_bytes: 0,
            search: None,
            path_mtu: options.path_mtu,
            queue: ChunkQueue::default(),
            shut: false,
            fin_acknowledged: false,
            sack: false,
            nagle: options.nagle,
            small_end: initial,
            scoreboard: Scoreboard::default(),
            congestion: Congestion::new(options.congestion, segment_size),
            round_trip: RoundTrip::default(),
            rack: Rack::default(),
            recovery: Recovery::Open,
            reduction: None,
            undo: None,
            timers: timers::SendTimers::default(),
            window_limited: false,
            wants_space: false,
            congestion_window_reduced: false,
            mark_end: None,
            ecn: false,
            last_sent: None,
            retransmits: 0,
            bytes_acknowledged: 0,
        }
    }

    /// Payload bytes of a full-sized segment.
    pub(super) fn payload_size(&self) -> usize {
        usize::from(self.segment_size - self.option_bytes)
    }

    /// The handshake settled the sizes.
    pub(super) fn set_segment_size(&mut self, segment_size: u16, option_bytes: u16) {
        self.segment_size = segment_size;
        self.option_bytes = option_bytes;
        self.congestion.set_segment_size(segment_size - option_bytes);
    }

    /// The sequence number after the last queued byte: FIN's own.
    fn data_end(&self) -> Seq {
        self.unacknowledged.plus(self.queue.length())
    }

    /// Queued bytes that were never sent.
    fn unsent(&self) -> usize {
        let end = self.data_end();
        if end.is_after(self.next) { end.since(self.next) } else { 0 }
    }

    /// Data or FIN that was never sent.
    fn has_something_new(&self) -> bool {
        self.unsent() > 0 || (self.shut && !self.fin_sent())
    }

    fn fin_sent(&self) -> bool {
        self.shut && (self.fin_acknowledged || self.next.is_after(self.data_end()))
    }

    /// Whether our FIN is sent and acknowledged.
    pub(super) fn is_finished(&self) -> bool {
        self.fin_acknowledged
    }

    /// Whether the peer has everything that we ever queued.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.scoreboard.is_empty()
    }

    /// Bytes sent and not acknowledged, whatever became of them.
    pub(super) fn outstanding(&self) -> usize {
        self.next.since(self.unacknowledged)
    }

    /// Our SYN had to be repeated.
    pub(super) fn restart_from_one(&mut self) {
        self.congestion.restart_from_one();
    }

    /// Takes other options on.
    pub(super) fn set_options(&mut self, options: &SocketOptions) {
        self.nagle = options.nagle;
        self.path_mtu = options.path_mtu;
        self.congestion.set_control(options.congestion);
        self.undo = None;
    }

    /// How much may be under way, as far as congestion is concerned.
    pub(super) fn congestion_window(&self) -> usize {
        self.reduction.as_ref().map_or(self.congestion.window(), |reduction| reduction.window)
    }

    /// Bytes that may be queued now, if they may be `most` together.
    pub(super) fn room(&self, most: usize, pool: &ChunkPool) -> usize {
        let most = if pool.is_short() { CHUNK.min(most) } else { most };
        if self.shut { 0 } else { most.saturating_sub(self.queue.length()) }
    }

    /// Keeps no memory that an idle direction does not need.
    pub(super) fn shrink(&mut self, pool: &mut ChunkPool) {
        self.queue.trim(pool);
        self.scoreboard.shrink();
        self.congestion.shrink();
    }

    /// Gives all memory back.
    pub(super) fn clear(&mut self, pool: &mut ChunkPool) {
        self.queue.clear(pool);
    }
}
