//! Frames out: what waits complete goes first, then connections in turn, each straight from its send buffer.

use std::time::Instant;

use smoltcp::wire::IpProtocol;

use super::{Stack, Transmit};
use crate::demux::FourTuple;
use crate::event::ResetReason;
use crate::output::{SendError, Station};
use crate::tcp::{Context, Ended, Outgoing, State};
use crate::time::Time;
use crate::types::{MacAddress, Unreachable};
use crate::wire::ip::{IpHeader, Service, header_length};
use crate::wire::tcp::{self, Header};
use crate::wire::virtio::{Offload, Segmentation, Segmented};

/// ECT(0), RFC 3168 §5.
const ECN_CAPABLE: u8 = 2;

/// A run of segments of one connection that goes to the link piece by piece, because the link can't cut it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Index and generation.
    connection: (u32, u32),
    station: MacAddress,
    /// What is left of it.
    rest: Outgoing,
}

impl Stack {
    /// The next frame to write to the link; `None` when there is nothing to send before the next other call.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit<'_>> {
        let now = self.clock.read(now);
        self.take_back_space();
        loop {
            if let Some(frame) = self.output.queue.pop() {
                let last = std::mem::replace(&mut self.frame, frame);
                self.output.queue.recycle(last);
                self.statistics.frames_sent += 1;
                return Some(Transmit::whole(&self.frame));
            }
            // Most often there is none, and it is large to take out.
            let run = if self.run.is_some() { self.run.take() } else { None };
            let (index, station, outgoing) = match run {
                Some(run) => {
                    let Some(outgoing) = self.rest_of(&run) else { continue };
                    (run.connection.0, run.station, outgoing)
                }
                None => {
                    let Some(index) = self.ready.pop_front() else {
                        self.note_spare(now);
                        return None;
                    };
                    let Some((station, outgoing)) = self.next_of(now, index) else { continue };
                    // Others take their turn before this connection goes on, if it does.
                    self.requeue(index);
                    (index, station, outgoing)
                }
            };
            self.statistics.frames_sent += 1;
            let outgoing = self.first_piece(index, station, outgoing);
            return self.frame_segment(index, station, &outgoing);
        }
    }

    /// A connection that sent something goes to the end of the queue, or out of it if nothing is left to send.
    fn requeue(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.queued = connection.has_more();
        if connection.queued {
            self.ready.push_back(index);
        } else {
            self.arm(index);
        }
    }

    /// The next segments of a connection and where they go; without any the connection leaves the queue.
    fn next_of(&mut self, now: Time, index: u32) -> Option<(MacAddress, Outgoing)> {
        let connection = self.connections.get_mut(index).filter(|connection| connection.queued)?;
        let limits = self.link_limits.of(&connection.tuple);
        let station = self.output.station(now, connection.tuple.remote().ip());
        let mut ctx = Context::new(now, &self.config.tcp, &mut self.pool);
        if let Station::Known(station) = station
            && let Some(outgoing) = connection.next_segment(&mut ctx, limits)
        {
            return Some((station, outgoing));
        }
        connection.queued = false;
        let opening = matches!(connection.state(), State::SynSent | State::SynReceived);
        if !matches!(station, Station::Known(_)) {
            connection.on_no_way(&ctx);
        }
        self.arm(index);
        match station {
            Station::Pending(next_hop) => {
                let waiter = (index, self.connections.generation(index));
                self.output.neighbors.wait(next_hop, waiter);
            }
            Station::NoRoute if opening => {
                self.conclude(now, index, Ended::Reset(ResetReason::Unreachable(Unreachable::Network)));
            }
            _ => {}
        }
        None
    }

    /// What is left to send of a run, unless its connection is gone or the peer has it already.
    fn rest_of(&self, run: &Run) -> Option<Outgoing> {
        let (index, generation) = run.connection;
        let connection = self.connections.get(index).filter(|_| self.connections.is_current(index, generation))?;
        let offset = connection.offset_of(run.rest.header.seq)?;
        Some(Outgoing { offset, ..run.rest })
    }

    /// As much of a run as the link takes at once; the rest is kept for the next call.
    fn first_piece(&mut self, index: u32, station: MacAddress, outgoing: Outgoing) -> Outgoing {
        if outgoing.length <= outgoing.segment_size || self.output.framing.offloads() {
            return outgoing;
        }
        let connection = (index, self.connections.generation(index));
        let (first, rest) = outgoing.split();
        self.run = Some(Run { connection, station, rest });
        first
    }

    /// Writes the headers of a segment and lends out its payload.
    fn frame_segment(&mut self, index: u32, station: MacAddress, outgoing: &Outgoing) -> Option<Transmit<'_>> {
        let connection = self.connections.get(index)?;
        let (source, destination) = (connection.tuple.local(), connection.tuple.remote());
        let (queue, offset, length) = (connection.send_queue(), outgoing.offset, outgoing.length);
        let (body, _) = queue.slices(offset, length);
        let framing = self.output.framing;
        let tcp_length = outgoing.header.length();
        let ip = IpHeader {
            ecn: if outgoing.ecn_capable { ECN_CAPABLE } else { 0 },
            service: connection.options().service(),
            ..IpHeader::new(source.ip(), destination.ip(), IpProtocol::Tcp, tcp_length + length)
        };
        let ip_start = framing.headroom();
        let tcp_start = ip_start + ip.length();
        let end = tcp_start + tcp_length;
        let head = &mut self.head[..end];
        if framing.offloads() {
            let offload = segment_offload(framing.ethernet_length() + ip.length(), outgoing, source.is_ipv6());
            framing.emit_virtio(head, &offload);
        }
        framing.emit_ethernet(head, station, source.is_ipv6());
        ip.emit(&mut head[ip_start..]);
        outgoing.header.emit(source.port(), destination.port(), &mut head[tcp_start..]);
        tcp::fill_checksum(source, destination, &mut head[tcp_start..], &body, framing.offloads());
        Some(Transmit::of_stream(&self.head[..end], body, queue, offset, length))
    }

    /// Queues a segment without payload that belongs to no connection (any more).
    pub(super) fn send_header(&mut self, now: Time, tuple: &FourTuple, header: &Header, service: Service) {
        let (source, destination) = (tuple.local(), tuple.remote());
        let ip = IpHeader::new(source.ip(), destination.ip(), IpProtocol::Tcp, header.length()).served(service);
        let partial = self.output.framing.offloads();
        let start = self.output.framing.ethernet_length() + header_length(source.ip());
        let offload = Offload { checksum: Some((start as u16, tcp::CHECKSUM_OFFSET as u16)), segmentation: None };
        let sent = self.output.send(now, ip, offload, |buffer| {
            header.emit(source.port(), destination.port(), buffer);
            tcp::fill_checksum(source, destination, buffer, &[], partial);
        });
        if sent == Err(SendError::Full) {
            self.statistics.limited += 1;
        }
    }
}

impl Outgoing {
    /// The first segment of a run, and the others: FIN and PSH are the last one's, and CWR is the first one's
    /// (RFC 3168 §6.1.2).
    fn split(self) -> (Outgoing, Outgoing) {
        let length = self.segment_size;
        let (mut first, mut rest) = (Outgoing { length, ..self }, self);
        (first.header.flags.fin, first.header.flags.psh) = (false, false);
        rest.header.seq = rest.header.seq.plus(length);
        rest.offset += length;
        rest.length -= length;
        rest.header.flags.cwr = false;
        (first, rest)
    }
}

/// What the link shall finish: the checksum always, and the cutting if the payload is longer than one segment.
fn segment_offload(tcp_start: usize, outgoing: &Outgoing, ipv6: bool) -> Offload {
    let segmentation = (outgoing.length > outgoing.segment_size).then(|| Segmentation {
        segmented: Segmented::Tcp { ipv6, cwr: outgoing.header.flags.cwr },
        header_length: (tcp_start + outgoing.header.length()) as u16,
        segment_size: outgoing.segment_size as u16,
    });
    Offload { checksum: Some((tcp_start as u16, tcp::CHECKSUM_OFFSET as u16)), segmentation }
}
