//! Listening sockets of the stack itself (RFC 9293 §3.10.1, §3.10.7.2).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use super::Stack;
use crate::demux::FourTuple;
use crate::error::ListenError;
use crate::event::Event;
use crate::id::{ConnectionId, ListenerId};
use crate::tcp::Request;
use crate::wire::tcp::Segment;

/// A listener: who knocks, and who is through the door and waits.
#[derive(Debug)]
pub(super) struct Listener {
    local: SocketAddr,
    backlog: usize,
    /// Handshakes under way.
    opening: usize,
    /// Complete handshakes that wait for `accept`, oldest first.
    complete: VecDeque<ConnectionId>,
}

/// TCP: sockets of the stack itself.
impl Stack {
    /// Listens on `local` (an unspecified address means all own addresses of its family), with at most `backlog`
    /// connections that wait for `accept`.
    ///
    /// # Errors
    /// If the address and port are taken or can't be listened on.
    pub fn listen(&mut self, local: SocketAddr, backlog: usize) -> Result<ListenerId, ListenError> {
        let own = local.ip().is_unspecified() || self.output.routes.is_own(local.ip());
        if local.port() == 0 || !own {
            return Err(ListenError::InvalidAddress(local));
        }
        if self.demux.listener(&local).is_some() {
            return Err(ListenError::InUse(local));
        }
        let listener = Listener { local, backlog: backlog.max(1), opening: 0, complete: VecDeque::new() };
        let (index, generation) = self.listeners.insert(listener);
        self.demux.insert_listener(local, index);
        Ok(ListenerId { index, generation })
    }

    /// The oldest connection of a listener whose handshake is complete; `None` until the next `Event::Acceptable`. What it
    /// received meanwhile is told by the usual events afterwards.
    pub fn accept(&mut self, listener: ListenerId) -> Option<ConnectionId> {
        if !self.listeners.is_current(listener.index, listener.generation) {
            return None;
        }
        let id = self.listeners.get_mut(listener.index)?.complete.pop_front()?;
        let connection = self.connections.get_mut(id.index)?;
        connection.listener = None;
        connection.notices.connected = false;
        connection.notices.readable = connection.has_unread();
        connection.notices.peer_closed = connection.peer_closed();
        self.settle(id.index);
        Some(id)
    }

    /// Ends a listener; connections that nobody accepted are reset.
    pub fn unlisten(&mut self, now: Instant, listener: ListenerId) {
        if !self.listeners.is_current(listener.index, listener.generation) {
            return;
        }
        let Some(gone) = self.listeners.remove(listener.index) else { return };
        self.demux.remove_listener(&gone.local);
        let left: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.listener == Some(listener.index))
            .map(|(index, _)| index)
            .collect();
        for index in left {
            self.abort_index(now, index);
        }
    }
}

impl Stack {
    /// A SYN for a listener.
    pub(super) fn request_for_listener(&mut self, now: Instant, index: u32, tuple: &FourTuple, segment: &Segment<'_>) {
        let Some(listener) = self.listeners.get_mut(index) else { return };
        let full = listener.complete.len() >= listener.backlog || listener.opening >= listener.backlog;
        if full || self.connections.len() >= self.config.limits.connections {
            // No answer: the client tries again, when there may be room.
            self.statistics.limited += 1;
            return;
        }
        listener.opening += 1;
        let request = Request::new(segment, tuple.remote().is_ipv6());
        self.answer_request(now, tuple, &request, Some(index));
    }

    /// RFC 9293 §3.10.7.2 second: an acknowledgement has nothing to acknowledge here.
    pub(super) fn acknowledgement_for_listener(
        &mut self,
        now: Instant,
        _index: u32,
        tuple: &FourTuple,
        segment: &Segment<'_>,
    ) {
        self.refuse_segment(now, tuple, segment);
    }

    /// A handshake is complete.
    pub(super) fn ready_to_accept(&mut self, index: u32, id: ConnectionId) {
        let generation = self.listeners.generation(index);
        let Some(listener) = self.listeners.get_mut(index) else { return };
        listener.opening = listener.opening.saturating_sub(1);
        listener.complete.push_back(id);
        self.events.push_back(Event::Acceptable(ListenerId { index, generation }));
    }

    /// A connection that nobody accepted is over.
    pub(super) fn left_backlog(&mut self, index: u32, connection: u32) {
        let Some(listener) = self.listeners.get_mut(index) else { return };
        let before = listener.complete.len();
        listener.complete.retain(|id| id.index != connection);
        if listener.complete.len() == before {
            listener.opening = listener.opening.saturating_sub(1);
        }
    }
}
