//! Questions for others: relayed to the machine's resolvers, one after the other until one of them answers, be it late.
//!
//! Each question has its own connected socket, so that only the resolver asked can answer it, from an unpredictable
//! port (RFC 5452 §9.2). What came on a connection is asked on one (RFC 7766 §5). When no resolver answers, the question is
//! answered with SERVFAIL, so that nobody waits in vain.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::base::iana::Rcode;
use minato_relay::IdleQueue;
use slab::Slab;

use super::message::{self, Read};
use super::servers::Servers;
use super::upstream::{Heard, Upstream};
use super::{Asker, addresses};
use crate::plane::Plane;
use crate::plane::token::Token;

/// How long one resolver may take until the next one is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the answer of any is waited for after the last one was asked.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// Most questions without an answer; the ones after that get SERVFAIL.
const MAX_QUERIES: usize = 2048;
/// Most of them from one address of a host, so that none takes them all from the others.
const MAX_OF_SOURCE: usize = 256;

/// A question without an answer.
#[derive(Debug)]
struct Query {
    /// Tells it from others that have had its place.
    serial: u64,
    asker: Asker,
    /// The host's address that it came from.
    source: IpAddr,
    question: Vec<u8>,
    /// Which of the machine's resolvers is asked next.
    next: usize,
    /// Since when the last one that was asked may answer.
    asked: Instant,
    /// One for each resolver that was asked and may still answer.
    upstreams: Vec<Upstream>,
}

/// A question's place, its serial number, and which resolver would be next: an entry of before another was asked, or of
/// another question in that place, is void.
type Attempt = (usize, u64, usize);

