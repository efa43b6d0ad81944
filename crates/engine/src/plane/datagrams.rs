//! UDP from a host to the outside: one connected socket of the machine per pair of ends, so that the path's errors
//! come back, ended when nothing has passed for a while.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use minato_host::sockets::{self, Inbox, Train};
use minato_ports::{Port, PortClass, Transport};
use minato_relay::{FlowId, FlowTable, IdleQueue, Operation, Side, Target};
use rustix::net::sockopt;

use super::Plane;
use super::outbound::{Answer, answer_for, answer_to};
use super::resolver::Asker;
use super::sides::{DatagramSides, Kind, Sides};
use super::token::Token;

/// How long a flow may be idle. RFC 4787 §4.3: not less than two minutes, except towards well-known ports of the outside, whose
/// exchanges are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    Long,
    Short,
}

impl Idle {
    /// For a flow to a server outside.
    fn towards(server: SocketAddr) -> Idle {
        match Port::new(server.port()).map(Port::class) {
            Some(PortClass::WellKnown) => Idle::Short,
            _ => Idle::Long,
        }
    }

    fn timeout(self) -> Duration {
        match self {
            Idle::Long => Duration::from_secs(180),
            Idle::Short => Duration::from_secs(30),
        }
    }
}

/// Receive buffer of a socket, in bytes as the kernel counts them.
const ROOM: usize = 4 << 20;
/// Largest payload of a datagram (RFC 768: the length field has 16 bits).
pub(super) const MAX_PAYLOAD: usize = 65_535;

/// Which flow a datagram belongs to.
#[derive(Debug)]
pub(super) struct DatagramIndex {
    /// By source and destination, which a host's programs choose: hence the standard, keyed hasher.
    outbound: HashMap<(SocketAddr, SocketAddr), FlowId>,
    /// How many of those each source has.
    of_source: HashMap<IpAddr, usize>,
    /// Inbound flows by service and by the client as the service sees it. Looked up for every datagram from a host.
    pub(super) inbound: HashMap<(SocketAddr, SocketAddr), FlowId>,
    /// Inbound flows by forward (its ID) and real client. Looked up for every datagram from outside.
    pub(super) by_client: HashMap<(u64, SocketAddr), FlowId>,
    long: IdleQueue<FlowId>,
    short: IdleQueue<FlowId>,
    /// Where the machine's sockets are read to, as much of one in a turn as it has room for.
    pub(super) inbox: Inbox,
    /// For what is to be sent once its flow is open, and for answers of resolvers.
    pub(super) buffer: Box<[u8]>,
}

impl Default for DatagramIndex {
    fn default() -> DatagramIndex {
        DatagramIndex {
            outbound: HashMap::new(),
            of_source: HashMap::new(),
            inbound: HashMap::new(),
            by_client: HashMap::new(),
            long: IdleQueue::new(Idle::Long.timeout()),
            short: IdleQueue::new(Idle::Short.timeout()),
            inbox: Inbox::default(),
            buffer: vec![0; MAX_PAYLOAD].into_boxed_slice(),
        }
    }
}

impl DatagramIndex {
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.long.deadline(), self.short.deadline()].into_iter().flatten().min()
    }

    pub(super) fn remove_outbound(&mut self, client: SocketAddr, server: SocketAddr) {
        if self.outbound.remove(&(client, server)).is_some()
            && let Some(count) = self.of_source.get_mut(&client.ip())
        {
            *count -= 1;
            if *count == 0 {
                self.of_source.remove(&client.ip());
            }
        }
    }

    /// Ends one of these flows, the newest, when it has been idle for so long.
    pub(super) fn expire_later(&mut self, now: Instant, id: FlowId, idle: Idle, flows: &FlowTable<Sides>) {
        let queue = match idle {
            Idle::Short => &mut self.short,
            Idle::Long => &mut self.long,
        };
        queue.add(now, id);
        queue.forget_gone(flows.len(), |id| flows.find(id).is_some());
    }
}

