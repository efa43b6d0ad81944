//! The machine's addresses and routes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use netlink_packet_core::Parseable;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use crate::netlink::{Netlink, route_payload};

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of its network's prefix.
    pub prefix: u8,
    /// Index of the interface.
    pub interface: u32,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its destination.
    pub destination: IpAddr,
    /// Length of the destination's prefix; 0 for a default route.
    pub prefix: u8,
    /// Next hop, if any.
    pub gateway: Option<IpAddr>,
    /// Index of the interface; `None` also for a route with several.
    pub interface: Option<u32>,
    /// Routing table.
    pub table: u32,
}

impl Route {
    /// Whether this route, which is not a default route, and the network `address/prefix` have addresses in common.
    pub fn overlaps(&self, address: IpAddr, prefix: u8) -> bool {
        let common = self.prefix.min(prefix);
        self.prefix > 0
            && self.destination.is_ipv4() == address.is_ipv4()
            && network(self.destination, common) == network(address, common)
    }
}

/// All addresses of the caller's network namespace.
///
/// # Errors
/// rtnetlink fails.
pub fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    let (kind, payload) = route_payload(RouteNetlinkMessage::GetAddress(AddressMessage::default()));
    dump(kind, &payload, |payload| {
        let message = AddressMessage::parse(payload).ok()?;
        let mut address = None;
        for attribute in &message.attributes {
            match attribute {
                // On a point-to-point link the other one is the peer's.
                AddressAttribute::Local(local) => address = Some(*local),
                AddressAttribute::Address(other) => address = address.or(Some(*other)),
                _ => {}
            }
        }
        let (prefix, interface) = (message.header.prefix_len, message.header.index);
        Some(InterfaceAddress { address: address?, prefix, interface })
    })
}

/// All unicast routes of the caller's network namespace.
///
/// # Errors
/// rtnetlink fails.
pub fn routes() -> io::Result<Vec<Route>> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let (kind, payload) = route_payload(RouteNetlinkMessage::GetRoute(request));
        match dump(kind, &payload, |payload| unicast(&RouteMessage::parse(payload).ok()?)) {
            Ok(found) => routes.extend(found),
            // A kernel without IPv6 has no routes of it.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(routes)
}

/// Tells when the machine's routes or addresses have changed.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// Changes of the caller's network namespace, from now on.
    ///
    /// # Errors
    /// rtnetlink fails.
    pub fn follow() -> io::Result<Changes> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(rustix::net::AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        let groups =
            [libc::RTMGRP_IPV4_ROUTE, libc::RTMGRP_IPV6_ROUTE, libc::RTMGRP_IPV4_IFADDR, libc::RTMGRP_IPV6_IFADDR];
        let groups = groups.into_iter().fold(0, |all, group| all | group as u32);
        bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        Ok(Changes(fd))
    }

    /// Takes every change that was told. What matters is that there was one: messages are lost when there are many.
    pub fn drain(&self) {
        let mut buffer = [0; 8192];
        // Anything but an empty queue (also `ENOBUFS`, that messages were lost) is a reason to go on.
        while !matches!(recv(&self.0, &mut buffer, RecvFlags::empty()), Err(Errno::AGAIN)) {}
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Changes {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The name of an interface of the caller's network namespace, unless it is gone.
pub fn interface_name(index: u32) -> Option<String> {
    let socket = socket_with(rustix::net::AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    rustix::net::netdevice::index_to_name(&socket, index).ok()
}

/// Collects a dump; one that other changes interrupted is made again, a few times.
fn dump<T>(kind: u16, request: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let mut netlink = Netlink::open(None)?;
    for _ in 0..3 {
        let mut found = Vec::new();
        if netlink.dump(kind, request, |payload| found.extend(parse(payload)))? {
            return Ok(found);
        }
    }
    Err(io::Error::other("the routing table does not stop changing"))
}

fn unicast(message: &RouteMessage) -> Option<Route> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut route = Route {
        destination: any,
        prefix: message.header.destination_prefix_length,
        gateway: None,
        interface: None,
        table: message.header.table.into(),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => route.destination = ip(address)?,
            RouteAttribute::Gateway(address) => route.gateway = ip(address),
            RouteAttribute::Oif(index) => route.interface = Some(*index),
            RouteAttribute::Table(table) => route.table = *table,
            _ => {}
        }
    }
    Some(route)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

/// The same as [`network`] of an IPv4 address.
pub fn network_v4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

/// An address with all bits behind the first `prefix` cleared: the first one of its network.
pub fn network(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => network_v4(v4, prefix).into(),
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: &str, prefix: u8) -> Route {
        Route { destination: destination.parse().unwrap(), prefix, gateway: None, interface: None, table: 254 }
    }

    #[test]
    fn overlap_is_symmetric_in_size_and_ignores_default_routes() {
        let network: IpAddr = "10.77.0.0".parse().unwrap();
        assert!(route("10.0.0.0", 8).overlaps(network, 24));
        assert!(route("10.77.0.128", 25).overlaps(network, 24));
        assert!(!route("10.77.1.0", 24).overlaps(network, 24));
        assert!(!route("0.0.0.0", 0).overlaps(network, 24));
        assert!(!route("fd77::", 16).overlaps(network, 24));
        assert!(route("fd77::", 16).overlaps("fd77:1::".parse().unwrap(), 64));
        assert!(route("fd77::1", 128).overlaps("fd77::1".parse().unwrap(), 128));
    }

    #[test]
    fn reads_the_machines_tables() {
        let addresses = addresses().unwrap();
        assert!(addresses.iter().all(|found| found.interface > 0 && found.prefix > 0), "{addresses:?}");
        routes().unwrap();
    }
}
