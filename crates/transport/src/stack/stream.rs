//! What a caller does with a connection. A dead id is harmless everywhere: no data, no space, no effect.

use std::time::Instant;

use bytes::Bytes;

use super::{RECEIVE_CHUNKS, Stack};
use crate::demux::Owner;
use crate::error::ReceiveError;
use crate::id::ConnectionId;
use crate::tcp::Status;
use crate::time::Time;

/// TCP: data and the end of it. A dead id is harmless everywhere: no data, no space, no effect.
impl Stack {
    /// What arrived in order and was not consumed, oldest first, without copying; unused parts are empty and come last.
    /// All empty means no data now: the end of the stream if `Event::PeerClosed` was seen (or `is_finished`).
    #[must_use]
    pub fn receive_chunks(&self, id: ConnectionId) -> [&[u8]; RECEIVE_CHUNKS] {
        match self.index(id).and_then(|index| self.connections.get(index)) {
            Some(connection) => connection.receive_slices(),
            None => [&[]; RECEIVE_CHUNKS],
        }
    }

    /// Frees the first `count` bytes of `receive_chunks` (at most what is there), which opens the window.
    pub fn consume(&mut self, now: Instant, id: ConnectionId, count: usize) {
        let now = self.clock.read(now);
        if let Some(index) = self.index(id) {
            self.drive(now, index, |connection, ctx| connection.consume(ctx, count));
        }
    }

    /// When an acknowledgement goes by itself that waits for company (`first_ack_delay`, `ack_delay`).
    #[must_use]
    pub fn acknowledgement_due(&self, id: ConnectionId) -> Option<Instant> {
        let connection = self.index(id).and_then(|index| self.connections.get(index))?;
        self.clock.instant(connection.acknowledgement_due()?)
    }

    /// Lets an acknowledgement go that waits for company: there will be none.
    pub fn acknowledge_early(&mut self, now: Instant, id: ConnectionId) {
        let now = self.clock.read(now);
        if let Some(index) = self.index(id) {
            self.drive(now, index, |connection, _| connection.acknowledge_early());
        }
    }

    /// Whether the peer's FIN arrived and everything before it is consumed. A dead id has not finished: nobody can tell
    /// any more what its peer had to say.
    #[must_use]
    pub fn is_finished(&self, id: ConnectionId) -> bool {
        let connection = self.index(id).and_then(|index| self.connections.get(index));
        connection.is_some_and(|connection| connection.is_finished())
    }

    /// Copies received data out. `Ok(0)` is the end of the stream (or an empty buffer).
    ///
    /// # Errors
    /// `WouldBlock` without data, `Gone` for a dead id.
    pub fn receive_into(&mut self, now: Instant, id: ConnectionId, buffer: &mut [u8]) -> Result<usize, ReceiveError> {
        let now = self.clock.read(now);
        let index = self.index(id).ok_or(ReceiveError::Gone)?;
        let result = self.drive(now, index, |connection, ctx| {
            if connection.has_unread() || connection.is_finished() || buffer.is_empty() {
                Ok(connection.receive_into(ctx, buffer))
            } else {
                Err(ReceiveError::WouldBlock)
            }
        });
        result.unwrap_or(Err(ReceiveError::Gone))
    }

    /// Takes the next bytes that arrived, with the memory that they are in (a part of the whole, copied, if they take less
    /// than half of it). Empty at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` without data, `Gone` for a dead id.
    pub fn receive_bytes(&mut self, now: Instant, id: ConnectionId) -> Result<Bytes, ReceiveError> {
        let now = self.clock.read(now);
        let index = self.index(id).ok_or(ReceiveError::Gone)?;
        let result = self.drive(now, index, |connection, ctx| match connection.receive_bytes(ctx) {
            None if connection.is_finished() => Ok(Bytes::new()),
            bytes => bytes.ok_or(ReceiveError::WouldBlock),
        });
        result.unwrap_or(Err(ReceiveError::Gone))
    }

