//! UDP sockets of the stack itself: bound to a port of ours, connected to one peer or not (RFC 768, RFC 1122 §4.1.4).

use std::net::SocketAddr;
use std::time::Instant;

use minato_ports::{Port, Reservation, Transport};

use super::arrived::Datagrams;
use super::{BindOptions, Datagram, DatagramOptions, Stack};
use crate::demux::FourTuple;
use crate::error::{BindError, SendDatagramError};
use crate::event::Event;
use crate::id::SocketId;
use crate::types::canonical;
use crate::wire::udp::UdpDatagram;

/// A UDP socket. Its reservation in the port table owns the demux entry: both come and go together.
#[derive(Debug)]
pub(super) struct BoundSocket {
    local: SocketAddr,
    bind: BindOptions,
    pub(super) options: DatagramOptions,
    /// Only datagrams from there, if it is connected.
    remote: Option<SocketAddr>,
    reservation: Reservation,
    pub(super) arrived: Datagrams,
    /// `Event::DatagramReadable` waits in the event queue.
    pub(super) announced: bool,
}

/// UDP: sockets of the stack itself.
impl Stack {
    /// Binds a UDP socket to `local` (an unspecified address means all own addresses of its family). Port 0 means an
    /// ephemeral one that is free, chosen by `random`; `datagram_address` tells which. With `reuse_port` that may be one which
    /// other sockets share, as on Linux.
    ///
    /// # Errors
    /// If the address and port are taken or can't be bound to, or if no ephemeral port is free.
    pub fn bind_datagram(&mut self, local: SocketAddr, random: u64) -> Result<SocketId, BindError> {
        self.bind_datagram_with(local, random, BindOptions::default())
    }

    /// As `bind_datagram`, with options of `bind(2)`.
    ///
    /// # Errors
    /// As `bind_datagram`.
    pub fn bind_datagram_with(
        &mut self,
        local: SocketAddr,
        random: u64,
        bind: BindOptions,
    ) -> Result<SocketId, BindError> {
        let mut local = canonical(local);
        let bind = bind.for_address(local.ip());
        if !local.ip().is_unspecified() && !self.output.routes.is_own(local.ip()) {
            return Err(BindError::InvalidAddress(local));
        }
        let reservation = match Port::new(local.port()) {
            Some(port) => {
                let reservation = self.leases.bind(Transport::Udp, local, port, bind);
                reservation.map_err(|holder| BindError::InUse { local, holder })?
            }
            None => {
                let found = self.leases.bind_any(local.ip(), random, bind);
                let found = found.ok_or(BindError::PortsExhausted(local.ip()))?;
                local.set_port(found.0.value());
                found.1
            }
        };
        let options = DatagramOptions::default();
        let arrived = Datagrams::new(options.receive_buffer);
        let socket = BoundSocket { local, bind, options, remote: None, reservation, arrived, announced: false };
        let (index, generation) = self.sockets.insert(socket);
        self.demux.sockets.insert(local, bind.is_dual(), index);
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
    /// As `send_datagram`, `NoDestination` for a socket without a peer, and `BroadcastForbidden` without
    /// `DatagramOptions::broadcast`.
    pub fn send_bound(
        &mut self,
        now: Instant,
        id: SocketId,
        destination: Option<SocketAddr>,
        payload: &[u8],
    ) -> Result<(), SendDatagramError> {
        let socket = self.socket_mut(id).ok_or(SendDatagramError::NoDestination)?;
        let (local, remote, options) = (socket.local, socket.remote, socket.options);
        let destination = destination.map(canonical).or(remote).ok_or(SendDatagramError::NoDestination)?;
        if !options.broadcast && self.output.routes.is_any_broadcast(destination.ip()) {
            return Err(SendDatagramError::BroadcastForbidden);
        }
        let source = if local.ip().is_unspecified() {
            // RFC 1122 §4.1.3.5: the source is one of ours.
            let own = self.output.routes.own_address_towards(destination.ip());
            SocketAddr::new(own.ok_or(SendDatagramError::NoRoute)?, local.port())
        } else {
            local
        };
        let now = self.clock.read(now);
        self.send_served(now, source, destination, payload, options.service())
    }

    /// Ends the socket; its port is free.
    pub fn unbind_datagram(&mut self, id: SocketId) {
        if !self.sockets.is_current(id.index, id.generation) {
            return;
        }
        if let Some(socket) = self.sockets.remove(id.index) {
            self.demux.sockets.remove(socket.local, socket.bind.is_dual(), id.index);
            self.leases.unbind(socket.reservation);
        }
    }

    pub(super) fn socket_mut(&mut self, id: SocketId) -> Option<&mut BoundSocket> {
        let current = self.sockets.is_current(id.index, id.generation);
        self.sockets.get_mut(id.index).filter(|_| current)
    }

    /// The socket that gets a datagram: one bound right where it goes before one bound to the port of all addresses, and
    /// among those that share a place one connected to its sender before the others.
    fn socket_for(&self, datagram: &UdpDatagram<'_>) -> Option<u32> {
        let tuple = FourTuple::new(datagram.destination, datagram.source);
        let remote = |index: u32| self.sockets.get(index).and_then(|socket| socket.remote);
        let places = &self.demux.sockets;
        [places.at(&datagram.destination), places.at_any(&datagram.destination)].into_iter().find_map(|group| {
            let connected = group.iter().copied().find(|index| remote(*index) == Some(datagram.source));
            let open = || {
                let open: Vec<u32> = group.iter().copied().filter(|index| remote(*index).is_none()).collect();
                self.demux.choose(&tuple, &open)
            };
            connected.or_else(open)
        })
    }

    /// Gives a datagram to the socket that is bound where it goes; `false` if there is none.
    pub(super) fn deliver_to_socket(&mut self, datagram: &UdpDatagram<'_>) -> bool {
        let Some(index) = self.socket_for(datagram) else { return false };
        self.deliver(index, datagram);
        true
    }

    /// Every socket bound to the port of all addresses gets a broadcast datagram (RFC 1122 §4.1.3.5), if it is its peer's or
    /// it has none.
    pub(super) fn deliver_broadcast(&mut self, datagram: &UdpDatagram<'_>) {
        for index in self.demux.sockets.at_any(&datagram.destination).to_vec() {
            let remote = self.sockets.get(index).and_then(|socket| socket.remote);
            if remote.is_none_or(|remote| remote == datagram.source) {
                self.deliver(index, datagram);
            }
        }
    }

    fn deliver(&mut self, index: u32, datagram: &UdpDatagram<'_>) {
        let id = SocketId { index, generation: self.sockets.generation(index) };
        let Some(socket) = self.sockets.get_mut(index) else { return };
        if !socket.arrived.push(datagram) {
            self.statistics.limited += 1;
        } else if !std::mem::replace(&mut socket.announced, true) {
            self.events.push_back(Event::DatagramReadable(id));
        }
    }
}
