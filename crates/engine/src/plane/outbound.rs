//! TCP from a host to the outside: the machine's connection is made first, then the SYN is answered. So a program sees
//! what it would see from the machine: connected, refused, unreachable, or nothing at all.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use minato_host::Family;
use minato_host::sockets::{self, Failure};
use minato_ports::Transport;
use minato_relay::{Coupling, FlowId, Operation, Refusal, Side, Target};
use minato_transport::{ConnectionId, Incoming, IncomingId, Unreachable};

use super::poller::Readiness;
use super::sides::{Kind, Sides, Stage};
use super::token::Token;
use super::{Plane, connection_place};

/// How a request or datagram is answered when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// RST, or ICMP port unreachable.
    Closed,
    Icmp(Unreachable),
    /// Nothing: the client tries again until it times out.
    Silent,
}

impl Plane {
    pub(super) fn incoming(&mut self, incoming: Incoming) {
        if self.is_draining(incoming.source.ip()) {
            return self.answer_incoming(incoming.id, Answer::Closed);
        }
        match self.rules.target(incoming.source.ip(), incoming.destination) {
            Target::Connect(address) => {
                if self.lets_request_pass(incoming.id, incoming.source, incoming.destination) {
                    self.connect(incoming, address);
                }
            }
            Target::Resolver => self.accept_stream(incoming),
            Target::Refuse(refusal) => self.answer_incoming(incoming.id, answer_to(refusal)),
        }
    }

    fn connect(&mut self, incoming: Incoming, target: SocketAddr) {
        if !self.admit(1) {
            self.admission.complain(self.now, "a connection to the outside");
            // It is tried again a second later (RFC 6298 §2.1), when there may be room.
            return self.answer_incoming(incoming.id, Answer::Silent);
        }
        let socket = self.ready_sockets.take(Family::of(target.ip()));
        let begun = socket.and_then(|socket| Ok((sockets::connect_with(socket.as_fd(), target)?, socket)));
        match begun {
            Ok((connected, socket)) => self.begin_connecting(incoming, socket, connected),
            Err(failure) => {
                self.admission.give_back(1);
                self.answer_incoming(incoming.id, answer_for(failure));
            }
        }
    }

    fn begin_connecting(&mut self, incoming: Incoming, socket: OwnedFd, connected: bool) {
        let stage = Stage::Connecting { incoming: incoming.id };
        let kind = Kind::Outbound { socket, stage };
        let sides = Sides { queued: false, dying: false, kind };
        let Ok(id) = self.flows.insert(self.now, Transport::Tcp, incoming.source, incoming.destination, sides) else {
            self.admission.give_back(1);
            return self.answer_incoming(incoming.id, Answer::Silent);
        };
        self.by_incoming.insert(incoming.id, id);
        self.policies.flow_begins(self.now, incoming.source.ip(), incoming.destination.ip());
        let Some(flow) = self.flows.find_mut(id) else { return };
        let _ = flow.apply(Operation::Connect);
        self.unwatched.push(id);
        if connected {
            self.target_connected(id, incoming.id);
        }
    }

    /// What nobody waits for goes after the frames of a turn: new connections are watched then, and the next sockets made.
    pub(super) fn after_transmit(&mut self) {
        while let Some(id) = self.unwatched.pop() {
            let Some(flow) = self.flows.find(id) else { continue };
            let Kind::Outbound { socket, stage } = &flow.sides.kind else { continue };
            if matches!(stage, Stage::Relayed { .. }) {
                sockets::widen(socket.as_fd());
            }
            if self.poller.add(socket.as_fd(), Token::Flow(id, Side::Target)).is_err() {
                self.abort_flow(id);
            }
        }
        self.ready_sockets.refill();
        // A program that has just got the end closes its own connection now, and begins the next one later.
        if std::mem::take(&mut self.end_passed_on) {
            self.close_ended();
        }
        self.close_overdue();
    }

