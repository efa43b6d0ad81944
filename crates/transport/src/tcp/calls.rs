//! What a caller does with a connection (RFC 9293 §3.10.1 to §3.10.6).

use std::time::Duration;

use bytes::Bytes;

use super::buffer::{ChunkPool, ChunkQueue};
use super::status::{State, Status};
use super::{Config, Connection, Context};

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
        self.receive.after_reading(ctx.now, count, round_trip, size, ctx.config, ctx.pool.is_short());
    }

    /// Whether data may still be queued.
    fn may_send(&self) -> bool {
        !self.send.shut
            && matches!(self.state, State::SynSent | State::SynReceived | State::Established | State::CloseWait)
    }

    pub(crate) fn send_space(&mut self, config: &Config, pool: &mut ChunkPool, want: usize) -> &mut [u8] {
        let room = if self.may_send() { self.send.room(config, pool) } else { 0 };
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
        let count = data.len().min(self.room(ctx));
        self.send.queue.push(&data[..count], ctx.pool);
        if count < data.len() {
            self.send.wants_space |= self.may_send();
        }
        count
    }

    /// As `send`, without a copy: takes what there is room for off the front of `data`.
    pub(crate) fn send_bytes(&mut self, ctx: &mut Context<'_>, data: &mut Bytes) -> usize {
        let count = data.len().min(self.room(ctx));
        let now = data.split_to(count);
        self.send.queue.push_shared(now, ctx.pool);
        if !data.is_empty() {
            self.send.wants_space |= self.may_send();
        }
        count
    }

    /// How many bytes may be queued now.
    fn room(&self, ctx: &Context<'_>) -> usize {
        if self.may_send() { self.send.room(ctx.config, ctx.pool) } else { 0 }
    }

    pub(crate) fn set_nagle(&mut self, on: bool) {
        self.send.nagle = on;
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
        self.shutdown();
        self.orphan = true;
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
