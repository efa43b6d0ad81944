//! What a caller does with a connection (RFC 9293 §3.10.1 to §3.10.6).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::buffer::{CHUNK, ChunkPool, ChunkQueue};
use super::status::{State, Status};
use super::{Connection, Context, LinkLimits, SocketOptions};
use crate::time::Time;

impl Connection {
    pub(crate) fn receive_slices<const N: usize>(&self) -> [&[u8]; N] {
        self.receive.queue.slices(0, self.receive.queue.length()).0
    }

    pub(crate) fn send_queue(&self) -> &ChunkQueue {
        &self.send.queue
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.receive.queue.is_empty()
    }

    /// Whether the peer's FIN arrived and all before it is read.
    pub(crate) fn is_finished(&self) -> bool {
        self.receive.finished && self.receive.queue.is_empty()
    }

    pub(crate) fn peer_closed(&self) -> bool {
        self.receive.finished
    }

    pub(crate) fn acknowledgement_due(&self) -> Option<Time> {
        self.receive.acknowledge_at
    }

    pub(crate) fn acknowledge_early(&mut self) {
        self.receive.acknowledge_early();
    }

    pub(crate) fn consume(&mut self, ctx: &mut Context<'_>, count: usize) {
        let count = count.min(self.receive.queue.length());
        self.receive.queue.consume(count, ctx.pool);
        self.after_reading(ctx, count);
    }

    pub(crate) fn receive_into(&mut self, ctx: &mut Context<'_>, buffer: &mut [u8]) -> usize {
        let count = self.receive.queue.pop_into(buffer, ctx.pool);
        self.after_reading(ctx, count);
        count
    }

    /// As `receive_into`, with the memory; `None` without data.
    pub(crate) fn receive_bytes(&mut self, ctx: &mut Context<'_>) -> Option<Bytes> {
        let bytes = self.receive.queue.pop_shared(ctx.pool)?;
        self.after_reading(ctx, bytes.len());
        Some(bytes)
    }

    fn after_reading(&mut self, ctx: &mut Context<'_>, count: usize) {
        let round_trip = self.send.round_trip.smoothed();
        let size = self.send.payload_size();
        let most = self.options.receive_buffer_max;
        self.receive.after_reading(ctx.now, count, round_trip, size, most, ctx.pool.is_short());
    }

    /// Whether data may still be queued.
    fn may_send(&self) -> bool {
        !self.send.shut
            && matches!(self.state, State::SynSent | State::SynReceived | State::Established | State::CloseWait)
    }

    pub(crate) fn send_space(&mut self, pool: &mut ChunkPool, want: usize) -> &mut [u8] {
        let room = self.room(pool);
        if room == 0 {
            self.send.wants_space |= self.may_send();
            return &mut [];
        }
        let space = self.send.queue.space(want.min(room), pool);
        let length = space.len().min(room);
        if length < want && length == room {
            self.send.wants_space = true;
        }
        &mut space[..length]
    }

    /// How many bytes became part of the stream.
    pub(crate) fn commit(&mut self, ctx: &mut Context<'_>, count: usize) -> usize {
        if !self.may_send() {
            return 0;
        }
        // What was lent is taken, also if memory became short meanwhile.
        self.send.queue.commit(count, ctx.pool)
    }

    pub(crate) fn trim(&mut self, pool: &mut ChunkPool) {
        self.send.queue.trim(pool);
    }

    pub(crate) fn send(&mut self, ctx: &mut Context<'_>, data: &[u8]) -> usize {
        let count = data.len().min(self.room(ctx.pool));
        self.send.queue.push(&data[..count], ctx.pool);
        if count < data.len() {
            self.send.wants_space |= self.may_send();
        }
        count
    }

    /// As `send`, without a copy: takes what there is room for off the front of `data`.
    pub(crate) fn send_bytes(&mut self, ctx: &mut Context<'_>, data: &mut Bytes) -> usize {
        let count = data.len().min(self.room(ctx.pool));
        let now = data.split_to(count);
        self.send.queue.push_shared(now, ctx.pool);
        if !data.is_empty() {
            self.send.wants_space |= self.may_send();
        }
        count
    }

    /// How many bytes may be queued now.
    fn room(&self, pool: &ChunkPool) -> usize {
        if self.may_send() { self.send.room(self.options.send_buffer_max, pool) } else { 0 }
    }

    /// Tells a caller that was short of space, if there is enough now.
    pub(super) fn offer_space(&mut self, ctx: &Context<'_>) {
        let most = self.options.send_buffer_max;
        if self.send.wants_space && self.send.room(most, ctx.pool) >= (most / 4).min(CHUNK / 4) {
            self.send.wants_space = false;
            self.notices.writable = true;
        }
    }

    pub(crate) fn options(&self) -> &Arc<SocketOptions> {
        &self.options
    }

    /// Takes other options on. What our SYN tells is changed only before it left.
    pub(crate) fn set_options(&mut self, ctx: &mut Context<'_>, limits: &LinkLimits, options: SocketOptions) {
        let begins = self.send.next == self.send.initial;
        self.send.set_options(&options);
        self.receive.set_buffers(&options, begins);
        if begins {
            let own = limits.segment_size_of(&options);
            if self.active {
                self.send.set_segment_size(own, self.send.option_bytes);
            } else {
                self.agree_sizes(ctx.now, own);
            }
        }
        if !self.active && !self.agreed.window_scale {
            self.receive.window_shift = 0;
        }
        if options.keep_alive != self.options.keep_alive {
            self.keep_alive_probes = 0;
            let runs = !self.is_over() && !matches!(self.state, State::SynSent | State::SynReceived);
            let begun = options.keep_alive.filter(|_| runs);
            self.keep_alive_at = begun.map(|keep_alive| (self.heard + keep_alive.idle).max(ctx.now));
        }
        self.options = Arc::new(options);
        if !begins {
            self.after_reading(ctx, 0);
        }
        self.offer_space(ctx);
    }

    /// Ends our direction: RFC 9293 §3.10.4.
    pub(crate) fn shutdown(&mut self) {
        if !self.may_send() {
            return;
        }
        self.send.shut = true;
        match self.state {
            State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            // FIN follows once the handshake is complete.
            _ => {}
        }
    }

    /// The caller gives the connection up. `true` if it must be reset now: unread data would be lost silently
    /// (RFC 9293 §3.6.1), or the handshake is not even answered.
    pub(crate) fn close(&mut self, ctx: &mut Context<'_>) -> bool {
        if self.has_unread() || self.state == State::SynSent {
            return true;
        }
        if self.options.linger == Some(Duration::ZERO) {
            return true;
        }
        self.shutdown();
        self.orphan = true;
        self.expires = self.options.linger.map(|linger| ctx.now + linger);
        self.expires_when_waiting(ctx);
        false
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            state: self.state,
            local: self.tuple.local(),
            remote: self.tuple.remote(),
            readable: self.receive.queue.length(),
            queued: self.send.queue.length(),
            in_flight: self.send.outstanding(),
            bytes_received: self.receive.bytes_received,
            bytes_acknowledged: self.send.bytes_acknowledged,
            retransmits: self.send.retransmits,
            round_trip: self.send.round_trip.smoothed().map(Duration::from),
            congestion_window: self.send.congestion_window(),
            peer_window: self.send.window,
            own_window: self.receive.window(),
            segment_size: self.send.payload_size(),
        }
    }
}