    /// Contiguous room for data to send, to be filled from the front and then told by `commit`. It may be longer or
    /// shorter than `want`; empty if the send buffer is full (`Event::Writable` follows) or the direction is shut down.
    /// The room is up to 64 KiB: call again after `commit` for more. It is taken back by `send_space` for another
    /// connection and by `poll_transmit`.
    pub fn send_space(&mut self, id: ConnectionId, want: usize) -> &mut [u8] {
        let Some(index) = self.index(id) else { return &mut [] };
        if self.lent.is_none_or(|(lent, _)| lent != index) {
            self.take_back_space();
        }
        let Some(connection) = self.connections.get_mut(index) else { return &mut [] };
        let space = connection.send_space(&mut self.pool, want);
        self.lent = Some((index, space.len()));
        space
    }

    /// Sends the first `count` bytes of the last `send_space`, of which there may be one `commit`; not more than it lent.
    pub fn commit(&mut self, now: Instant, id: ConnectionId, count: usize) {
        let now = self.clock.read(now);
        let Some((index, room)) = self.lent.filter(|(index, _)| self.index(id) == Some(*index)) else { return };
        self.lent = Some((index, 0));
        self.drive(now, index, |connection, ctx| connection.commit(ctx, count.min(room)));
    }

    /// Room that was lent out and not used would keep a chunk per connection.
    pub(super) fn take_back_space(&mut self) {
        if let Some(connection) = self.lent.take().and_then(|(index, _)| self.connections.get_mut(index)) {
            connection.trim(&mut self.pool);
        }
    }

    /// Copies data into the send buffer; how much it took. Less than all means that `Event::Writable` follows.
    pub fn send(&mut self, now: Instant, id: ConnectionId, data: &[u8]) -> usize {
        let now = self.clock.read(now);
        let Some(index) = self.index(id) else { return 0 };
        self.drive(now, index, |connection, ctx| connection.send(ctx, data)).unwrap_or(0)
    }

    /// Takes data into the send buffer as it is, off the front of `data`; how much. What is left means that
    /// `Event::Writable` follows. Segments refer to the memory, which is held until the peer has acknowledged it. Less than
    /// 4 KiB is copied.
    pub fn send_bytes(&mut self, now: Instant, id: ConnectionId, data: &mut Bytes) -> usize {
        let now = self.clock.read(now);
        let Some(index) = self.index(id) else { return 0 };
        self.drive(now, index, |connection, ctx| connection.send_bytes(ctx, data)).unwrap_or(0)
    }

    /// Ends our direction: FIN after what is queued. Receiving goes on.
    pub fn shutdown(&mut self, now: Instant, id: ConnectionId) {
        let now = self.clock.read(now);
        if let Some(index) = self.index(id) {
            self.drive(now, index, |connection, _| connection.shutdown());
        }
    }

    /// Sends RST now and forgets the connection. No event follows, the id is dead.
    pub fn abort(&mut self, now: Instant, id: ConnectionId) {
        let now = self.clock.read(now);
        if let Some(index) = self.index(id) {
            self.abort_index(now, index);
        }
    }

    pub(super) fn abort_index(&mut self, now: Time, index: u32) {
        self.reset_peer(now, index);
        self.remove_connection(index);
    }

    /// Ends both directions: what is queued is still sent, then FIN; TIME-WAIT goes on inside. Unread data, or data that
    /// arrives later, resets the connection instead (RFC 9293 §3.6.1), and so does `SocketOptions::linger` when its time is
    /// over. No event follows, the id is dead.
    pub fn close(&mut self, now: Instant, id: ConnectionId) {
        let now = self.clock.read(now);
        let Some(index) = self.index(id) else { return };
        let Some(connection) = self.connections.get(index) else { return };
        let tuple = connection.tuple;
        if connection.is_over() || self.demux.flow(&tuple) != Some(Owner::Connection(index)) {
            self.remove_connection(index);
        } else if self.drive(now, index, crate::tcp::Connection::close) == Some(true) {
            self.abort_index(now, index);
        }
    }

    /// A snapshot of the connection; `None` for a dead id.
    #[must_use]
    pub fn status(&self, id: ConnectionId) -> Option<Status> {
        self.index(id).and_then(|index| self.connections.get(index)).map(|connection| connection.status())
    }

    /// Every connection that has a caller, in no order that means anything.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        let all = self.connections.iter().filter(|(_, connection)| !connection.orphan);
        all.map(|(index, _)| ConnectionId { index, generation: self.connections.generation(index) })
    }
}
