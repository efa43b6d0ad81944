//! TCP segments in: to the connection, the remembered one, the listener or the held request that they belong to.

use std::net::SocketAddr;

use bytes::Bytes;

use super::Stack;
use super::receive::Recipient;
use crate::demux::{FourTuple, Owner, Target};
use crate::tcp::{Disposition, Request, Seq, TimeWaitAnswer};
use crate::time::Time;
use crate::wire::ip::{IpPacket, Service};
use crate::wire::tcp::{self, Flags, Header, Options, Segment};
use crate::wire::virtio::Received;

impl Stack {
    /// The segments of connections go before everything that is asked of strangers' addresses.
    pub(super) fn receive_segment(&mut self, now: Time, packet: &IpPacket<'_>, received: Received) -> Option<()> {
        let segment = tcp::parse(packet, received.checksum_trusted)?;
        let local = SocketAddr::new(packet.destination, segment.destination_port);
        let remote = SocketAddr::new(packet.source, segment.source_port);
        let tuple = FourTuple::new(local, remote);
        let owner = self.demux.lookup(&tuple);
        if let Some(Owner::Connection(index)) = owner {
            match packet.backing.parts() {
                [] => {
                    self.segment_for_connection(now, index, &segment);
                }
                parts => self.segments_for_connection(now, index, &segment, parts),
            }
            return Some(());
        }
        if !packet.backing.parts().is_empty() {
            return self.receive_joined(now, packet, received);
        }
        let recipient = self.recipient(packet)?;
        // RFC 9293 §3.9.2.3 and MUST-57: nothing of TCP is ever for a group.
        if recipient == Recipient::Group {
            return None;
        }
        let own = recipient == Recipient::Own;
        match owner {
            Some(Owner::TimeWait(index)) => self.segment_for_time_wait(now, index, &tuple, own, &segment),
            Some(Owner::Incoming(index)) => self.segment_for_held(now, index, &tuple, &segment),
            _ => self.segment_for_none(now, self.demux.lookup_listener(&tuple, own), &tuple, &segment),
        }
        Some(())
    }

    /// A segment whose payload comes in parts is taken as several in a row: FIN and PSH are the last one's, SYN and CWR are
    /// the first one's.
    fn segments_for_connection(&mut self, now: Time, index: u32, segment: &Segment<'_>, parts: &[Bytes]) {
        let generation = self.connections.generation(index);
        let lent = (!segment.payload.is_empty()).then_some((segment.payload, None));
        let mut pieces = lent.into_iter().chain(parts.iter().map(|part| (&part[..], Some(part)))).peekable();
        let mut next = *segment;
        while let Some((payload, memory)) = pieces.next() {
            let last = pieces.peek().is_none();
            (next.flags.fin, next.flags.psh) = (last && segment.flags.fin, last && segment.flags.psh);
            (next.payload, next.memory) = (payload, memory);
            let refused = self.segment_for_connection(now, index, &next);
            // What is refused is refused as a whole, and once.
            if refused || !self.connections.is_current(index, generation) {
                return;
            }
            next.seq = next.end();
            (next.flags.syn, next.flags.cwr) = (false, false);
        }
    }

    /// Whether the segment was answered with RST.
    fn segment_for_connection(&mut self, now: Time, index: u32, segment: &Segment<'_>) -> bool {
        if self.must_wait(index, segment) {
            self.statistics.limited += 1;
            return false;
        }
        let disposition = self.drive(now, index, |connection, ctx| connection.on_segment(ctx, segment));
        match disposition {
            Some(Disposition::Ended(ended)) => self.conclude(now, index, ended),
            Some(Disposition::RefuseSegment { seq }) => {
                let Some(connection) = self.connections.get(index) else { return true };
                let (tuple, service) = (connection.tuple, connection.options().service());
                self.send_header(now, &tuple, &reset_header(seq, None), service);
                return true;
            }
            Some(Disposition::Kept) | None => {}
        }
        false
    }

