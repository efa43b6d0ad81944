//! Listening sockets of the stack itself (RFC 9293 §3.10.1, §3.10.7.2): a queue of those who knock, bounded, with SYN
//! cookies beyond; and a queue of those who are through the door and wait for `accept`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use minato_ports::{Binding, Port, PortTable, Reservation, Transport};

use super::Stack;
use super::options::BindOptions;
use crate::demux::FourTuple;
use crate::error::ListenError;
use crate::event::Event;
use crate::id::{ConnectionId, ListenerId};
use crate::slots::drop_stale;
use crate::tcp::{Beginning, Connection, Request, SocketOptions, State, cookie_timestamp};
use crate::time::{Interval, Time};
use crate::types::canonical;
use crate::wire::tcp::{Flags, Header, Options, Segment};

/// Handshakes under way per listener, at least, before cookies are used.
const OPENING_MIN: usize = 64;

/// How long after the last cookie acknowledgements are still checked for one (its lifetime is two periods of 64 s).
const COOKIES_LAST: Interval = Interval::from_secs(128);

/// A listener. Its reservation in the port table owns the demux entry: both come and go together.
#[derive(Debug)]
pub(super) struct Listener {
    local: SocketAddr,
    bind: BindOptions,
    reservation: Reservation,
    backlog: usize,
    /// Of the connections that it accepts.
    pub(super) options: Arc<SocketOptions>,
    /// Handshakes under way.
    opening: usize,
    /// Complete handshakes that wait for `accept`, oldest first, and some of those that are over already.
    complete: VecDeque<ConnectionId>,
    /// How many of them still wait.
    waiting: usize,
    /// What the last cookies told, and when the last that did so was sent: the newest first. A handshake keeps the options
    /// with which it began.
    told: [Option<(Time, Arc<SocketOptions>)>; 2],
}

impl Listener {
    /// Whether so many wait for `accept` as may.
    fn is_full(&self) -> bool {
        self.waiting >= self.backlog
    }

    /// Whether the next request makes a connection, and not a cookie.
    fn may_remember(&self) -> bool {
        self.opening < self.backlog.max(OPENING_MIN)
    }

    /// A cookie is sent.
    fn note_cookie(&mut self, now: Time) {
        let told = self.told[0].take_if(|(_, told)| !Arc::ptr_eq(told, &self.options));
        if told.is_some() {
            self.told[1] = told;
        }
        self.told[0] = Some((now, Arc::clone(&self.options)));
    }
}

/// TCP: sockets of the stack itself.
impl Stack {
    /// Listens on `local` (an unspecified address means all own addresses of its family), with at most `backlog`
    /// connections that wait for `accept`; further clients try again until there is room. The port table decides, as
    /// `bind(2)` with `SO_REUSEADDR` would.
    ///
    /// # Errors
    /// If the address and port are taken or can't be listened on.
    pub fn listen(&mut self, local: SocketAddr, backlog: usize) -> Result<ListenerId, ListenError> {
        self.listen_with(local, backlog, BindOptions::default())
    }

    /// As `listen`, with options of `bind(2)`.
    ///
    /// # Errors
    /// As `listen`.
    pub fn listen_with(
        &mut self,
        local: SocketAddr,
        backlog: usize,
        bind: BindOptions,
    ) -> Result<ListenerId, ListenError> {
        let local = canonical(local);
        let own = local.ip().is_unspecified() || self.output.routes.is_own(local.ip());
        let port = Port::new(local.port()).filter(|_| own).ok_or(ListenError::InvalidAddress(local))?;
        let bind = bind.for_address(local.ip());
        if let Some(holder) = self.connection_at(local, bind) {
            return Err(ListenError::InUse { local, holder });
        }
        let reservation = self.leases.bind(Transport::Tcp, local, port, bind);
        let reservation = reservation.map_err(|holder: Binding| ListenError::InUse { local, holder })?;
        let listener = Listener {
            local,
            bind,
            reservation,
            backlog: backlog.max(1),
            options: Arc::clone(&self.options),
            opening: 0,
            complete: VecDeque::new(),
            waiting: 0,
            told: [None, None],
        };
        let (index, generation) = self.listeners.insert(listener);
        self.demux.listeners.insert(local, bind.is_dual(), index);
        Ok(ListenerId { index, generation })
    }

