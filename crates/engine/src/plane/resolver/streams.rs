//! Questions that come on connections (RFC 7766): several on each, answered in the order in which the answers come.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use minato_relay::IdleQueue;
use minato_transport::tcp::State;
use minato_transport::{ConnectionId, Incoming};
use slab::Slab;

use super::Asker;
use super::upstream::{LENGTH, framed};
use crate::plane::Plane;

/// How long a connection may be idle (RFC 7766 §6.2.3: a few seconds).
const IDLE: Duration = Duration::from_secs(10);
/// Most connections of one address of a host; beyond, the longest idle one makes room.
const MAX_STREAMS: usize = 64;
/// Most questions of one connection that wait for their answers; more are read when these are answered.
const MAX_PENDING: usize = 32;
/// Most questions taken from one connection in one turn.
const BATCH: usize = 16;
/// Most bytes of answers that one connection may leave unread: almost four of the longest.
const MAX_OUTGOING: usize = 4 << 16;
/// Longest question: what is longer is none that a resolver would take.
const MAX_QUESTION: usize = 16 << 10;

/// A connection's place and serial number, which tells it from others that have had its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plane) struct StreamId {
    place: usize,
    serial: u64,
}

/// A connection.
#[derive(Debug)]
struct Stream {
    serial: u64,
    connection: ConnectionId,
    client: SocketAddr,
    /// Questions without an answer.
    pending: usize,
    /// Answers that the connection had no room for.
    outgoing: VecDeque<u8>,
    last_used: Instant,
    /// It waits in the queue of those to be looked at.
    queued: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Streams {
    streams: Slab<Stream>,
    /// Looked up for every event of a connection that is no flow's. Keyed by our stack's handles, which no peer chooses.
    places: HashMap<ConnectionId, usize>,
    /// Those to be looked at in the next turn.
    queue: VecDeque<StreamId>,
    idle: IdleQueue<StreamId>,
    serial: u64,
}

impl Default for Streams {
    fn default() -> Streams {
        Streams {
            streams: Slab::new(),
            places: HashMap::new(),
            queue: VecDeque::new(),
            idle: IdleQueue::new(IDLE),
            serial: 0,
        }
    }
}

impl Streams {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.idle.deadline()
    }

    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Who asks on a connection that is still there.
    pub(super) fn client(&self, id: StreamId) -> Option<SocketAddr> {
        self.get(id).map(|stream| stream.client)
    }

    fn get(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(id.place).filter(|stream| stream.serial == id.serial)
    }

    fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.get_mut(id.place).filter(|stream| stream.serial == id.serial)
    }

    fn of(&self, connection: ConnectionId) -> Option<StreamId> {
        let place = *self.places.get(&connection)?;
        self.streams.get(place).map(|stream| StreamId { place, serial: stream.serial })
    }

    fn enqueue(&mut self, id: StreamId) {
        if let Some(stream) = self.get_mut(id)
            && !std::mem::replace(&mut stream.queued, true)
        {
            self.queue.push_back(id);
        }
    }

    fn add(&mut self, now: Instant, connection: ConnectionId, client: SocketAddr) {
        self.serial += 1;
        let serial = self.serial;
        let outgoing = VecDeque::new();
        let stream = Stream { serial, connection, client, pending: 0, outgoing, last_used: now, queued: false };
        let place = self.streams.insert(stream);
        self.places.insert(connection, place);
        self.idle.add(now, StreamId { place, serial });
    }

    fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let connection = self.get(id)?.connection;
        self.places.remove(&connection);
        self.streams.try_remove(id.place)
    }

    /// Connections from these addresses.
    fn from(&self, addresses: &[IpAddr]) -> Vec<StreamId> {
        let from = self.streams.iter().filter(|(_, stream)| addresses.contains(&stream.client.ip()));
        from.map(|(place, stream)| StreamId { place, serial: stream.serial }).collect()
    }

    /// The one of too many connections from an address that has been idle for the longest time.
    fn surplus(&self, address: IpAddr) -> Option<StreamId> {
        let from = self.from(&[address]);
        let idle_since = |id: &StreamId| self.get(*id).map(|stream| (stream.pending > 0, stream.last_used));
        if from.len() < MAX_STREAMS { None } else { from.into_iter().min_by_key(idle_since) }
    }
}

impl Plane {
    /// Accepts a connection to the gateway's port 53.
    pub(in crate::plane) fn accept_stream(&mut self, incoming: Incoming) {
        if let Some(surplus) = self.resolver.streams.surplus(incoming.source.ip()) {
            self.end_stream(surplus);
        }
        if let Ok(connection) = self.stack.accept_incoming(self.now, incoming.id) {
            self.resolver.streams.add(self.now, connection, incoming.source);
        }
    }

    /// Something has happened to a connection; `false` if it is none of these.
    pub(in crate::plane) fn stream_ready(&mut self, connection: ConnectionId) -> bool {
        let found = self.resolver.streams.of(connection);
        if let Some(id) = found {
            self.resolver.streams.enqueue(id);
        }
        found.is_some()
    }

    /// The connection is gone; `false` if it is none of these.
    pub(in crate::plane) fn stream_reset(&mut self, connection: ConnectionId) -> bool {
        let found = self.resolver.streams.of(connection);
        found.and_then(|id| self.resolver.streams.remove(id)).is_some()
    }