    /// The machine's socket tells whether it is connected.
    pub(super) fn target_decided(&mut self, id: FlowId, readiness: Readiness) {
        if !readiness.writable && !readiness.hung_up {
            return;
        }
        let Some(flow) = self.flows.find_mut(id) else { return };
        let Kind::Outbound { socket, stage: Stage::Connecting { incoming } } = &flow.sides.kind else {
            return;
        };
        let incoming = *incoming;
        if let Some(failure) = sockets::take_error(socket.as_fd()) {
            self.remove_flow(id);
            return self.answer_incoming(incoming, answer_for(failure));
        }
        sockets::widen(socket.as_fd());
        self.target_connected(id, incoming);
        self.flow_ready(id, Side::Target, readiness);
    }

    /// The guest's SYN is answered.
    fn target_connected(&mut self, id: FlowId, incoming: IncomingId) {
        match self.stack.accept_incoming(self.now, incoming) {
            Ok(connection) => self.relay(id, connection),
            Err(_) => self.remove_flow(id),
        }
    }

    /// Both sides are connected (the guest's as soon as it has our SYN-ACK).
    fn relay(&mut self, id: FlowId, connection: ConnectionId) {
        let Some(flow) = self.flows.find_mut(id) else { return };
        let _ = flow.apply(Operation::Establish);
        let Kind::Outbound { stage, .. } = &mut flow.sides.kind else { return };
        let coupling = Coupling::connected();
        if let Stage::Connecting { incoming } = std::mem::replace(stage, Stage::Relayed { connection, coupling }) {
            self.by_incoming.remove(&incoming);
        }
        let place = connection_place(connection);
        if self.by_connection.len() <= place {
            self.by_connection.resize(place + 1, None);
        }
        self.by_connection[place] = Some(id);
        self.tell_of_start(id);
    }

    fn answer_incoming(&mut self, id: IncomingId, answer: Answer) {
        match answer {
            Answer::Closed => self.stack.refuse_incoming(self.now, id),
            Answer::Icmp(reason) => self.stack.unreachable_incoming(self.now, id, reason),
            Answer::Silent => self.stack.ignore_incoming(id),
        }
    }
}

/// How a refusal by rule is answered: RFC 1122 §3.2.2.1 and RFC 4443 §3.1 have the codes, RFC 9293 §3.10.7.1 the reset
/// for a closed port.
pub(super) fn answer_to(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Closed => Answer::Closed,
        Refusal::Unreachable => Answer::Icmp(Unreachable::Host),
        Refusal::Prohibited => Answer::Icmp(Unreachable::Prohibited),
        Refusal::Silent => Answer::Silent,
    }
}

/// How a failure of the machine's socket is passed on: as the message that the kernel made the failure of, so that the
/// program's kernel makes the same one of it (RFC 1122 §3.2.2.1, RFC 4443 §3.1).
pub(super) fn answer_for(failure: Failure) -> Answer {
    match failure {
        Failure::Refused | Failure::Reset | Failure::BrokenPipe => Answer::Closed,
        Failure::NetUnreachable => Answer::Icmp(Unreachable::Network),
        Failure::Prohibited => Answer::Icmp(Unreachable::Prohibited),
        // Short of something, we lose a packet as any router does; whoever sends it again may have more luck. And what was
        // too big for the path comes in fragments the next time: the kernel remembers the path's size (RFC 8201 §4).
        Failure::TimedOut | Failure::NoResources | Failure::TooBig => Answer::Silent,
        Failure::HostUnreachable | Failure::NoPort | Failure::Other(_) => Answer::Icmp(Unreachable::Host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_what_the_program_would_see_without_us() {
        for loss in [Failure::TooBig, Failure::NoResources, Failure::TimedOut] {
            assert_eq!(answer_for(loss), Answer::Silent);
        }
        assert_eq!(answer_for(Failure::Refused), Answer::Closed);
        assert_eq!(answer_for(Failure::NetUnreachable), Answer::Icmp(Unreachable::Network));
    }
}