    /// The oldest connection of a listener whose handshake is complete; `None` until the next `Event::Acceptable`. What it
    /// received meanwhile is told by the usual events afterwards.
    pub fn accept(&mut self, listener: ListenerId) -> Option<ConnectionId> {
        if !self.listeners.is_current(listener.index, listener.generation) {
            return None;
        }
        let complete = &mut self.listeners.get_mut(listener.index)?.complete;
        let id = std::iter::from_fn(|| complete.pop_front())
            .find(|id| self.connections.is_current(id.index, id.generation))?;
        self.listeners.get_mut(listener.index)?.waiting -= 1;
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
        let now = self.clock.read(now);
        if !self.listeners.is_current(listener.index, listener.generation) {
            return;
        }
        let Some(gone) = self.listeners.remove(listener.index) else { return };
        self.demux.listeners.remove(gone.local, gone.bind.is_dual(), listener.index);
        let waits = |connection: &Connection| connection.listener == Some(listener.index);
        let all = self.connections.iter().filter(|(_, connection)| waits(connection));
        let left: Vec<u32> = all.map(|(index, _)| index).collect();
        for index in left {
            self.abort_index(now, index);
        }
        self.leases.unbind(gone.reservation);
    }

    /// The bindings of the stack's own sockets: listeners, their connections, connections that chose their port, and those
    /// in TIME-WAIT.
    #[must_use]
    pub fn ports(&self) -> &PortTable {
        self.leases.table()
    }
}

impl Stack {
    /// A connection to elsewhere, in TIME-WAIT or before it, whose ephemeral port is in the way, as it is for Linux' `bind(2)`,
    /// also with `SO_REUSEADDR`, since that must be set on both. All are asked: listening is rare, and connections should not
    /// pay for it.
    fn connection_at(&self, local: SocketAddr, bind: BindOptions) -> Option<Binding> {
        let in_the_way = |own: &SocketAddr| {
            let family = bind.is_dual() || own.is_ipv4() == local.is_ipv4();
            let overlaps = own.ip() == local.ip() || (local.ip().is_unspecified() && family);
            own.port() == local.port() && overlaps
        };
        let connections = self.connections.iter().map(|(_, connection)| (connection.tuple, &connection.lease));
        let remembered = self.time_waits.iter().map(|time_wait| (time_wait.tuple, &time_wait.lease));
        let ephemeral = connections.chain(remembered).filter(|(_, lease)| lease.is_ephemeral());
        let own = ephemeral.map(|(tuple, _)| tuple.local()).find(in_the_way)?;
        let port = Port::new(own.port())?;
        Some(Binding { transport: Transport::Tcp, address: own.ip().into(), port })
    }

    /// Whether a SYN for this listener that takes over from a connection in TIME-WAIT makes a connection now. There are no
    /// more of these than there were connections, so a flood elsewhere does not count.
    pub(super) fn may_take_over(&self, index: u32) -> bool {
        let room = |listener: &Listener| !listener.is_full();
        self.connections.len() < self.config.limits.connections && self.listeners.get(index).is_some_and(room)
    }

    /// A SYN for a listener.
    pub(super) fn request_for_listener(&mut self, now: Time, index: u32, tuple: &FourTuple, request: &Request) {
        let Some(listener) = self.listeners.get_mut(index) else { return };
        if listener.is_full() || self.connections.len() >= self.config.limits.connections {
            // No answer: the client tries again, when there may be room.
            self.statistics.limited += 1;
            return;
        }
        if !listener.may_remember() && request.succeeds.is_none() {
            listener.note_cookie(now);
            let options = Arc::clone(&listener.options);
            self.answer_with_cookie(now, tuple, request, &options);
            return;
        }
        listener.opening += 1;
        let lease = self.leases.accept(&listener.reservation, tuple.local());
        let options = Arc::clone(&listener.options);
        let id = self.answer_request(now, tuple, request, options);
        if let Some(connection) = self.connections.get_mut(id.index) {
            connection.listener = Some(index);
            connection.lease = lease;
        }
    }

