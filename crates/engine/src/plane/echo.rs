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
use super::token::Token;

/// RFC 5508 §3.2: not less than a minute.
const IDLE: Duration = Duration::from_secs(60);
/// Most answers taken from one socket in one turn.
const BATCH: usize = 64;

/// One program that pings one destination.
#[derive(Debug)]
struct Conversation {
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
    idle: IdleQueue<usize>,
    buffer: Box<[u8]>,
}

impl Default for Echoes {
    fn default() -> Echoes {
        Echoes {
            conversations: Slab::new(),
            places: HashMap::new(),
            idle: IdleQueue::new(IDLE),
            buffer: vec![0; MAX_PAYLOAD + PING_OVERHEAD].into_boxed_slice(),
        }
    }
}

impl Echoes {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.idle.deadline()
    }
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
        if !self.admit(1) {
            return Err(Failure::NoResources);
        }
        let socket = PingSocket::open(request.destination, super::inbound::random() as u16)
            .inspect_err(|_| self.admission.give_back(1))?;
        let place = self.echoes.conversations.insert(Conversation {
            socket,
            source: request.source,
            destination: request.destination,
            ident: request.ident,
            sequence: request.sequence,
            last_used: self.now,
        });
        self.echoes.places.insert(key, place);
        self.echoes.idle.add(self.now, place);
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
        if let Some(conversation) = self.echoes.conversations.try_remove(place) {
            self.echoes.places.remove(&(conversation.source, conversation.destination, conversation.ident));
            self.admission.give_back(1);
        }
    }

    pub(super) fn expire_echoes(&mut self) {
        loop {
            let conversations = &self.echoes.conversations;
            let used = |place| conversations.get(place).map(|conversation: &Conversation| conversation.last_used);
            let Some(place) = self.echoes.idle.expire(self.now, used) else { return };
            self.end_echo(place);
        }
    }

    /// Ends what a host that goes away had begun.
    pub(super) fn end_echoes_of(&mut self, addresses: &[IpAddr]) {
        let concerned =
            |(place, conversation): (usize, &Conversation)| addresses.contains(&conversation.source).then_some(place);
        let places: Vec<usize> = self.echoes.conversations.iter().filter_map(concerned).collect();
        for place in places {
            self.end_echo(place);
        }
    }
}
