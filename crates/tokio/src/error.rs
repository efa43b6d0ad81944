//! The stack's errors as `io::Error`, with the kinds that the kernel's sockets give.

use std::io::{Error, ErrorKind};

use minato_transport::{BindError, ConnectError, ListenError, ResetReason, SendDatagramError, Unreachable};

pub(crate) fn of_listen(error: ListenError) -> Error {
    let kind = match error {
        ListenError::InUse { .. } => ErrorKind::AddrInUse,
        ListenError::InvalidAddress(_) => ErrorKind::AddrNotAvailable,
    };
    Error::new(kind, error)
}

pub(crate) fn of_bind(error: BindError) -> Error {
    let kind = match error {
        BindError::InUse { .. } => ErrorKind::AddrInUse,
        BindError::InvalidAddress(_) | BindError::PortsExhausted(_) => ErrorKind::AddrNotAvailable,
    };
    Error::new(kind, error)
}

pub(crate) fn of_connect(error: ConnectError) -> Error {
    let kind = match error {
        ConnectError::InUse { .. } | ConnectError::PortHeld { .. } => ErrorKind::AddrInUse,
        ConnectError::PortsExhausted(_) => ErrorKind::AddrNotAvailable,
        ConnectError::NoSourceAddress { .. } => ErrorKind::NetworkUnreachable,
        ConnectError::InvalidAddress { .. } => ErrorKind::InvalidInput,
        ConnectError::Full => ErrorKind::QuotaExceeded,
    };
    Error::new(kind, error)
}

pub(crate) fn of_send(error: SendDatagramError) -> Error {
    let kind = match error {
        SendDatagramError::TooLarge(_) | SendDatagramError::FamilyMismatch => ErrorKind::InvalidInput,
        SendDatagramError::BroadcastForbidden => ErrorKind::PermissionDenied,
        SendDatagramError::NoRoute => ErrorKind::NetworkUnreachable,
        SendDatagramError::NoDestination => ErrorKind::NotConnected,
        SendDatagramError::Full => ErrorKind::WouldBlock,
    };
    Error::new(kind, error)
}

pub(crate) fn of_reset(reason: ResetReason) -> ErrorKind {
    match reason {
        ResetReason::Refused => ErrorKind::ConnectionRefused,
        ResetReason::ByPeer => ErrorKind::ConnectionReset,
        ResetReason::TimedOut => ErrorKind::TimedOut,
        ResetReason::Unreachable(reason) => of_unreachable(reason),
    }
}

pub(crate) fn of_unreachable(reason: Unreachable) -> ErrorKind {
    match reason {
        Unreachable::Network => ErrorKind::NetworkUnreachable,
        Unreachable::Port => ErrorKind::ConnectionRefused,
        Unreachable::Host
        | Unreachable::Protocol
        | Unreachable::Prohibited
        | Unreachable::HopLimit
        | Unreachable::PacketTooBig(_) => ErrorKind::HostUnreachable,
    }
}