    /// RFC 4987 §3.6: SYN-ACK, and nothing is remembered.
    fn answer_with_cookie(&mut self, now: Time, tuple: &FourTuple, request: &Request, options: &SocketOptions) {
        let config = &self.config.tcp;
        let request = &Request {
            timestamp: request.timestamp.filter(|_| config.timestamps),
            sack_permitted: request.sack_permitted && config.sack,
            ecn: request.ecn && config.ecn,
            ..*request
        };
        let clock = now.milliseconds().wrapping_add(self.initial.timestamp_offset(tuple));
        let timestamp = cookie_timestamp(clock, request);
        let segment_size = self.link_limits.of(tuple).segment_size_of(options);
        let scale = request.window_scale.filter(|_| timestamp.is_some());
        let header = Header {
            seq: self.cookies.make(now, tuple, request, options),
            ack: Some(request.initial.plus(1)),
            flags: Flags { syn: true, ece: request.ecn && timestamp.is_some(), ..Flags::default() },
            window: options.first_window(),
            options: Options {
                maximum_segment_size: Some(segment_size),
                window_scale: scale.map(|_| options.window_shift()),
                sack_permitted: request.sack_permitted && timestamp.is_some(),
                timestamp,
                ..Options::default()
            },
        };
        self.send_header(now, tuple, &header, options.service());
    }

    /// An acknowledgement for a listener: of a cookie, or of nothing (RFC 9293 §3.10.7.2 second).
    pub(super) fn acknowledgement_for_listener(
        &mut self,
        now: Time,
        index: u32,
        tuple: &FourTuple,
        segment: &Segment<'_>,
    ) {
        let Some(listener) = self.listeners.get_mut(index) else { return };
        let plain = !segment.flags.syn && !segment.flags.rst;
        let recent = listener.told.iter().flatten().filter(|(at, _)| plain && now.since(*at) < COOKIES_LAST);
        let found = recent.into_iter().find_map(|(_, options)| {
            let (request, initial) = self.cookies.check(now, tuple, segment, options)?;
            Some((request, initial, Arc::clone(options)))
        });
        let Some((request, initial, options)) = found else { return self.refuse_segment(now, tuple, segment) };
        if listener.is_full() || self.connections.len() >= self.config.limits.connections {
            // The client repeats its data until there is room.
            self.statistics.limited += 1;
            return;
        }
        listener.opening += 1;
        let lease = self.leases.accept(&listener.reservation, tuple.local());
        let beginning = Beginning { initial, ..self.beginning(now, tuple, None, options) };
        let mut connection = Connection::from_cookie(beginning, &request, &self.config.tcp);
        connection.listener = Some(index);
        connection.lease = lease;
        self.add_connection(connection);
        self.receive_again(now, tuple, segment);
    }

    /// Whether a segment would complete a handshake while its listener has no room. It is dropped, as in Linux: the client
    /// repeats its data, and our SYN-ACK is repeated, until there is room.
    pub(super) fn must_wait(&self, index: u32, segment: &Segment<'_>) -> bool {
        let Some(connection) = self.connections.get(index) else { return false };
        let Some(listener) = connection.listener else { return false };
        let completes = connection.state() == State::SynReceived && segment.ack.is_some() && !segment.flags.rst;
        completes && self.listeners.get(listener).is_some_and(Listener::is_full)
    }

    /// A handshake is complete.
    pub(super) fn ready_to_accept(&mut self, index: u32, id: ConnectionId) {
        let generation = self.listeners.generation(index);
        let Some(listener) = self.listeners.get_mut(index) else { return };
        listener.opening = listener.opening.saturating_sub(1);
        listener.complete.push_back(id);
        listener.waiting += 1;
        self.events.push_back(Event::Acceptable(ListenerId { index, generation }));
    }

    /// A connection that nobody accepted is over, and no longer among the others.
    pub(super) fn left_backlog(&mut self, index: u32, state: State) {
        let Some(listener) = self.listeners.get_mut(index) else { return };
        if state == State::SynReceived {
            listener.opening = listener.opening.saturating_sub(1);
        } else {
            listener.waiting = listener.waiting.saturating_sub(1);
            let handle = |id: &ConnectionId| (id.index, id.generation);
            drop_stale(&mut listener.complete, listener.waiting, &self.connections, handle);
        }
    }
}
