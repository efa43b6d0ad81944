//! Names: questions to the gateway are relayed to the machine's resolvers, one after the other until one answers.
//!
//! Each question has its own connected socket, so that only the resolver asked can answer it, from an unpredictable
//! port (RFC 5452 §9.2). When no resolver answers, the question is answered with SERVFAIL, so that nobody waits in vain.

mod message;
mod servers;

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
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
/// Most questions without an answer; the ones after that get SERVFAIL.
const MAX_QUERIES: usize = 2048;

/// A question without an answer.
#[derive(Debug)]
struct Query {
    client: SocketAddr,
    /// The gateway's address, as asked.
    server: SocketAddr,
    question: Vec<u8>,
    /// Which of the machine's resolvers is being asked, and since when.
    attempt: usize,
    asked: Instant,
    socket: OwnedFd,
}

/// All of them, and whom to ask.
#[derive(Debug)]
pub(super) struct Queries {
    servers: Servers,
    queries: Slab<Query>,
    patience: IdleQueue<usize>,
}

impl Queries {
    pub(super) fn new(now: Instant) -> Queries {
        Queries { servers: Servers::system(now), queries: Slab::new(), patience: IdleQueue::new(PATIENCE) }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.patience.deadline()
    }

    /// The machine's resolvers as of now.
    pub(super) fn servers(&mut self, now: Instant) -> &[SocketAddr] {
        self.servers.current(now)
    }
}

impl Plane {
    /// Relays a question that came as a datagram.
    pub(super) fn ask_resolver(&mut self, client: SocketAddr, server: SocketAddr, question: Vec<u8>) {
        if !message::is_question(&question) {
            return;
        }
        if self.queries.queries.len() >= MAX_QUERIES || !self.admission.take(1) {
            return self.answer_failed(client, server, &question);
        }
        self.ask_from(client, server, question, 0);
    }

    /// Asks the first resolver from `attempt` on that can be asked. One descriptor has been admitted.
    fn ask_from(&mut self, client: SocketAddr, server: SocketAddr, question: Vec<u8>, mut attempt: usize) {
        while let Some(resolver) = self.queries.servers(self.now).get(attempt).copied() {
            if let Ok(socket) = udp_connect(resolver)
                && send(socket.as_fd(), &question).is_ok()
            {
                let query = Query { client, server, question, attempt, asked: self.now, socket };
                return self.await_answer(query);
            }
            attempt += 1;
        }
        self.admission.give_back(1);
        self.answer_failed(client, server, &question);
    }

    fn await_answer(&mut self, query: Query) {
        let place = self.queries.queries.insert(query);
        self.queries.patience.add(self.now, place);
        if self.poller.add(self.queries.queries[place].socket.as_fd(), Token::Query(place)).is_err() {
            self.give_up(place);
        }
    }

    pub(super) fn query_ready(&mut self, place: usize) {
        loop {
            let Some(query) = self.queries.queries.get(place) else { return };
            match receive(query.socket.as_fd(), &mut self.datagrams.buffer) {
                Ok(None) => return,
                Ok(Some(length)) => {
                    let answer = &self.datagrams.buffer[..length];
                    if message::answers(answer, &query.question) {
                        let _ = self.stack.send_datagram(self.now, query.server, query.client, answer);
                        self.queries.queries.remove(place);
                        self.admission.give_back(1);
                        return;
                    }
                }
                Err(_) => return self.ask_next(place),
            }
        }
    }

    /// The resolver that was asked does not answer: the next one is asked.
    fn ask_next(&mut self, place: usize) {
        if let Some(query) = self.queries.queries.try_remove(place) {
            self.ask_from(query.client, query.server, query.question, query.attempt + 1);
        }
    }

    fn give_up(&mut self, place: usize) {
        if let Some(query) = self.queries.queries.try_remove(place) {
            self.admission.give_back(1);
            self.answer_failed(query.client, query.server, &query.question);
        }
    }

    fn answer_failed(&mut self, client: SocketAddr, server: SocketAddr, question: &[u8]) {
        let failure = message::server_failure(question);
        let _ = self.stack.send_datagram(self.now, server, client, &failure);
    }

    pub(super) fn expire_queries(&mut self) {
        loop {
            let queries = &self.queries.queries;
            let asked = |place| queries.get(place).map(|query: &Query| query.asked);
            let Some(place) = self.queries.patience.expire(self.now, asked) else { return };
            self.ask_next(place);
        }
    }
}
