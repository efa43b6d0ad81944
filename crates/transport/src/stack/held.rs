//! Requests that are held unanswered, so that whoever decides may answer exactly what it found.

use std::sync::Arc;
use std::time::Instant;

use smoltcp::wire::IpProtocol;

use super::Stack;
use super::segments::reset_header;
use crate::demux::{FourTuple, Owner};
use crate::error::AcceptError;
use crate::event::{Event, Incoming};
use crate::id::{ConnectionId, IncomingId};
use crate::slots::drop_stale_deadlines;
use crate::tcp::{Connection, Request, Seq, SocketOptions};
use crate::time::{Interval, Time};
use crate::types::Unreachable;
use crate::wire::ip::{IpHeader, Service};
use crate::wire::tcp::{Flags, Header, Options, Segment};

/// How long a request is held: longer than a client waits that repeats its SYN five times (RFC 6298: 1, 3, 7, … 63 s).
const HELD_FOR: Interval = Interval::from_secs(75);

/// A request with nobody's answer yet.
#[derive(Debug)]
pub(super) struct Held {
    tuple: FourTuple,
    request: Request,
}

/// TCP: requests from `any_destination`.
impl Stack {
    /// Answers a held request with SYN-ACK. `Event::Connected` follows when the handshake is complete; data may be
    /// committed before.
    ///
    /// # Errors
    /// `Gone` if the client gave up meanwhile, `Full` at `Limits::connections` (the request is then dropped).
    pub fn accept_incoming(&mut self, now: Instant, id: IncomingId) -> Result<ConnectionId, AcceptError> {
        let now = self.clock.read(now);
        let held = self.take_held(id).ok_or(AcceptError::Gone)?;
        if self.connections.len() >= self.config.limits.connections {
            self.statistics.limited += 1;
            return Err(AcceptError::Full);
        }
        let options = Arc::clone(&self.options);
        Ok(self.answer_request(now, &held.tuple, &held.request, options))
    }

    /// Answers a held request with RST: "connection refused". Does nothing if it is gone.
    pub fn refuse_incoming(&mut self, now: Instant, id: IncomingId) {
        let now = self.clock.read(now);
        if let Some(held) = self.take_held(id) {
            let reset = reset_header(Seq(0), Some(held.request.initial.plus(1)));
            self.send_header(now, &held.tuple, &reset, Service::DEFAULT);
        }
    }

    /// Forgets a held request without an answer. The client repeats it, which makes a new `Event::Incoming`.
    pub fn ignore_incoming(&mut self, id: IncomingId) {
        self.take_held(id);
    }

    /// Answers a held request with an ICMP error, whose sender is our address on the link (the destination itself for
    /// `Port`). Does nothing if it is gone.
    pub fn unreachable_incoming(&mut self, now: Instant, id: IncomingId, reason: Unreachable) {
        let now = self.clock.read(now);
        let Some(held) = self.take_held(id) else { return };
        let (local, remote) = (held.tuple.local(), held.tuple.remote());
        // What is quoted is the SYN as far as it is remembered: an error's reader looks at ends and sequence number.
        let header = Header {
            seq: held.request.initial,
            ack: None,
            flags: Flags { syn: true, ..Flags::default() },
            window: held.request.window,
            options: Options::default(),
        };
        let ip = IpHeader::new(remote.ip(), local.ip(), IpProtocol::Tcp, header.length());
        let mut quoted = vec![0; ip.length() + header.length()];
        ip.emit(&mut quoted);
        header.emit(remote.port(), local.port(), &mut quoted[ip.length()..]);
        self.output.send_error_about(now, remote.ip(), local.ip(), &quoted, reason);
    }
}

impl Stack {
    /// Holds a request and tells the caller.
    pub(super) fn hold(&mut self, now: Time, tuple: &FourTuple, request: Request) {
        if self.held.len() >= self.config.limits.incoming {
            self.statistics.limited += 1;
            return;
        }
        let (index, generation) = self.held.insert(Held { tuple: *tuple, request });
        self.held_order.push_back((now + HELD_FOR, index, generation));
        drop_stale_deadlines(&mut self.held_order, &self.held);
        self.demux.insert(*tuple, Owner::Incoming(index));
        let id = IncomingId { index, generation };
        self.events.push_back(Event::Incoming(Incoming { id, source: tuple.remote(), destination: tuple.local() }));
    }

    /// A segment from a client whose request is held.
    pub(super) fn segment_for_held(&mut self, now: Time, index: u32, tuple: &FourTuple, segment: &Segment<'_>) {
        let id = IncomingId { index, generation: self.held.generation(index) };
        let Some(held) = self.held.get_mut(index) else { return };
        let initial = held.request.initial;
        if segment.flags.rst {
            // Nothing was acknowledged, so only a reset right at the SYN is the client's own.
            if segment.seq == initial || segment.seq == initial.plus(1) {
                self.drop_held(id);
            }
        } else if segment.flags.syn && segment.ack.is_none() && segment.seq == initial {
            // RFC 7323 §4.3: the answer echoes the clock of the latest.
            held.request.timestamp = segment.options.timestamp;
        } else if segment.flags.syn && segment.ack.is_none() {
            // The client began anew from the same port.
            self.drop_held(id);
            self.hold(now, tuple, Request::new(segment, tuple.is_ipv6()));
        }
    }

    fn drop_held(&mut self, id: IncomingId) {
        if self.take_held(id).is_some() {
            self.events.push_back(Event::IncomingGone(id));
        }
    }

    fn take_held(&mut self, id: IncomingId) -> Option<Held> {
        if !self.held.is_current(id.index, id.generation) {
            return None;
        }
        let held = self.held.remove(id.index)?;
        self.demux.remove(&held.tuple, Owner::Incoming(id.index));
        Some(held)
    }

    pub(super) fn expire_held(&mut self, now: Time) {
        while let Some(&(at, index, generation)) = self.held_order.front() {
            let gone = !self.held.is_current(index, generation);
            if at > now && !gone {
                return;
            }
            self.held_order.pop_front();
            if !gone {
                self.drop_held(IncomingId { index, generation });
            }
        }
    }

    /// Makes a connection that answers a request with SYN-ACK.
    pub(super) fn answer_request(
        &mut self,
        now: Time,
        tuple: &FourTuple,
        request: &Request,
        options: Arc<SocketOptions>,
    ) -> ConnectionId {
        let beginning = self.beginning(now, tuple, request.succeeds, options);
        self.add_connection(Connection::passive(beginning, request, &self.config.tcp))
    }
}
