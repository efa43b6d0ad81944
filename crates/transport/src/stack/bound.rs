//! UDP sockets of the stack itself: bound to a port of ours, connected to one peer or not (RFC 768, RFC 1122 §4.1.4).

use std::net::SocketAddr;
use std::time::Instant;

use minato_ports::{Port, Reservation, Transport};

use super::datagrams::Datagrams;
use super::{Datagram, Stack};
use crate::error::{BindError, SendDatagramError};
use crate::event::Event;
use crate::id::SocketId;
use crate::types::canonical;
use crate::wire::udp::UdpDatagram;

/// Bytes of unread datagrams that one socket holds.
const QUEUE_BYTES: usize = 256 << 10;

/// A UDP socket. Its reservation in the port table owns the demux entry: both come and go together.
#[derive(Debug)]
pub(super) struct BoundSocket {
    local: SocketAddr,
    /// Only datagrams from there, if it is connected.
    remote: Option<SocketAddr>,
    reservation: Reservation,
    arrived: Datagrams,
    /// `Event::DatagramReadable` waits in the event queue.
    pub(super) announced: bool,
}

/// UDP: sockets of the stack itself.
impl Stack {
    /// Binds a UDP socket to `local` (an unspecified address means all own addresses of its family). Port 0 means an
    /// ephemeral one that is free, chosen by `random`; `datagram_address` tells which.
    ///
    /// # Errors
    /// If the address and port are taken or can't be bound to, or if no ephemeral port is free.
    pub fn bind_datagram(&mut self, local: SocketAddr, random: u64) -> Result<SocketId, BindError> {
        let mut local = canonical(local);
        if !local.ip().is_unspecified() && !self.output.routes.is_own(local.ip()) {
            return Err(BindError::InvalidAddress(local));
        }
        let reservation = match Port::new(local.port()) {
            Some(port) => {
                let reservation = self.leases.bind(Transport::Udp, local, port);
                reservation.map_err(|holder| BindError::InUse { local, holder })?
            }
            None => {
                let found = self.leases.bind_any(local.ip(), random).ok_or(BindError::PortsExhausted(local.ip()))?;
                local.set_port(found.0.value());
                found.1
            }
        };
        let arrived = Datagrams::new(QUEUE_BYTES);
        let (index, generation) =
            self.sockets.insert(BoundSocket { local, remote: None, reservation, arrived, announced: false });
        self.demux.insert_socket(local, index);
        Ok(SocketId { index, generation })
    }

    /// Where a UDP socket is bound; `None` for a dead id.
    #[must_use]
    pub fn datagram_address(&self, id: SocketId) -> Option<SocketAddr> {
        let current = self.sockets.is_current(id.index, id.generation);
        self.sockets.get(id.index).filter(|_| current).map(|socket| socket.local)
    }

    /// Names the peer: only its datagrams arrive, and it is where `send_bound` sends without a destination. `None` takes all
    /// again.
    pub fn connect_datagram(&mut self, id: SocketId, remote: Option<SocketAddr>) {
        if let Some(socket) = self.socket_mut(id) {
            socket.remote = remote.map(canonical);
        }
    }

    /// The socket's oldest datagram; `None` until the next `Event::DatagramReadable`.
    pub fn receive_bound(&mut self, id: SocketId) -> Option<Datagram<'_>> {
        self.socket_mut(id)?.arrived.pop()
    }

    /// Sends a datagram from the socket, to its peer if `destination` is `None`.
    ///
    /// # Errors
    /// As `send_datagram`, and `NoDestination` for a socket without a peer.
    pub fn send_bound(
        &mut self,
        now: Instant,
        id: SocketId,
        destination: Option<SocketAddr>,
        payload: &[u8],
    ) -> Result<(), SendDatagramError> {
        let socket = self.socket_mut(id).ok_or(SendDatagramError::NoDestination)?;
        let (local, remote) = (socket.local, socket.remote);
        let destination = destination.map(canonical).or(remote).ok_or(SendDatagramError::NoDestination)?;
        let source = if local.ip().is_unspecified() {
            // RFC 1122 §4.1.3.5: the source is one of ours.
            let own = self.output.routes.own_address_towards(destination.ip());
            SocketAddr::new(own.ok_or(SendDatagramError::NoRoute)?, local.port())
        } else {
            local
        };
        self.send_datagram(now, source, destination, payload)
    }

    /// Ends the socket; its port is free.
    pub fn unbind_datagram(&mut self, id: SocketId) {
        if !self.sockets.is_current(id.index, id.generation) {
            return;
        }
        if let Some(socket) = self.sockets.remove(id.index) {
            self.demux.remove_socket(&socket.local);
            self.leases.unbind(socket.reservation);
        }
    }

    pub(super) fn socket_mut(&mut self, id: SocketId) -> Option<&mut BoundSocket> {
        let current = self.sockets.is_current(id.index, id.generation);
        self.sockets.get_mut(id.index).filter(|_| current)
    }

    /// Gives a datagram to the socket that is bound where it goes; `false` if there is none.
    pub(super) fn deliver_to_socket(&mut self, datagram: &UdpDatagram<'_>) -> bool {
        let Some(index) = self.demux.socket(&datagram.destination) else { return false };
        let id = SocketId { index, generation: self.sockets.generation(index) };
        let Some(socket) = self.sockets.get_mut(index) else { return false };
        if socket.remote.is_some_and(|remote| remote != datagram.source) {
            return false;
        }
        if !socket.arrived.push(datagram) {
            self.statistics.limited += 1;
        } else if !std::mem::replace(&mut socket.announced, true) {
            self.events.push_back(Event::DatagramReadable(id));
        }
        true
    }
}