impl Plane {
    /// Takes every datagram that the stack has.
    pub(super) fn take_datagrams(&mut self) {
        while let Some(arrived) = self.stack.poll_datagrams() {
            let (source, destination) = (arrived.source, arrived.destination);
            let train = Train { payload: arrived.payload, size: arrived.size };
            if let Some(id) = self.datagrams.inbound.get(&(source, destination)).copied() {
                if let Some(flow) = self.flows.find_mut(id)
                    && let Kind::Forwarded(sides) = &mut flow.sides.kind
                    && let Some(forward) = self.forwards.get_mut(sides.forward)
                {
                    flow.last_used = self.now;
                    flow.counters.to_initiating += train.payload.len() as u64;
                    forward.answer(sides.local, flow.client, train, &mut sides.cutting);
                }
                continue;
            }
            let known = self.datagrams.outbound.get(&(source, destination)).copied();
            let Some(flow) = known.and_then(|id| self.flows.find_mut(id)) else {
                let (length, size) = (train.payload.len(), train.size);
                self.datagrams.buffer[..length].copy_from_slice(train.payload);
                self.first_datagrams(source, destination, length, size);
                continue;
            };
            let Kind::Datagrams(sides) = &mut flow.sides.kind else { continue };
            flow.last_used = self.now;
            match sockets::udp_send_train(sides.socket.as_fd(), train, &mut sides.cutting) {
                Ok(()) => flow.counters.to_target += train.payload.len() as u64,
                Err(failure) => self.answer_datagram(source, destination, answer_for(failure)),
            }
        }
    }

    /// The first datagrams between two ends: the first `length` bytes of the buffer, in pieces of `size`.
    fn first_datagrams(&mut self, source: SocketAddr, destination: SocketAddr, length: usize, size: usize) {
        match self.rules.target(source.ip(), destination) {
            Target::Connect(_) if !self.lets_datagram_pass(source, destination) => {}
            Target::Connect(target) => match self.open_datagrams(source, destination, target) {
                Ok(id) => self.send_first(id, length, size),
                Err(answer) => self.answer_datagram(source, destination, answer),
            },
            Target::Resolver => {
                let train = Train { payload: &self.datagrams.buffer[..length], size };
                let questions: Vec<Vec<u8>> = train.datagrams().map(<[u8]>::to_vec).collect();
                for question in questions {
                    self.ask(Asker::Datagram { client: source, server: destination }, question);
                }
            }
            Target::Refuse(refusal) => self.answer_datagram(source, destination, answer_to(refusal)),
        }
    }

    fn open_datagrams(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        target: SocketAddr,
    ) -> Result<FlowId, Answer> {
        let own = self.datagrams.of_source.get(&source.ip()).copied().unwrap_or(0);
        if own >= self.datagram_share() {
            self.evict(|flow| matches!(flow.sides.kind, Kind::Datagrams(_)) && flow.client.ip() == source.ip());
        }
        if !self.admit(1) {
            self.admission.complain(self.now, "a datagram to the outside");
            return Err(Answer::Silent);
        }
        let socket = sockets::udp_connect(target).map_err(|failure| {
            self.admission.give_back(1);
            answer_for(failure)
        })?;
        make_room(&socket);
        let sides = Sides { queued: false, dying: false, kind: Kind::Datagrams(DatagramSides::new(socket)) };
        let id = self.flows.insert(self.now, Transport::Udp, source, destination, sides).map_err(|_| {
            self.admission.give_back(1);
            Answer::Silent
        })?;
        self.datagrams.outbound.insert((source, destination), id);
        self.policies.flow_begins(self.now, source.ip(), destination.ip());
        *self.datagrams.of_source.entry(source.ip()).or_default() += 1;
        self.datagrams.expire_later(self.now, id, Idle::towards(destination), &self.flows);
        let flow = self.flows.find_mut(id).ok_or(Answer::Silent)?;
        let _ = flow.apply(Operation::Establish);
        if let Kind::Datagrams(sides) = &flow.sides.kind
            && self.poller.add(sides.socket.as_fd(), Token::Flow(id, Side::Target)).is_err()
        {
            self.remove_flow(id);
            return Err(Answer::Silent);
        }
        self.tell_of_start(id);
        Ok(id)
    }

