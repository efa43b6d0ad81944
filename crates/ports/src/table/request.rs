use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::BindAddress;
use crate::{Port, Transport};

/// A port of one transport at a local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// TCP or UDP.
    pub transport: Transport,
    /// Where.
    pub address: BindAddress,
    /// Which port.
    pub port: Port,
}

/// What a socket asks of `bind(2)`: the binding, the options that let it be shared, and the user who asks.
///
/// The options are those at the time of binding; Linux, too, wants them set before. [`BindRequest::new`] makes family and
/// address fit each other.
///
/// ```
/// use minato_ports::{BindRequest, Port, Transport};
///
/// let request = BindRequest::new(Transport::Tcp, "::".parse().unwrap(), Port::new(80).unwrap())
///     .v6only(true)
///     .reuse_address(true);
/// assert_eq!(request.binding.to_string(), "[::]:80/tcp");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BindRequest {
    /// Address and port.
    pub binding: Binding,
    /// Address family of the socket.
    pub family: Family,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// Effective user ID of the socket's creator; only the same user shares a port by `SO_REUSEPORT`.
    pub uid: u32,
}

/// Address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`, which may be bound to an IPv4-mapped address, too.
    V6 {
        /// `IPV6_V6ONLY`. Binding to an IPv6 address other than `::` sets it.
        only: bool,
    },
}

impl Binding {
    pub(super) fn key(&self) -> (Transport, Port) {
        (self.transport, self.port)
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.address, self.port, self.transport)
    }
}

impl BindRequest {
    /// A request without options, of user 0. An IPv6 address, mapped ones included, means an IPv6 socket, and `::` both
    /// families.
    pub fn new(transport: Transport, address: IpAddr, port: Port) -> BindRequest {
        let binding = Binding { transport, address: BindAddress::from(address), port };
        let only = address.to_canonical().is_ipv6() && !address.is_unspecified();
        let family = if address.is_ipv4() { Family::V4 } else { Family::V6 { only } };
        BindRequest { binding, family, reuse_address: false, reuse_port: false, uid: 0 }
    }

    /// The same with `IPV6_V6ONLY` as told. It makes a difference only to `::`: with another address, it is as the address
    /// is.
    pub fn v6only(mut self, v6only: bool) -> BindRequest {
        let address = &mut self.binding.address;
        if let Family::V6 { only } = &mut self.family
            && address.ip() == Ipv6Addr::UNSPECIFIED
        {
            *only = v6only;
            *address = BindAddress::new(address.ip(), v6only);
        }
        self
    }

    /// The same with `SO_REUSEADDR` as told.
    pub fn reuse_address(mut self, reuse_address: bool) -> BindRequest {
        self.reuse_address = reuse_address;
        self
    }

    /// The same with `SO_REUSEPORT` as told.
    pub fn reuse_port(mut self, reuse_port: bool) -> BindRequest {
        self.reuse_port = reuse_port;
        self
    }

    /// The same from another user.
    pub fn uid(mut self, uid: u32) -> BindRequest {
        self.uid = uid;
        self
    }
}
