//! Active opening (RFC 9293 §3.10.1) and the choice of our end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use minato_ports::Port;

use super::Stack;
use crate::demux::FourTuple;
use crate::error::ConnectError;
use crate::id::ConnectionId;
use crate::leases::Lease;
use crate::tcp::{Beginning, Connection, Seq, SocketOptions};
use crate::time::Time;
use crate::types::canonical;
use crate::wire::ip::is_unicast;

impl Stack {
    /// Opens a connection. `local` may be any address, own or not (the answer must be routed here), its port 0 means an
    /// ephemeral one; `None` means an own address. `Event::Connected` or `Event::Reset` follows. `random` decides the
    /// ephemeral port. The SYN leaves with the next `poll_transmit`; `set_options` before that counts for it.
    ///
    /// # Errors
    /// If no local end is free or the addresses make no connection.
    pub fn connect(
        &mut self,
        now: Instant,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        random: u64,
    ) -> Result<ConnectionId, ConnectError> {
        let now = self.clock.read(now);
        let remote = canonical(remote);
        if remote.port() == 0 || !self.is_one_host(remote.ip()) {
            return Err(ConnectError::InvalidAddress { remote });
        }
        let local = match local {
            Some(local) => canonical(local),
            None => {
                let own = self.output.routes.own_address_towards(remote.ip());
                SocketAddr::new(own.ok_or(ConnectError::NoSourceAddress { remote })?, 0)
            }
        };
        if local.is_ipv4() != remote.is_ipv4() || !self.is_one_host(local.ip()) {
            return Err(ConnectError::InvalidAddress { remote });
        }
        if self.connections.len() >= self.config.limits.connections {
            return Err(ConnectError::Full);
        }
        let (local, lease) = self.local_end(local, remote, random)?;
        let tuple = FourTuple::new(local, remote);
        if self.demux.flow(&tuple).is_some() {
            self.leases.release(lease, local, remote);
            return Err(ConnectError::InUse { local, remote });
        }
        let beginning = self.beginning(now, &tuple, None, Arc::clone(&self.options));
        let mut connection = Connection::active(beginning, &self.config.tcp);
        connection.lease = lease;
        Ok(self.add_connection(connection))
    }

    /// Whether an address may be an end of a connection (RFC 9293 MUST-46, RFC 1122 §3.2.1.3).
    fn is_one_host(&self, address: IpAddr) -> bool {
        is_unicast(address) && !self.output.routes.is_broadcast(address)
    }

    /// What a connection begins with; `former` is SND.NXT of the one before between the same ends.
    pub(super) fn beginning(
        &self,
        now: Time,
        tuple: &FourTuple,
        former: Option<Seq>,
        options: Arc<SocketOptions>,
    ) -> Beginning {
        let (initial, timestamp_offset) = self.initial.choose(now, tuple, former);
        let segment_size = self.link_limits.of(tuple).segment_size_of(&options);
        Beginning { now, tuple: *tuple, initial, timestamp_offset, segment_size, options }
    }

    /// Our end as the port table allows it. An address that is not ours has no port space here: its ends must only be
    /// different from all others.
    fn local_end(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        random: u64,
    ) -> Result<(SocketAddr, Lease), ConnectError> {
        let Some(port) = Port::new(local.port()) else {
            let (port, lease) = self.leases.allocate(remote, random)?;
            return Ok((SocketAddr::new(local.ip(), port.value()), lease));
        };
        if !self.output.routes.is_own(local.ip()) {
            return Ok((local, Lease::default()));
        }
        if self.demux.flow(&FourTuple::new(local, remote)).is_some() {
            return Err(ConnectError::InUse { local, remote });
        }
        let lease = self.leases.connect(local, port, remote);
        lease.map(|lease| (local, lease)).map_err(|holder| ConnectError::PortHeld { local, holder })
    }
}