    fn send_first(&mut self, id: FlowId, length: usize, size: usize) {
        let Some(flow) = self.flows.find_mut(id) else { return };
        let Kind::Datagrams(sides) = &mut flow.sides.kind else { return };
        let (source, destination) = (flow.client, flow.server);
        let train = Train { payload: &self.datagrams.buffer[..length], size };
        match sockets::udp_send_train(sides.socket.as_fd(), train, &mut sides.cutting) {
            Ok(()) => flow.counters.to_target += length as u64,
            Err(failure) => self.answer_datagram(source, destination, answer_for(failure)),
        }
    }

    /// Answers a datagram from a host with an error. The ICMP message needs no more than the datagram's ends.
    pub(super) fn answer_datagram(&mut self, source: SocketAddr, destination: SocketAddr, answer: Answer) {
        let reason = match answer {
            Answer::Closed => minato_transport::Unreachable::Port,
            Answer::Icmp(reason) => reason,
            Answer::Silent => return,
        };
        self.stack.datagram_unreachable(self.now, source, destination, &[], reason);
    }

    /// Takes what the machine's socket of a flow has received.
    pub(super) fn pump_datagrams(&mut self, id: FlowId) {
        if self.with_inbox(|plane, inbox| plane.receive_answers(id, inbox)) {
            self.enqueue(id);
        }
    }

    /// Lends the inbox, which is one for all sockets.
    pub(super) fn with_inbox<T>(&mut self, receive: impl FnOnce(&mut Plane, &mut Inbox) -> T) -> T {
        let mut inbox = std::mem::take(&mut self.datagrams.inbox);
        let received = receive(self, &mut inbox);
        self.datagrams.inbox = inbox;
        received
    }

    /// Whether there may be more.
    fn receive_answers(&mut self, id: FlowId, inbox: &mut Inbox) -> bool {
        let Some(flow) = self.flows.find_mut(id) else { return false };
        let Kind::Datagrams(sides) = &mut flow.sides.kind else { return false };
        let (source, destination) = (flow.client, flow.server);
        let received = inbox.receive(sides.socket.as_fd());
        if received == Ok(true) {
            sides.expect_bulk();
        }
        for arrived in inbox.messages() {
            flow.last_used = self.now;
            flow.counters.to_initiating += arrived.train.payload.len() as u64;
            for payload in arrived.train.datagrams() {
                // As any router does, drop what the link has no room for.
                let _ = self.stack.send_datagram(self.now, destination, source, payload);
            }
        }
        // Some errors wait only in the error queue, which has no more than that.
        let failed = std::mem::take(&mut sides.failed) || received.is_err();
        let failure = failed.then(|| sockets::take_error(sides.socket.as_fd())).flatten().or(received.err());
        if let Some(failure) = failure {
            self.answer_datagram(source, destination, answer_for(failure));
        }
        received != Ok(false)
    }

    pub(super) fn expire_datagrams(&mut self) {
        let now = self.now;
        loop {
            let flows = &self.flows;
            let used = |id| flows.find(id).map(|flow| flow.last_used);
            let expired = self.datagrams.long.expire(now, used).or_else(|| self.datagrams.short.expire(now, used));
            let Some(id) = expired else { return };
            self.remove_flow(id);
        }
    }
}

/// Lets a UDP socket of the machine hold what arrives while we are not scheduled: as much as the machine allows.
pub(super) fn make_room(socket: impl AsFd) {
    if sockopt::set_socket_recv_buffer_size_force(&socket, ROOM).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(&socket, ROOM);
    }
}
