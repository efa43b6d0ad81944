//! Options of sockets: of one connection, of a listener for those that it accepts, of a UDP socket, and those of `bind(2)`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Stack;
use crate::id::{ConnectionId, ListenerId, SocketId};
use crate::tcp::SocketOptions;
use crate::wire::ip::Service;

/// Options of `bind(2)`, which decide whom a socket shares its port with. `SO_REUSEADDR` is not among them: TCP listeners
/// always have it, and UDP sockets never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindOptions {
    /// `IPV6_V6ONLY`: `[::]` means all own IPv6 addresses, and without it all of both families. On by default.
    pub v6only: bool,
    /// `SO_REUSEPORT`: several that set it may have the same address and port. Each flow goes to one of them, which its ends
    /// decide.
    pub reuse_port: bool,
}

impl BindOptions {
    /// The same for one address: only `[::]` can mean both families.
    pub(crate) fn for_address(self, address: IpAddr) -> BindOptions {
        let may_be_dual = address.is_ipv6() && address.is_unspecified();
        BindOptions { v6only: self.v6only || !may_be_dual, ..self }
    }

    /// Whether both families are meant.
    pub(crate) fn is_dual(self) -> bool {
        !self.v6only
    }
}

impl Default for BindOptions {
    fn default() -> BindOptions {
        BindOptions { v6only: true, reuse_port: false }
    }
}

/// Options of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramOptions {
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`.
    pub hop_limit: u8,
    /// `IP_TOS`, `IPV6_TCLASS`: the byte with the DSCP (RFC 2474) in its upper six bits; the lower two are ECN's.
    pub traffic_class: u8,
    /// `SO_BROADCAST`: may send to broadcast addresses.
    pub broadcast: bool,
    /// `SO_RCVBUF`: bytes of unread datagrams that are held; what finds no room is dropped.
    pub receive_buffer: usize,
}

impl DatagramOptions {
    /// What IP is told about every datagram.
    pub(super) fn service(self) -> Service {
        Service::new(self.hop_limit, self.traffic_class)
    }
}

impl Default for DatagramOptions {
    fn default() -> DatagramOptions {
        let Service { hop_limit, traffic_class } = Service::DEFAULT;
        DatagramOptions { hop_limit, traffic_class, broadcast: false, receive_buffer: 256 << 10 }
    }
}

/// Options of sockets.
impl Stack {
    /// A connection's options; `None` for a dead id.
    #[must_use]
    pub fn options(&self, id: ConnectionId) -> Option<&SocketOptions> {
        self.index(id).and_then(|index| self.connections.get(index)).map(|connection| &**connection.options())
    }

    /// Changes a connection's options, at any time; a dead id is harmless.
    ///
    /// ```ignore
    /// stack.set_options(now, id, |options| options.nagle = true);
    /// ```
    pub fn set_options(&mut self, now: Instant, id: ConnectionId, change: impl FnOnce(&mut SocketOptions)) {
        let now = self.clock.read(now);
        let Some(index) = self.index(id) else { return };
        let Some(connection) = self.connections.get(index) else { return };
        let limits = *self.link_limits.of(&connection.tuple);
        let Some(options) = changed(connection.options(), change) else { return };
        self.drive(now, index, |connection, ctx| connection.set_options(ctx, &limits, options));
    }

    /// The options of the connections that a listener accepts; `None` for a dead id.
    #[must_use]
    pub fn listener_options(&self, listener: ListenerId) -> Option<&SocketOptions> {
        let current = self.listeners.is_current(listener.index, listener.generation);
        self.listeners.get(listener.index).filter(|_| current).map(|listener| &*listener.options)
    }

    /// Changes the options of the connections that a listener accepts from now on; a dead id is harmless.
    pub fn set_listener_options(&mut self, listener: ListenerId, change: impl FnOnce(&mut SocketOptions)) {
        let current = self.listeners.is_current(listener.index, listener.generation);
        let Some(listener) = self.listeners.get_mut(listener.index).filter(|_| current) else { return };
        if let Some(options) = changed(&listener.options, change) {
            listener.options = Arc::new(options);
        }
    }

    /// A UDP socket's options; `None` for a dead id.
    #[must_use]
    pub fn datagram_options(&self, id: SocketId) -> Option<DatagramOptions> {
        let current = self.sockets.is_current(id.index, id.generation);
        self.sockets.get(id.index).filter(|_| current).map(|socket| socket.options)
    }

    /// Changes a UDP socket's options; a dead id is harmless.
    pub fn set_datagram_options(&mut self, id: SocketId, options: DatagramOptions) {
        if let Some(socket) = self.socket_mut(id) {
            socket.options = options;
            socket.arrived.set_limit(options.receive_buffer);
        }
    }
}

/// The options after a change, if it is one.
fn changed(options: &SocketOptions, change: impl FnOnce(&mut SocketOptions)) -> Option<SocketOptions> {
    let mut after = options.clone();
    change(&mut after);
    let after = after.within_bounds();
    (after != *options).then_some(after)
}
