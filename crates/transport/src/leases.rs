//! Our own port space: the port table and the ephemeral allocator decide, and nobody else.
//!
//! A lease is what a connection holds of it. It goes with the connection into TIME-WAIT and comes back in one place.

use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

use minato_ports::{
    AllocateError, BindRequest, Binding, EphemeralAllocator, Holder, Port, PortRange, PortTable, Reservation,
    ReserveError, Transport,
};

use crate::hash::KeyedState;
use crate::stack::BindOptions;

/// Ports that are tried before the range is searched: enough to find one of few free ones.
const DRAWS: u32 = 64;

/// What a connection holds.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// A binding of its own in the table: of a connection that a listener accepted, or that was given its local port.
    reservation: Option<Reservation>,
    /// Its port counts as used towards its destination.
    ephemeral: bool,
}

impl Lease {
    /// Whether the port was chosen for the connection, so that only the allocator knows of it.
    pub(crate) fn is_ephemeral(&self) -> bool {
        self.ephemeral && self.reservation.is_none()
    }
}

/// The port space of the stack's own addresses.
#[derive(Debug)]
pub(crate) struct Leases {
    table: PortTable,
    /// One for all own addresses: which of them speaks to a destination follows from the destination.
    ephemeral: EphemeralAllocator,
    /// Makes several random numbers of one.
    draws: KeyedState,
}

impl Leases {
    pub(crate) fn new(range: PortRange, key: [u8; 16]) -> Leases {
        let draws = KeyedState::new(&key, b'u');
        Leases { table: PortTable::new(), ephemeral: EphemeralAllocator::new(range, key), draws }
    }

    /// Reserves a port to listen on (TCP) or to be bound to (UDP); the binding in the way if there is one.
    pub(crate) fn bind(
        &mut self,
        transport: Transport,
        local: SocketAddr,
        port: Port,
        options: BindOptions,
    ) -> Result<Reservation, Binding> {
        let request = BindRequest::new(transport, local.ip(), port).v6only(options.v6only);
        let request = request.reuse_address(transport == Transport::Tcp).reuse_port(options.reuse_port);
        let reservation = self.table.reserve(request, ()).map_err(|error| in_the_way(&error))?;
        if transport == Transport::Tcp {
            if let Err(error) = self.table.listen(&reservation) {
                self.table.release(reservation);
                return Err(in_the_way(&error));
            }
            self.ephemeral.exclude(port);
        }
        Ok(reservation)
    }

    /// Reserves a UDP port of the ephemeral range that is free at `local`. Each is as likely, as with connections (RFC 6056
    /// §3.3.2); only where hardly one is free, the first behind others is likelier.
    pub(crate) fn bind_any(&mut self, local: IpAddr, random: u64, options: BindOptions) -> Option<(Port, Reservation)> {
        let length = self.ephemeral.range().length();
        let draw = |draws: &KeyedState, number| (draws.hash_one((random, number)) % u64::from(length)) as u32;
        (0..DRAWS).find_map(|number| self.bind_nth(local, draw(&self.draws, number), options)).or_else(|| {
            let first = draw(&self.draws, DRAWS);
            (0..length).find_map(|step| self.bind_nth(local, (first + step) % length, options))
        })
    }

    /// The UDP port at this place of the ephemeral range, if it is free.
    fn bind_nth(&mut self, local: IpAddr, place: u32, options: BindOptions) -> Option<(Port, Reservation)> {
        let port = self.ephemeral.range().nth(place)?;
        let reservation = self.bind(Transport::Udp, SocketAddr::new(local, 0), port, options).ok()?;
        Some((port, reservation))
    }

    /// Ends a binding; connections that came from it keep theirs.
    pub(crate) fn unbind(&mut self, reservation: Reservation) {
        let binding = self.table.get(reservation.id()).map(|holder| holder.request.binding);
        self.table.release(reservation);
        let Some(binding) = binding.filter(|binding| binding.transport == Transport::Tcp) else { return };
        let listening = |holder: &Holder<()>| holder.state == minato_ports::SocketState::Listening;
        if !self.table.at(Transport::Tcp, binding.port).any(listening) {
            self.ephemeral.include(binding.port);
        }
    }

    /// The lease of a connection that a listener accepted at `local`.
    pub(crate) fn accept(&mut self, listener: &Reservation, local: SocketAddr) -> Lease {
        Lease { reservation: Some(self.table.accept(listener, local.ip(), ())), ephemeral: false }
    }

    /// A port that is free towards `remote`.
    pub(crate) fn allocate(&mut self, remote: SocketAddr, random: u64) -> Result<(Port, Lease), AllocateError> {
        let port = self.ephemeral.allocate(remote, random)?;
        Ok((port, Lease { reservation: None, ephemeral: true }))
    }

    /// The lease of a connection from an own address whose port its caller chose.
    pub(crate) fn connect(&mut self, local: SocketAddr, port: Port, remote: SocketAddr) -> Result<Lease, Binding> {
        let request = BindRequest::new(Transport::Tcp, local.ip(), port).reuse_address(true);
        let reservation = self.table.reserve(request, ()).map_err(|error| in_the_way(&error))?;
        self.table.connect(&reservation, local.ip());
        Ok(Lease { reservation: Some(reservation), ephemeral: self.ephemeral.claim(remote, port) })
    }

    /// The connection is over from our side, and its ends are held back.
    pub(crate) fn time_wait(&mut self, lease: &Lease) {
        if let Some(reservation) = &lease.reservation {
            self.table.time_wait(reservation);
        }
    }

    /// Gives a lease back.
    pub(crate) fn release(&mut self, lease: Lease, local: SocketAddr, remote: SocketAddr) {
        if let Some(reservation) = lease.reservation {
            self.table.release(reservation);
        }
        if let Some(port) = Port::new(local.port()).filter(|_| lease.ephemeral) {
            self.ephemeral.release(remote, port);
        }
    }

    /// Every binding.
    pub(crate) fn table(&self) -> &PortTable {
        &self.table
    }
}

fn in_the_way(error: &ReserveError) -> Binding {
    error.holder.request.binding
}