    fn segment_for_time_wait(&mut self, now: Time, index: u32, tuple: &FourTuple, own: bool, segment: &Segment<'_>) {
        let target = self.demux.lookup_listener(tuple, own);
        match self.time_waits.on_segment(index, segment) {
            TimeWaitAnswer::Ignore => {}
            TimeWaitAnswer::Reuse if self.takes_over(target, segment) => {
                let Some(time_wait) = self.time_waits.remove(index) else { return };
                let succeeds = Some(time_wait.next());
                self.forget_time_wait(index, time_wait);
                let request = Request { succeeds, ..Request::new(segment, tuple.is_ipv6()) };
                self.begin_request(now, target, tuple, request);
            }
            // What makes no connection does not end TIME-WAIT either.
            TimeWaitAnswer::Acknowledge | TimeWaitAnswer::Reuse => {
                self.acknowledge_time_wait(now, index, tuple, segment);
            }
        }
    }

    fn acknowledge_time_wait(&mut self, now: Time, index: u32, tuple: &FourTuple, segment: &Segment<'_>) {
        if segment.flags.fin && !segment.flags.syn {
            self.time_waits.restart(index, now + self.config.tcp.time_wait);
        }
        let answer = self.time_waits.get(index).map(|time_wait| (time_wait.acknowledgement(now), time_wait.service));
        if let Some((header, service)) = answer {
            self.send_header(now, tuple, &header, service);
        }
    }

    /// Whether a segment that `target` gets takes over from a connection in TIME-WAIT.
    fn takes_over(&self, target: Target, segment: &Segment<'_>) -> bool {
        asks(segment)
            && match target {
                Target::Listener(listener) => self.may_take_over(listener),
                _ => self.config.any_destination && self.held.len() < self.config.limits.incoming,
            }
    }

    fn begin_request(&mut self, now: Time, target: Target, tuple: &FourTuple, request: Request) {
        match target {
            Target::Listener(listener) => self.request_for_listener(now, listener, tuple, &request),
            _ => self.hold(now, tuple, request),
        }
    }

    /// RFC 9293 §3.10.7.1 and §3.10.7.2: no connection has it.
    fn segment_for_none(&mut self, now: Time, target: Target, tuple: &FourTuple, segment: &Segment<'_>) {
        if segment.flags.rst {
            return;
        }
        let request = || Request::new(segment, tuple.is_ipv6());
        match target {
            Target::Listener(listener) if segment.ack.is_some() => {
                self.acknowledgement_for_listener(now, listener, tuple, segment);
            }
            Target::Listener(_) if asks(segment) => self.begin_request(now, target, tuple, request()),
            Target::Listener(_) => {}
            _ if asks(segment) && self.config.any_destination => self.begin_request(now, target, tuple, request()),
            _ => self.refuse_segment(now, tuple, segment),
        }
    }

    /// The segment made a connection: now it is for that.
    pub(super) fn receive_again(&mut self, now: Time, tuple: &FourTuple, segment: &Segment<'_>) {
        if let Some(Owner::Connection(index)) = self.demux.flow(tuple) {
            self.segment_for_connection(now, index, segment);
        }
    }

    /// RFC 9293 §3.10.7.1: a reset that the sender believes.
    pub(super) fn refuse_segment(&mut self, now: Time, tuple: &FourTuple, segment: &Segment<'_>) {
        let header = match segment.ack {
            Some(ack) => reset_header(ack, None),
            None => reset_header(Seq(0), Some(segment.end())),
        };
        self.send_header(now, tuple, &header, Service::DEFAULT);
    }
}

/// Whether a segment is a request for a connection and nothing else.
fn asks(segment: &Segment<'_>) -> bool {
    segment.flags.syn && !segment.flags.fin && segment.ack.is_none()
}

pub(super) fn reset_header(seq: Seq, ack: Option<Seq>) -> Header {
    Header { seq, ack, flags: Flags { rst: true, ..Flags::default() }, window: 0, options: Options::default() }
}
