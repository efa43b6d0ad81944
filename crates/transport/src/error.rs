//! One error type per operation.

use std::net::{IpAddr, SocketAddr};

use minato_ports::{AllocateError, Binding};

/// Why [`Stack::accept_incoming`](crate::Stack::accept_incoming) did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// The client gave up, or the request was answered before.
    #[error("the connection request is gone")]
    Gone,
    /// As many connections as `Limits::connections` allows.
    #[error("too many connections")]
    Full,
}

/// Why [`Stack::connect`](crate::Stack::connect) did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Both ends exist already as one connection.
    #[error("{local} is connected to {remote} already")]
    InUse {
        /// Our end.
        local: SocketAddr,
        /// The other end.
        remote: SocketAddr,
    },
    /// The local port is held by another socket of the stack, which is named.
    #[error("{local} can't be used: {holder} stands in the way")]
    PortHeld {
        /// Our end.
        local: SocketAddr,
        /// What holds it.
        holder: Binding,
    },
    /// Every ephemeral port is used towards this destination.
    #[error(transparent)]
    PortsExhausted(#[from] AllocateError),
    /// No own address of the destination's family.
    #[error("no own address to reach {remote} from")]
    NoSourceAddress {
        /// The other end.
        remote: SocketAddr,
    },
    /// Local and remote differ in family, or an address or port can't be an end of a connection.
    #[error("{remote} can't be connected to")]
    InvalidAddress {
        /// The other end.
        remote: SocketAddr,
    },
    /// As many connections as `Limits::connections` allows.
    #[error("too many connections")]
    Full,
}

/// Why [`Stack::listen`](crate::Stack::listen) did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// The address and port are held by another socket of the stack, which is named.
    #[error("{local} is in use: {holder} stands in the way")]
    InUse {
        /// What was asked for.
        local: SocketAddr,
        /// What holds it.
        holder: Binding,
    },
    /// Port 0, or an address that is not the stack's own.
    #[error("{0} can't be listened on")]
    InvalidAddress(SocketAddr),
}

/// Why [`Stack::bind_datagram`](crate::Stack::bind_datagram) did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The address and port are held by another socket of the stack, which is named.
    #[error("{local} is in use: {holder} stands in the way")]
    InUse {
        /// What was asked for.
        local: SocketAddr,
        /// What holds it.
        holder: Binding,
    },
    /// An address that is not the stack's own.
    #[error("{0} can't be bound to")]
    InvalidAddress(SocketAddr),
    /// Port 0 was asked for, and no port of the ephemeral range is free at this address.
    #[error("no ephemeral port is free at {0}")]
    PortsExhausted(IpAddr),
}

/// Why [`Stack::receive_into`](crate::Stack::receive_into) has no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// Nothing now; `Event::Readable` follows.
    #[error("no data yet")]
    WouldBlock,
    /// The connection is gone.
    #[error("the connection is gone")]
    Gone,
}

/// Why [`Stack::send_datagram`](crate::Stack::send_datagram) did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendDatagramError {
    /// More than 65,507 bytes over IPv4 or 65,527 over IPv6.
    #[error("a datagram of {0} bytes is too large")]
    TooLarge(usize),
    /// Source and destination differ in family.
    #[error("source and destination differ in family")]
    FamilyMismatch,
    /// Neither on the link nor behind a gateway.
    #[error("no route to the destination")]
    NoRoute,
    /// The socket is gone, or has no peer and none was given.
    #[error("no destination")]
    NoDestination,
    /// A broadcast address, and the socket has no `DatagramOptions::broadcast`.
    #[error("broadcast needs the option to send it")]
    BroadcastForbidden,
    /// The packets that wait for `poll_transmit` reach `Limits::outgoing_bytes`.
    #[error("too many packets wait for the link")]
    Full,
}