    /// Looks at each connection that was in the queue when the turn began.
    pub(in crate::plane) fn pump_streams(&mut self) {
        for _ in 0..self.resolver.streams.queue.len() {
            let Some(id) = self.resolver.streams.queue.pop_front() else { return };
            if let Some(stream) = self.resolver.streams.get_mut(id) {
                stream.queued = false;
                self.pump_stream(id);
            }
        }
    }

    fn pump_stream(&mut self, id: StreamId) {
        for _ in 0..BATCH {
            self.flush_stream(id);
            let Some(stream) = self.resolver.streams.get_mut(id) else { return };
            if !stream.outgoing.is_empty() || stream.pending >= MAX_PENDING {
                return;
            }
            match next_question(&self.stack.receive_chunks(stream.connection)) {
                Next::Question(question) => {
                    stream.pending += 1;
                    stream.last_used = self.now;
                    self.stack.consume(self.now, stream.connection, LENGTH + question.len());
                    self.ask(Asker::Stream(id), question);
                }
                Next::TooLong => return self.end_stream(id),
                Next::Incomplete => {
                    let idle = stream.pending == 0;
                    if idle && self.peer_has_ended(id) {
                        self.end_stream(id);
                    }
                    return;
                }
            }
        }
        self.resolver.streams.enqueue(id);
    }

    fn peer_has_ended(&self, id: StreamId) -> bool {
        let status = self.resolver.streams.get(id).and_then(|stream| self.stack.status(stream.connection));
        status.is_none_or(|status| !matches!(status.state, State::SynReceived | State::Established))
    }

    /// Gives the connection what it has room for.
    fn flush_stream(&mut self, id: StreamId) {
        let Some(stream) = self.resolver.streams.get_mut(id) else { return };
        while !stream.outgoing.is_empty() {
            let sent = self.stack.send(self.now, stream.connection, stream.outgoing.as_slices().0);
            if sent == 0 {
                return;
            }
            stream.outgoing.drain(..sent);
            stream.last_used = self.now;
        }
    }

    pub(super) fn answer_stream(&mut self, id: StreamId, answer: &[u8]) {
        self.flush_stream(id);
        let Some(stream) = self.resolver.streams.get_mut(id) else { return };
        stream.pending = stream.pending.saturating_sub(1);
        if stream.outgoing.len() + answer.len() > MAX_OUTGOING {
            // Who asks for so much and reads none of it is not waited for.
            return self.abort_stream(id);
        }
        stream.outgoing.extend(framed(answer));
        // Not at once: an answer may be that of a question which the pump is just taking.
        self.resolver.streams.enqueue(id);
    }

    /// Closes a connection, after what was sent on it.
    pub(super) fn end_stream(&mut self, id: StreamId) {
        if let Some(stream) = self.resolver.streams.remove(id) {
            // What is no whole question is thrown away: unread, it would make a reset of the end, which overtakes answers.
            let rest = self.stack.receive_chunks(stream.connection).iter().map(|chunk| chunk.len()).sum();
            self.stack.consume(self.now, stream.connection, rest);
            self.stack.close(self.now, stream.connection);
        }
    }

    pub(in crate::plane) fn expire_streams(&mut self) {
        loop {
            let Streams { streams, idle, .. } = &mut self.resolver.streams;
            let used = |id: StreamId| {
                let stream = streams.get(id.place).filter(|stream| stream.serial == id.serial);
                // One that waits for an answer is not idle.
                stream.map(|stream| if stream.pending > 0 { self.now } else { stream.last_used })
            };
            let Some(id) = idle.expire(self.now, used) else { return };
            self.end_stream(id);
        }
    }

    /// Ends the connections of a host that goes away.
    pub(in crate::plane) fn end_streams_of(&mut self, addresses: &[IpAddr]) {
        for id in self.resolver.streams.from(addresses) {
            self.abort_stream(id);
        }
    }

    fn abort_stream(&mut self, id: StreamId) {
        if let Some(stream) = self.resolver.streams.remove(id) {
            self.stack.abort(self.now, stream.connection);
        }
    }
}

/// What a connection has.
enum Next {
    Question(Vec<u8>),
    TooLong,
    Incomplete,
}

/// The next question among bytes that have arrived.
fn next_question(chunks: &[&[u8]]) -> Next {
    let mut bytes = chunks.iter().copied().flatten().copied();
    let (Some(high), Some(low)) = (bytes.next(), bytes.next()) else { return Next::Incomplete };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_QUESTION {
        return Next::TooLong;
    }
    let question: Vec<u8> = bytes.take(length).collect();
    if question.len() == length { Next::Question(question) } else { Next::Incomplete }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(chunks: &[&[u8]]) -> Option<Vec<u8>> {
        match next_question(chunks) {
            Next::Question(question) => Some(question),
            Next::Incomplete => None,
            Next::TooLong => panic!("too long"),
        }
    }

    #[test]
    fn a_question_is_taken_when_all_of_it_is_there() {
        let bytes = framed(b"question");
        for end in 0..bytes.len() {
            assert_eq!(next(&[&bytes[..end]]), None, "the first {end} bytes");
        }
        for cut in 0..=bytes.len() {
            assert_eq!(
                next(&[&bytes[..cut], &bytes[cut..], b"more"]).as_deref(),
                Some(&b"question"[..]),
                "cut at {cut}"
            );
        }
        assert_eq!(next(&[&[0, 0]]), Some(Vec::new()));
        assert!(matches!(next_question(&[&[0xff, 0xff]]), Next::TooLong));
    }
}
