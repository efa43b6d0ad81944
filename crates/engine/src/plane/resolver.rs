//! Names: questions to the gateway are relayed to the machine's resolvers, one after the other until one of them answers,
//! be it late.
//!
//! Each question has its own connected socket, so that only the resolver asked can answer it, from an unpredictable
//! port (RFC 5452 §9.2). When no resolver answers, the question is answered with SERVFAIL, so that nobody waits in vain.

mod message;
mod servers;

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use minato_host::sockets::udp_connect;
use minato_relay::IdleQueue;
use slab::Slab;

use super::Plane;
use super::datagrams::{receive, send};
use super::token::Token;
use servers::Servers;

/// How long one resolver may take until the next one is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the answer of any is waited for after the last one was asked.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// Most questions without an answer; the ones after that get SERVFAIL.
const MAX_QUERIES: usize = 2048;
/// Most datagrams taken from one socket in one turn.
const BATCH: usize = 16;

/// A question without an answer.
#[derive(Debug)]
struct Query {
    /// Tells it from others that have had its place.
    serial: u64,
    client: SocketAddr,
    /// The gateway's address, as asked.
    server: SocketAddr,
    question: Vec<u8>,
    /// Which of the machine's resolvers is asked next.
    next: usize,
    /// Since when the last one that was asked may answer.
    asked: Instant,
    /// One for each resolver that was asked and may still answer.
    sockets: Vec<OwnedFd>,
}

/// A question's place, its serial number, and which resolver would be next: an entry of before another was asked, or of
/// another question in that place, is void.
type Attempt = (usize, u64, usize);

/// All of them, and whom to ask.
#[derive(Debug)]
pub(super) struct Queries {
    servers: Servers,
    queries: Slab<Query>,
    serial: u64,
    /// Questions with another resolver to ask, and those without.
    patience: IdleQueue<Attempt>,
    last_patience: IdleQueue<Attempt>,
}

impl Queries {
    pub(super) fn new(now: Instant) -> Queries {
        Queries {
            servers: Servers::system(now),
            queries: Slab::new(),
            serial: 0,
            patience: IdleQueue::new(PATIENCE),
            last_patience: IdleQueue::new(LAST_PATIENCE),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.patience.deadline(), self.last_patience.deadline()].into_iter().flatten().min()
    }

    /// The machine's resolvers as of now.
    pub(super) fn servers(&mut self, now: Instant) -> &[SocketAddr] {
        self.servers.current(now)
    }

    /// The next question whose patience has ended.
    fn expire(&mut self, now: Instant) -> Option<usize> {
        let Queries { queries, patience, last_patience, .. } = self;
        let asked = |(place, serial, next): Attempt| {
            let query = queries.get(place).filter(|query| query.serial == serial && query.next == next);
            query.map(|query| query.asked)
        };
        patience.expire(now, asked).or_else(|| last_patience.expire(now, asked)).map(|(place, ..)| place)
    }
}

impl Plane {
    /// Relays a question that came as a datagram.
    pub(super) fn ask_resolver(&mut self, client: SocketAddr, server: SocketAddr, question: Vec<u8>) {
        if !message::is_question(&question) {
            return;
        }
        if self.queries.queries.len() >= MAX_QUERIES {
            return self.answer_failed(client, server, &question);
        }
        self.queries.serial += 1;
        let (serial, asked) = (self.queries.serial, self.now);
        let query = Query { serial, client, server, question, next: 0, asked, sockets: Vec::new() };
        let place = self.queries.queries.insert(query);
        self.ask_next(place);
    }

    /// Asks the next resolver that can be asked; those that were asked before may still answer. When there is none, and
    /// nobody that could answer either, the question has failed.
    fn ask_next(&mut self, place: usize) {
        while let Some(query) = self.queries.queries.get_mut(place)
            && let Some(resolver) = self.queries.servers.current(self.now).get(query.next).copied()
        {
            query.next += 1;
            if !self.admission.take(1) {
                self.admission.complain(self.now, "a question to a resolver");
                break;
            }
            if let Ok(socket) = udp_connect(resolver)
                && send(socket.as_fd(), &query.question).is_ok()
                && self.poller.add(socket.as_fd(), Token::Query(place)).is_ok()
            {
                query.sockets.push(socket);
                query.asked = self.now;
                break;
            }
            self.admission.give_back(1);
        }
        self.await_answer(place);
    }

    fn await_answer(&mut self, place: usize) {
        let queries = &mut self.queries;
        let Some(query) = queries.queries.get(place) else { return };
        if query.sockets.is_empty() {
            return self.give_up(place);
        }
        let more = query.next < queries.servers.current(self.now).len();
        let queue = if more { &mut queries.patience } else { &mut queries.last_patience };
        queue.add(self.now, (place, query.serial, query.next));
    }

    pub(super) fn query_ready(&mut self, place: usize) {
        let mut index = 0;
        while let Some(query) = self.queries.queries.get_mut(place)
            && let Some(socket) = query.sockets.get(index)
        {
            match answer(socket.as_fd(), &query.question, &mut self.datagrams.buffer) {
                Heard::Nothing => index += 1,
                Heard::More => {
                    self.again.push(Token::Query(place));
                    index += 1;
                }
                Heard::Answer(length) => {
                    let answer = &self.datagrams.buffer[..length];
                    let _ = self.stack.send_datagram(self.now, query.server, query.client, answer);
                    self.end_query(place);
                }
                Heard::Failure => {
                    let latest = index + 1 == query.sockets.len();
                    query.sockets.remove(index);
                    self.admission.give_back(1);
                    if latest || query.sockets.is_empty() {
                        return self.ask_next(place);
                    }
                }
            }
        }
    }

    fn end_query(&mut self, place: usize) -> Option<Query> {
        let query = self.queries.queries.try_remove(place)?;
        self.admission.give_back(query.sockets.len());
        Some(query)
    }

    fn give_up(&mut self, place: usize) {
        if let Some(query) = self.end_query(place) {
            self.answer_failed(query.client, query.server, &query.question);
        }
    }

    fn answer_failed(&mut self, client: SocketAddr, server: SocketAddr, question: &[u8]) {
        let failure = message::server_failure(question);
        let _ = self.stack.send_datagram(self.now, server, client, &failure);
    }

    pub(super) fn expire_queries(&mut self) {
        while let Some(place) = self.queries.expire(self.now) {
            let next = self.queries.queries.get(place).map(|query| query.next);
            let count = self.queries.servers(self.now).len();
            if next.is_some_and(|next| next < count) { self.ask_next(place) } else { self.give_up(place) }
        }
    }
}

/// What the socket of one resolver gave.
enum Heard {
    Nothing,
    /// Nothing that answers the question so far.
    More,
    /// The answer, which is the first bytes of the buffer.
    Answer(usize),
    /// Nobody answers there.
    Failure,
}

fn answer(socket: BorrowedFd<'_>, question: &[u8], buffer: &mut [u8]) -> Heard {
    for _ in 0..BATCH {
        match receive(socket, buffer) {
            Ok(None) => return Heard::Nothing,
            Ok(Some(length)) if message::answers(&buffer[..length], question) => return Heard::Answer(length),
            Ok(Some(_)) => {}
            Err(_) => return Heard::Failure,
        }
    }
    Heard::More
}
