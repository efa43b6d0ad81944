//! What to send next (RFC 9293 §3.8.6.2.1, RFC 6675 §5).

use super::SendHalf;
use crate::stack::BODY_SLICES;
use crate::tcp::{Context, Seq};

/// A stretch of the stream to send in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) struct Span {
    pub(in crate::tcp) start: Seq,
    /// Where its first byte is in the queue.
    pub(in crate::tcp) offset: usize,
    pub(in crate::tcp) length: usize,
    /// Payload of one segment on the wire.
    pub(in crate::tcp) segment: usize,
    pub(in crate::tcp) fin: bool,
    /// Nothing is queued after it.
    pub(in crate::tcp) last: bool,
    pub(in crate::tcp) retransmission: bool,
}

/// The sender's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) enum Transmission {
    Span(Span),
    /// An empty segment just left of the window, which the peer must answer (RFC 9293 §3.10.7.4).
    WindowProbe,
    Nothing,
}

/// Segments that must be able to follow a probe of the path: three show that it is lost, and one is to spare.
const PROBE_FOLLOWERS: usize = 4;

/// How much one segment may carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Payload of one segment on the wire.
    pub(super) segment: usize,
    /// Payload of one segment as it is given to the link.
    pub(super) most: usize,
}

impl SendHalf {
    /// Chooses and books the next transmission. `segment` is the payload of one segment on the wire, `most` what may be
    /// given to the link at once.
    pub(in crate::tcp) fn next_transmission(
        &mut self,
        ctx: &mut Context<'_>,
        segment: usize,
        most: usize,
    ) -> Transmission {
        let sizes = Sizes { segment, most };
        if self.timers.probe_due {
            if let Some(span) = self.tail_probe(ctx, sizes) {
                return Transmission::Span(span);
            }
            self.timers.probe_due = false;
        }
        if let Some(transmission) = self.forward_transmission(ctx, sizes) {
            return transmission;
        }
        if let Some(span) = self.lost_span(ctx, sizes) {
            return Transmission::Span(span);
        }
        if let Some(span) = self.path_probe(ctx, sizes).or_else(|| self.new_span(ctx, sizes, false)) {
            return Transmission::Span(span);
        }
        if self.timers.window_probe_due {
            self.timers.window_probe_due = false;
            return Transmission::WindowProbe;
        }
        Transmission::Nothing
    }

    /// Whether `next_transmission` may have another one.
    pub(in crate::tcp) fn has_more(&mut self) -> bool {
        if self.has_something_new() {
            return true;
        }
        self.window_limited = false;
        self.timers.probe_due || self.timers.window_probe_due || self.scoreboard.has_lost()
    }

    /// RFC 6675 §5 (C): what is lost goes first, as the pipe allows; after a timeout one segment always may, and so may the
    /// first of a recovery.
    fn lost_span(&mut self, ctx: &mut Context<'_>, sizes: Sizes) -> Option<Span> {
        let (start, end) = self.scoreboard.first_lost()?;
        let in_flight = self.in_flight();
        let room = self.congestion_window().saturating_sub(in_flight);
        let due = std::mem::take(&mut self.rack.repair_due);
        if room < sizes.segment && in_flight > 0 && !due {
            return None;
        }
        let room = (room / sizes.segment * sizes.segment).max(sizes.segment);
        Some(self.again(ctx, start, end, Sizes { most: room.min(sizes.most), ..sizes }))
    }

    fn again(&mut self, ctx: &mut Context<'_>, start: Seq, end: Seq, sizes: Sizes) -> Span {
        let data_end = self.data_end();
        let offset = start.since(self.unacknowledged);
        let data = if data_end.is_after(start) { end.min(data_end).since(start) } else { 0 };
        let length = self.queue.reach(offset, data.min(sizes.most), BODY_SLICES);
        let fin = length == data && end.is_after(data_end);
        let stop = start.plus(length + usize::from(fin));
        self.scoreboard.retransmit(start, stop, ctx.now);
        self.retransmits += length.div_ceil(sizes.segment).max(1) as u64;
        self.note_repair(ctx.now, length);
        self.note_reduced(length);
        self.start_timers(ctx.now, ctx.config);
        let last = stop.is_at_or_after(data_end);
        Span { start, offset, length, segment: sizes.segment, fin, last, retransmission: true }
    }

    /// RFC 8985 §7.3: new data if there is any that may go, otherwise the last segment again.
    fn tail_probe(&mut self, ctx: &mut Context<'_>, sizes: Sizes) -> Option<Span> {
        let one = Sizes { most: sizes.segment, ..sizes };
        if let Some(span) = self.new_span(ctx, one, true) {
            self.probe_sent(ctx.now, ctx.config, false);
            return Some(span);
        }
        let last = *self.scoreboard.last()?;
        if last.sacked || last.lost {
            return None;
        }
        let length = last.end.since(last.start);
        let start = if length > sizes.segment { last.end.minus(sizes.segment) } else { last.start };
        let span = self.again(ctx, start, last.end, one);
        self.probe_sent(ctx.now, ctx.config, true);
        Some(span)
    }

