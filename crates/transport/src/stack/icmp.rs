//! ICMP: echo, and errors about what we sent (RFC 792, RFC 4443, RFC 1122 §3.2.2).

use std::net::IpAddr;
use std::time::Instant;

use smoltcp::wire::IpProtocol;

use super::Stack;
use super::receive::Recipient;
use crate::demux::{FourTuple, Owner};
use crate::event::{EchoRequest, Event};
use crate::output::icmp_protocol;
use crate::tcp::Seq;
use crate::time::Time;
use crate::types::Unreachable;
use crate::wire::icmp::{self, IcmpMessage, Quoted};
use crate::wire::ip::{self, Backing, IpHeader, IpPacket, is_unicast};
use crate::wire::udp;
use crate::wire::virtio::Offload;

/// Echo requests and errors that wait in the event queue at most; more are dropped, as any router may.
const EVENTS_MAX: usize = 4096;

/// ICMP for any destination.
impl Stack {
    /// Answers an echo request: `source` is who was asked, `destination` who asked.
    pub fn send_echo_reply(
        &mut self,
        now: Instant,
        source: IpAddr,
        destination: IpAddr,
        ident: u16,
        sequence: u16,
        payload: &[u8],
    ) {
        let (source, destination) = (source.to_canonical(), destination.to_canonical());
        if source.is_ipv4() == destination.is_ipv4() && payload.len() <= 65_535 - 28 {
            let now = self.clock.read(now);
            self.answer_echo(now, source, destination, ident, sequence, payload);
        }
    }

    fn answer_echo(
        &mut self,
        now: Time,
        source: IpAddr,
        destination: IpAddr,
        ident: u16,
        sequence: u16,
        payload: &[u8],
    ) {
        let header = IpHeader::new(source, destination, icmp_protocol(source), icmp::HEADER_LENGTH + payload.len());
        // A reply that finds no room or no way is lost like any packet.
        let _ = self.output.send(now, header, Offload::default(), |buffer| {
            icmp::emit_echo_reply(source, destination, ident, sequence, payload, buffer);
        });
    }

    /// Answers an echo request, as `Event::Echo` gave it, with an ICMP error.
    pub fn echo_unreachable(&mut self, now: Instant, request: &EchoRequest, reason: Unreachable) {
        let now = self.clock.read(now);
        let (source, destination) = (request.source.to_canonical(), request.destination.to_canonical());
        if source.is_ipv4() != destination.is_ipv4() {
            return;
        }
        let payload = &request.payload[..request.payload.len().min(1200)];
        let length = icmp::HEADER_LENGTH + payload.len();
        let ip = IpHeader::new(source, destination, icmp_protocol(source), length).hops(request.hop_limit);
        let mut quoted = vec![0; ip.length() + ip.payload_length];
        ip.emit(&mut quoted);
        let message = &mut quoted[ip.length()..];
        icmp::emit_echo_reply(source, destination, request.ident, request.sequence, payload, message);
        message[0] = if source.is_ipv4() { 8 } else { 128 };
        icmp::fill_checksum(source, destination, message);
        self.output.send_error_about(now, source, destination, &quoted, reason);
    }
}

impl Stack {
    pub(super) fn receive_icmp(&mut self, now: Time, packet: &IpPacket<'_>, recipient: Recipient) -> Option<()> {
        match icmp::parse(packet)? {
            // Nobody could be answered (RFC 4443 §4.2 with RFC 4291 §2.5.2).
            IcmpMessage::EchoRequest { .. } if !is_unicast(packet.source) => return None,
            IcmpMessage::EchoRequest { ident, sequence, payload } => match recipient {
                Recipient::Own => {
                    self.answer_echo(now, packet.destination, packet.source, ident, sequence, payload);
                }
                Recipient::Other => self.report_echo(packet, ident, sequence, payload),
                // RFC 1122 §3.2.2.6 lets a host ignore echo requests to groups.
                Recipient::Group => {}
            },
            IcmpMessage::EchoReply => {}
            IcmpMessage::Error { reason, quoted } => self.receive_error(now, reason, &quoted),
            IcmpMessage::Neighbor(message) => self.output.receive_neighbor(now, packet, message),
        }
        Some(())
    }

    fn report_echo(&mut self, packet: &IpPacket<'_>, ident: u16, sequence: u16, payload: &[u8]) {
        if self.events.len() >= EVENTS_MAX {
            self.statistics.limited += 1;
            return;
        }
        self.events.push_back(Event::Echo(EchoRequest {
            source: packet.source,
            destination: packet.destination,
            ident,
            sequence,
            hop_limit: packet.hop_limit,
            payload: payload.into(),
        }));
    }

    /// RFC 4861 §7.2.2: the sender of what waited for a neighbour that does not answer hears of it, as of an ICMP error.
    pub(super) fn report_undeliverable(&mut self, frame: &[u8]) {
        let packet = frame.get(self.output.framing.headroom()..).and_then(|bytes| ip::parse(bytes, Backing::Lent));
        let Some(packet) = packet.filter(|packet| packet.protocol == IpProtocol::Udp) else { return };
        let first = packet.fragment.is_none_or(|fragment| fragment.offset == 0);
        if first && packet.payload.len() >= udp::HEADER_LENGTH && self.events.len() < EVENTS_MAX {
            let (source, destination) = Quoted::of(&packet).ends();
            self.events.push_back(Event::DatagramUnreachable { source, destination, reason: Unreachable::Host });
        }
    }

    fn receive_error(&mut self, now: Time, reason: Unreachable, quoted: &Quoted<'_>) {
        match quoted.protocol {
            IpProtocol::Tcp => self.receive_error_about_segment(now, reason, quoted),
            IpProtocol::Udp if self.events.len() < EVENTS_MAX => {
                let (source, destination) = quoted.ends();
                self.events.push_back(Event::DatagramUnreachable { source, destination, reason });
            }
            IpProtocol::Icmp | IpProtocol::Icmpv6 if self.events.len() < EVENTS_MAX => {
                let (source, destination) = (quoted.source, quoted.destination);
                self.events.push_back(Event::EchoUnreachable { source, destination, reason });
            }
            _ => {}
        }
    }

    /// RFC 5927 §4.1: an error counts only if it quotes a sequence number that is under way.
    fn receive_error_about_segment(&mut self, now: Time, reason: Unreachable, quoted: &Quoted<'_>) {
        let (local, remote) = quoted.ends();
        let Some(Owner::Connection(index)) = self.demux.flow(&FourTuple::new(local, remote)) else { return };
        let under_way =
            self.connections.get(index).is_some_and(|connection| connection.is_under_way(Seq(quoted.sequence())));
        if !under_way {
            return;
        }
        if let Unreachable::PacketTooBig(mtu) = reason {
            self.drive(now, index, |connection, ctx| connection.on_packet_too_big(ctx, mtu));
        } else {
            self.not_reachable(now, index, reason);
        }
    }
}
