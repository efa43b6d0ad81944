//! Names: the gateway answers those of the network itself, and has the machine's resolvers answer all others.
//!
//! A question comes as a datagram or on a connection, and is answered the same way. See `docs/theory/names.md`.

mod addresses;
mod message;
mod relay;
mod reverse;
mod servers;
mod streams;
mod told;
mod upstream;
mod zone;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use domain::base::iana::{Class, Rcode, Rtype};
use minato_ports::{Transport, registry};

use super::Plane;
use super::hosts::PlaneHost;
use crate::convert;
use message::Read;
use relay::Queries;
use streams::{StreamId, Streams};
use told::Told;
use zone::{Found, Offerer, Wanted};
pub(crate) use zone::{JoinedZone, Zone};

#[cfg(test)]
mod tests;

/// How long it is known what listens in a host: questions about it must not cost more than a look this often.
const KNOWN_FOR: Duration = Duration::from_millis(20);

/// What answers names.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) zone: Zone,
    queries: Queries,
    streams: Streams,
    pub(super) told: Told,
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// By a datagram to this address of the gateway.
    Datagram { client: SocketAddr, server: SocketAddr },
    /// On a connection.
    Stream(StreamId),
}

impl Resolver {
    pub(super) fn new(zone: Zone, now: Instant) -> Resolver {
        Resolver { zone, queries: Queries::new(now), streams: Streams::default(), told: Told::default() }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.queries.deadline(), self.streams.deadline()].into_iter().flatten().min()
    }

    /// Whether there is something to be done in the next turn.
    pub(super) fn has_work(&self) -> bool {
        self.streams.has_work()
    }
}

impl Plane {
    /// Takes a question.
    pub(super) fn ask(&mut self, asker: Asker, question: Vec<u8>) {
        let asked = match message::read(&question) {
            Read::Nothing => return self.end_asker(asker),
            Read::Malformed => return self.fail(asker, &question, Rcode::FORMERR),
            Read::Other => return self.other(asker, question),
            Read::Question(asked) => asked,
        };
        let labels = message::labels(&asked.name);
        let is_internet = matches!(asked.class, Class::IN | Class::ANY);
        let found = self.find_name(asker, &labels).filter(|_| is_internet);
        if let Some(found) = found {
            let ports = found.wants().map(|wanted| self.ports_of(&wanted)).unwrap_or_default();
            let answer = self.resolver.zone.answer(found, asked.kind, &ports);
            return self.answer_question(asker, &question, message::reply(&question, &answer));
        }
        if matches!(asked.kind, Rtype::AXFR | Rtype::IXFR) {
            // A zone comes in many messages, from who has it and not from a resolver.
            return self.fail(asker, &question, Rcode::REFUSED);
        }
        let blocked = |reason: &str| message::blocked(&question, reason);
        if self.lets_question_pass(asker, &labels, &question, blocked) {
            self.relay_question(asker, question);
        }
    }

    /// What is at a name of this network, or of another one that whoever asks has joined.
    fn find_name(&self, asker: Asker, labels: &[&[u8]]) -> Option<Found> {
        let zone = &self.resolver.zone;
        let joined = || {
            let host = self.host_at(self.client_of(asker)?.ip())?;
            zone.find_joined(host, labels)
        };
        zone.find(labels).or_else(|| zone.has_joined().then(joined)?)
    }

    /// Takes what is no question about a name. Who may not ask for every name has no use for it.
    fn other(&mut self, asker: Asker, question: Vec<u8>) {
        let refused = |_: &str| message::failure(&question, Rcode::REFUSED);
        if self.lets_question_pass(asker, &[], &question, refused) {
            self.relay_question(asker, question);
        }
    }

    /// Who asks, if it is still there.
    pub(super) fn client_of(&self, asker: Asker) -> Option<SocketAddr> {
        match asker {
            Asker::Datagram { client, .. } => Some(client),
            Asker::Stream(stream) => self.resolver.streams.client(stream),
        }
    }

    /// The ports on which a host offers what is registered under a name, now.
    fn ports_of(&mut self, wanted: &Wanted) -> Vec<u16> {
        let offered = match &wanted.of {
            Offerer::Here(serial) => self.offered(*serial, wanted.transport),
            Offerer::Elsewhere(offers) => offers.ports(convert::to_inspect(wanted.transport)).clone(),
        };
        let registered = |port: &u16| {
            let mut services = registry::lookup_all(*port).filter(|service| service.has_transport(wanted.transport));
            services.any(|service| service.name().eq_ignore_ascii_case(&wanted.service))
        };
        offered.into_iter().filter(registered).collect()
    }

    /// The ports that a host, or a guest, offers now.
    fn offered(&mut self, serial: u32, transport: Transport) -> BTreeSet<u16> {
        if let Some(guest) = self.guests.get(&serial) {
            return guest.offers.ports(convert::to_inspect(transport)).clone();
        }
        let is_due = |host: &PlaneHost| {
            host.rests_until <= self.now && self.now.saturating_duration_since(host.looked) >= KNOWN_FOR
        };
        if self.hosts.get(&serial).is_some_and(is_due) {
            self.look(serial);
        }
        let host = self.hosts.get(&serial);
        host.map(|host| host.services.offered(transport, &host.addresses)).unwrap_or_default()
    }

    fn fail(&mut self, asker: Asker, question: &[u8], rcode: Rcode) {
        self.answer_question(asker, question, message::failure(question, rcode));
    }

    /// Sends an answer the way that the question came; a long one may be cut.
    pub(super) fn answer_question(&mut self, asker: Asker, question: &[u8], answer: Vec<u8>) {
        match asker {
            Asker::Datagram { client, server } => {
                let (answer, _) = message::fit(answer, question);
                // As any router does, drop what the link has no room for.
                let _ = self.stack.send_datagram(self.now, server, client, &answer);
            }
            Asker::Stream(stream) => self.answer_stream(stream, &answer),
        }
    }

    /// There will be no answer.
    fn end_asker(&mut self, asker: Asker) {
        if let Asker::Stream(stream) = asker {
            self.end_stream(stream);
        }
    }
}
