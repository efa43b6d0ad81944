//! The Linux side: namespaces, TAP, netlink, sock_diag, process table and host sockets.
//!
//! Everything here is thin: it asks the kernel for one thing and names what went wrong. It is the only crate with
//! `unsafe`, and the only one that knows errno values; callers get enums.
#![allow(clippy::disallowed_methods)]

pub mod agent;
pub mod binds;
pub mod capture;
pub mod check;
pub mod direct;
pub mod enter;
pub mod firewall;
pub mod holder;
pub mod inherited;
pub mod memory;
pub mod names;
mod netlink;
pub mod parent;
pub mod passing;
pub mod process;
pub mod routes;
pub mod signals;
pub mod sock_diag;
pub mod sockets;
pub mod sync;
mod sys;
pub mod tap;

use serde::{Deserialize, Serialize};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of `address`.
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn domain(self) -> rustix::net::AddressFamily {
        match self {
            Self::V4 => rustix::net::AddressFamily::INET,
            Self::V6 => rustix::net::AddressFamily::INET6,
        }
    }
}

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// Transmission Control Protocol.
    Tcp,
    /// User Datagram Protocol.
    Udp,
}

/// An IPv4-mapped address of a dual-stack socket as the IPv4 address that it is; others as they are.
pub fn plain(address: std::net::SocketAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(address.ip().to_canonical(), address.port())
}
