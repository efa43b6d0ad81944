//! Ping from a host to the outside: one echo socket of the machine per pinging program and destination.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use minato_host::sockets::{Failure, PING_OVERHEAD, PingSocket, Pong};
use minato_relay::{IdleQueue, Target};
use minato_transport::EchoRequest;
use slab::Slab;

use super::Plane;
use super::datagrams::MAX_PAYLOAD;
use super::outbound::{Answer, answer_for, answer_to};
use super::shares::stalest;
use super::token::Token;

/// RFC 5508 §3.2: not less than a minute.
const IDLE: Duration = Duration::from_secs(60);
/// Most answers taken from one socket in one turn.
const BATCH: usize = 64;

/// One program that pings one destination.
#[derive(Debug)]
struct Conversation {
    /// Never used twice.
    serial: u64,
    socket: PingSocket,
    source: IpAddr,
    destination: IpAddr,
    ident: u16,
    /// Of the last request.
    sequence: u16,
    last_used: Instant,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Echoes {
    conversations: Slab<Conversation>,
    /// By source, destination and identifier, which a host's programs choose: hence the standard, keyed hasher.
    places: HashMap<(IpAddr, IpAddr, u16), usize>,
    /// How many each source has.
    of_source: HashMap<IpAddr, usize>,
    /// By place and serial number.
    idle: IdleQueue<(usize, u64)>,
    next_serial: u64,
    buffer: Box<[u8]>,
}

impl Default for Echoes {
    fn default() -> Echoes {
        Echoes {
            conversations: Slab::new(),
            places: HashMap::new(),
            of_source: HashMap::new(),
            next_serial: 0,
            idle: IdleQueue::new(IDLE),
            buffer: vec![0; MAX_PAYLOAD + PING_OVERHEAD].into_boxed_slice(),
        }
    }
}

impl Echoes {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.idle.deadline()
    }

    fn add(&mut self, now: Instant, socket: PingSocket, request: &EchoRequest) -> usize {
        let EchoRequest { source, destination, ident, sequence, .. } = *request;
        let serial = self.next_serial;
        self.next_serial += 1;
        let conversation = Conversation { serial, socket, source, destination, ident, sequence, last_used: now };
        let place = self.conversations.insert(conversation);
        self.places.insert((source, destination, ident), place);
        *self.of_source.entry(source).or_default() += 1;
        self.idle.add(now, (place, serial));
        let Echoes { conversations, idle, .. } = self;
        idle.forget_gone(conversations.len(), |key| used(conversations, key).is_some());
        place
    }

    /// Whether there was one at this place.
    fn remove(&mut self, place: usize) -> bool {
        let Some(Conversation { source, destination, ident, .. }) = self.conversations.try_remove(place) else {
            return false;
        };
        self.places.remove(&(source, destination, ident));
        if let Some(count) = self.of_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.of_source.remove(&source);
            }
        }
        true
    }

    /// The places of what these addresses have begun, with the time when each was used last.
    fn of(&self, addresses: &[IpAddr]) -> Vec<(Instant, usize)> {
        let own = self.conversations.iter().filter(|(_, conversation)| addresses.contains(&conversation.source));
        own.map(|(place, conversation)| (conversation.last_used, place)).collect()
    }
}

/// When a conversation was used last; `None` if it is gone.
fn used(conversations: &Slab<Conversation>, (place, serial): (usize, u64)) -> Option<Instant> {
    conversations.get(place).filter(|found| found.serial == serial).map(|found| found.last_used)
}

impl Plane {
    pub(super) fn echo(&mut self, request: &EchoRequest) {
        match self.rules.echo_target(request.source, request.destination) {
            Target::Refuse(refusal) => self.answer_echo(request, answer_to(refusal)),
            Target::Connect(_) | Target::Resolver if !self.lets_echo_pass(request) => {}
            Target::Connect(_) | Target::Resolver => {
                if let Err(failure) = self.send_echo(request) {
                    self.answer_echo(request, answer_for(failure));
                }
            }
        }
    }

    fn send_echo(&mut self, request: &EchoRequest) -> Result<(), Failure> {
        let place = self.echo_place(request)?;
        let Some(conversation) = self.echoes.conversations.get_mut(place) else { return Ok(()) };
        conversation.last_used = self.now;
        conversation.sequence = request.sequence;
        conversation.socket.send(request.sequence, &request.payload)
    }

    /// The conversation that a request belongs to, begun if need be.
    fn echo_place(&mut self, request: &EchoRequest) -> Result<usize, Failure> {
        let key = (request.source, request.destination, request.ident);
        if let Some(place) = self.echoes.places.get(&key) {
            return Ok(*place);
        }
        if self.echoes.of_source.get(&request.source).is_some_and(|own| *own >= self.datagram_share()) {
            stalest(self.echoes.of(&[request.source])).for_each(|place| self.end_echo(place));
        }
        if !self.admit(1) {
            self.admission.complain(self.now, "a ping to the outside");
            return Err(Failure::NoResources);
        }
        let socket = PingSocket::open(request.destination, super::inbound::random() as u16)
            .inspect_err(|_| self.admission.give_back(1))?;
        let place = self.echoes.add(self.now, socket, request);
        let socket = &self.echoes.conversations[place].socket;
        if self.poller.add(socket.as_fd(), Token::Echo(place)).is_err() {
            self.end_echo(place);
            return Err(Failure::NoResources);
        }
        Ok(place)
    }

    pub(super) fn echo_ready(&mut self, place: usize) {
        for _ in 0..BATCH {
            let Some(conversation) = self.echoes.conversations.get_mut(place) else { return };
            let (source, destination, ident) = (conversation.source, conversation.destination, conversation.ident);
            match conversation.socket.receive(&mut self.echoes.buffer) {
                None => return,
                Some(Pong::Reply { sequence, length }) => {
                    conversation.last_used = self.now;
                    let payload = &self.echoes.buffer[..length];
                    self.stack.send_echo_reply(self.now, destination, source, ident, sequence, payload);
                }
                Some(Pong::Failed(failure)) => {
                    let request = EchoRequest {
                        source,
                        destination,
                        ident,
                        sequence: conversation.sequence,
                        hop_limit: 0,
                        payload: Box::default(),
                    };
                    self.answer_echo(&request, answer_for(failure));
                }
            }
        }
        self.again.insert(Token::Echo(place));
    }

    fn answer_echo(&mut self, request: &EchoRequest, answer: Answer) {
        let reason = match answer {
            // An echo request has no port that could be closed: somebody on the path does not want it.
            Answer::Closed => minato_transport::Unreachable::Prohibited,
            Answer::Icmp(reason) => reason,
            Answer::Silent => return,
        };
        self.stack.echo_unreachable(self.now, request, reason);
    }

    fn end_echo(&mut self, place: usize) {
        if self.echoes.remove(place) {
            self.admission.give_back(1);
        }
    }

    pub(super) fn expire_echoes(&mut self) {
        loop {
            let Echoes { conversations, idle, .. } = &mut self.echoes;
            let Some((place, _)) = idle.expire(self.now, |key| used(conversations, key)) else { return };
            self.end_echo(place);
        }
    }

    /// Ends what a host that goes away had begun.
    pub(super) fn end_echoes_of(&mut self, addresses: &[IpAddr]) {
        for (_, place) in self.echoes.of(addresses) {
            self.end_echo(place);
        }
    }
}