/// All of them, and whom to ask.
#[derive(Debug)]
pub(super) struct Queries {
    servers: Servers,
    queries: Slab<Query>,
    /// How many are from each address that has any.
    by_source: HashMap<IpAddr, usize>,
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
            by_source: HashMap::new(),
            serial: 0,
            patience: IdleQueue::new(PATIENCE),
            last_patience: IdleQueue::new(LAST_PATIENCE),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.patience.deadline(), self.last_patience.deadline()].into_iter().flatten().min()
    }

    fn has_room(&self, source: IpAddr) -> bool {
        let of_source = self.by_source.get(&source).copied().unwrap_or_default();
        self.queries.len() < MAX_QUERIES && of_source < MAX_OF_SOURCE
    }

    /// Takes a question; its place.
    fn add(&mut self, now: Instant, asker: Asker, source: IpAddr, question: Vec<u8>) -> usize {
        self.serial += 1;
        *self.by_source.entry(source).or_default() += 1;
        let (serial, asked, upstreams) = (self.serial, now, Vec::new());
        self.queries.insert(Query { serial, asker, source, question, next: 0, asked, upstreams })
    }

    fn remove(&mut self, place: usize) -> Option<Query> {
        let query = self.queries.try_remove(place)?;
        if let Entry::Occupied(mut count) = self.by_source.entry(query.source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(query)
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
    /// Relays a question.
    pub(super) fn relay_question(&mut self, asker: Asker, question: Vec<u8>) {
        let Some(source) = self.client_of(asker).map(|client| client.ip()) else { return };
        let queries = &mut self.resolver.queries;
        if !queries.has_room(source) {
            return self.fail(asker, &question, Rcode::SERVFAIL);
        }
        let place = queries.add(self.now, asker, source, question);
        self.ask_next(place);
    }

    /// Asks the next resolver that can be asked; those that were asked before may still answer. When there is none, and
    /// nobody that could answer either, the question has failed.
    fn ask_next(&mut self, place: usize) {
        let queries = &mut self.resolver.queries;
        while let Some(query) = queries.queries.get_mut(place)
            && let Some(resolver) = queries.servers.current(self.now).get(query.next).copied()
        {
            query.next += 1;
            if !self.admission.take(1) {
                self.admission.complain(self.now, "a question to a resolver");
                break;
            }
            let on_connection = matches!(query.asker, Asker::Stream(_));
            if let Ok(upstream) = Upstream::ask(resolver, &query.question, on_connection)
                && self.poller.add(&upstream, Token::Query(place)).is_ok()
            {
                query.upstreams.push(upstream);
                query.asked = self.now;
                break;
            }
            self.admission.give_back(1);
        }
        self.await_answer(place);
    }

    fn await_answer(&mut self, place: usize) {
        let queries = &mut self.resolver.queries;
        let Some(query) = queries.queries.get(place) else { return };
        if query.upstreams.is_empty() {
            return self.give_up(place);
        }
        let more = query.next < queries.servers.current(self.now).len();
        let queue = if more { &mut queries.patience } else { &mut queries.last_patience };
        queue.add(self.now, (place, query.serial, query.next));
    }

    pub(in crate::plane) fn query_ready(&mut self, place: usize) {
        let mut index = 0;
        while let Some(query) = self.resolver.queries.queries.get_mut(place)
            && let Some(upstream) = query.upstreams.get_mut(index)
        {
            match upstream.hear(&query.question, &mut self.datagrams.buffer) {
                Heard::Nothing => index += 1,
                Heard::More => {
                    self.again.insert(Token::Query(place));
                    index += 1;
                }
                Heard::Answer(answer) => {
                    if let Some(query) = self.end_query(place) {
                        self.learn(&query, &answer);
                        self.answer_question(query.asker, &query.question, answer);
                    }
                }
                Heard::Failure => {
                    let latest = index + 1 == query.upstreams.len();
                    query.upstreams.remove(index);
                    self.admission.give_back(1);
                    if latest || query.upstreams.is_empty() {
                        return self.ask_next(place);
                    }
                }
            }
        }
    }

    /// What a host is told of names is shown with its flows; and counts for what it may reach, if it has a policy.
    fn learn(&mut self, query: &Query, answer: &[u8]) {
        let is_cut = matches!(query.asker, Asker::Datagram { .. }) && answer.len() > message::room(&query.question);
        let (false, Read::Question(asked)) = (is_cut, message::read(&query.question)) else { return };
        let addresses = addresses::led_to(&asked.name, answer);
        let host = self.host_at(query.source).filter(|_| !addresses.is_empty());
        if let Some(host) = host {
            let name: Arc<str> = asked.name.to_string().into();
            addresses.iter().for_each(|(address, _)| self.resolver.told.note(host, *address, &name));
        }
        if self.has_policy(query.source) {
            self.learn_addresses(query.source, &message::labels(&asked.name), &addresses);
        }
    }

    fn end_query(&mut self, place: usize) -> Option<Query> {
        let query = self.resolver.queries.remove(place)?;
        self.admission.give_back(query.upstreams.len());
        Some(query)
    }

    fn give_up(&mut self, place: usize) {
        if let Some(query) = self.end_query(place) {
            self.fail(query.asker, &query.question, Rcode::SERVFAIL);
        }
    }

    pub(in crate::plane) fn expire_queries(&mut self) {
        while let Some(place) = self.resolver.queries.expire(self.now) {
            let queries = &mut self.resolver.queries;
            let next = queries.queries.get(place).map(|query| query.next);
            let count = queries.servers.current(self.now).len();
            if next.is_some_and(|next| next < count) { self.ask_next(place) } else { self.give_up(place) }
        }
    }

    /// Forgets what a host that goes away has asked.
    pub(in crate::plane) fn end_queries_of(&mut self, addresses: &[IpAddr]) {
        let concerned = |(place, query): (usize, &Query)| addresses.contains(&query.source).then_some(place);
        let places: Vec<usize> = self.resolver.queries.queries.iter().filter_map(concerned).collect();
        for place in places {
            self.end_query(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_room_for_others() {
        let now = Instant::now();
        let mut queries = Queries::new(now);
        let [greedy, other] = ["10.77.0.2", "10.77.0.3"].map(|text| text.parse::<IpAddr>().unwrap());
        let client = (greedy, 1).into();
        let asker = Asker::Datagram { client, server: client };
        let places: Vec<usize> = (0..MAX_OF_SOURCE)
            .map(|_| {
                assert!(queries.has_room(greedy));
                queries.add(now, asker, greedy, Vec::new())
            })
            .collect();
        assert!(!queries.has_room(greedy) && queries.has_room(other));
        queries.remove(places[0]);
        assert!(queries.has_room(greedy));
        places.into_iter().for_each(|place| drop(queries.remove(place)));
        assert!(queries.by_source.is_empty(), "nothing is kept of who has no question");
    }
}