    /// New data (or FIN) within the peer's window and the congestion window.
    pub(super) fn new_span(&mut self, ctx: &mut Context<'_>, sizes: Sizes, beyond_congestion: bool) -> Option<Span> {
        let unsent = self.unsent();
        let fin_waits = self.shut && !self.fin_sent();
        if !self.has_something_new() {
            self.window_limited = false;
            return None;
        }
        self.restart_if_idle(ctx);
        let edge = self.unacknowledged.plus(self.window);
        let offered = if edge.is_after(self.next) { edge.since(self.next) } else { 0 };
        let congestion = self.congestion_window().saturating_sub(self.in_flight());
        let congestion = if beyond_congestion { sizes.segment } else { congestion };
        let allowed = unsent.min(offered).min(congestion).min(sizes.most);
        let length = whole_segments(allowed, unsent, sizes.segment);
        let offset = self.next.since(self.unacknowledged);
        let reached = self.queue.reach(offset, length, BODY_SLICES);
        // What the pieces of memory end counts as full: the next begin a segment of their own.
        let cut = reached < length;
        let mut length = whole_segments(reached, unsent, sizes.segment);
        let held = self.nagle && !self.shut && self.small_end.is_after(self.unacknowledged);
        if held && length > sizes.segment {
            length = length / sizes.segment * sizes.segment;
        }
        let fin = fin_waits && length == unsent && offered > length;
        let full = cut || length >= sizes.segment;
        if !fin && !self.is_worth_sending(length, unsent, full, held) {
            self.window_limited = congestion < unsent.min(offered);
            if self.outstanding() == 0 {
                self.start_persist(ctx.now, ctx.config);
            }
            return None;
        }
        if !cut && !length.is_multiple_of(sizes.segment) {
            self.small_end = self.next.plus(length + usize::from(fin));
        }
        Some(self.book(ctx, length, sizes.segment, fin))
    }

    /// The next `length` bytes, and FIN after them, are sent.
    fn book(&mut self, ctx: &Context<'_>, length: usize, segment: usize, fin: bool) -> Span {
        let (start, offset, last) = (self.next, self.outstanding(), length == self.unsent());
        self.next = start.plus(length + usize::from(fin));
        self.scoreboard.push(start, self.next, ctx.now);
        self.note_reduced(length);
        self.last_sent = Some(ctx.now);
        self.start_timers(ctx.now, ctx.config);
        Span { start, offset, length, segment, fin, last, retransmission: false }
    }

    /// RFC 9937: prr_out.
    fn note_reduced(&mut self, length: usize) {
        if let Some(reduction) = &mut self.reduction {
            reduction.note_sent(length);
        }
    }

    /// RFC 4821 §7.4: a segment larger than the others, where so much follows it that its loss shows at once, and the
    /// congestion window is large enough for its loss to matter little.
    fn path_probe(&mut self, ctx: &Context<'_>, sizes: Sizes) -> Option<Span> {
        let plain = self.search.is_some() && sizes.segment == self.payload_size();
        if !plain || self.unsent() == 0 {
            return None;
        }
        self.restart_if_idle(ctx);
        let size = self.probe_size(ctx.now)?;
        let length = usize::from(size - self.option_bytes);
        let needed = length + PROBE_FOLLOWERS * sizes.segment;
        let (offset, window) = (self.outstanding(), self.congestion.window());
        let may = window.min(self.window).saturating_sub(offset.max(self.in_flight()));
        let fits = self.unsent().min(self.window).min(window) >= needed
            && may >= length
            && self.queue.reach(offset, length, BODY_SLICES) == length;
        if !fits {
            return None;
        }
        let span = self.book(ctx, length, length, false);
        self.probing(span.start, self.next, size);
        Some(span)
    }

    /// RFC 9293 §3.8.6.2.1, the sender's half of avoiding silly windows, and §3.7.4 (Nagle) as Minshall changed it: only a
    /// small segment under way holds (`held`) another one back, so that the tail of a large write waits for nobody.
    fn is_worth_sending(&mut self, length: usize, unsent: usize, full: bool, held: bool) -> bool {
        if length == 0 {
            return false;
        }
        let all = length == unsent;
        let half_window = length >= self.window_max / 2;
        // The override timer is the window probe's: it sends what fits.
        let overdue = std::mem::take(&mut self.timers.window_probe_due);
        full || half_window || overdue || (all && !held)
    }

    /// RFC 5681 §4.1.
    fn restart_if_idle(&mut self, ctx: &Context<'_>) {
        let Some(last) = self.last_sent.filter(|_| self.outstanding() == 0) else { return };
        let timeout = self.round_trip.timeout(ctx.config);
        if ctx.now.since(last) > timeout {
            self.congestion.on_idle();
            self.last_sent = Some(ctx.now);
        }
    }

    /// Whether CWR must be set on new data (RFC 3168 §6.1.2), once.
    pub(in crate::tcp) fn take_congestion_window_reduced(&mut self) -> bool {
        std::mem::take(&mut self.congestion_window_reduced)
    }
}

/// Less than all is cut to whole segments, so that the stream is not chopped where a window happened to end.
fn whole_segments(allowed: usize, unsent: usize, segment: usize) -> usize {
    if allowed < unsent && allowed > segment { allowed / segment * segment } else { allowed }
}
