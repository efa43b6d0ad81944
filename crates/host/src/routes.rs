//! The machine's addresses and routes.

use std::{io, net::IpAddr};

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
    /// Index of the interface, if any.
    pub interface: Option<u32>,
    /// Routing table.
    pub table: u32,
}

impl Route {
    /// Whether this route, which is not a default route, and the network `address/prefix` have addresses in common.
    pub fn overlaps(&self, address: IpAddr, prefix: u8) -> bool {
        let _ = (address, prefix);
        unimplemented!()
    }
}

/// All addresses of the caller's network namespace.
///
/// # Errors
/// rtnetlink fails.
pub fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    unimplemented!()
}

/// All unicast routes of the caller's network namespace.
///
/// # Errors
/// rtnetlink fails.
pub fn routes() -> io::Result<Vec<Route>> {
    unimplemented!()
}
