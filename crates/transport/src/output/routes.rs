//! Which addresses are ours, which are on the link, and who is the next hop to the others.

use std::net::IpAddr;

use crate::types::{IpCidr, MacAddress};

/// The stack's addresses and gateways. Few, so they are searched in order.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    addresses: Vec<IpCidr>,
    gateways: Vec<IpAddr>,
}

impl Routes {
    pub(crate) fn new(addresses: &[IpCidr], gateways: &[IpAddr]) -> Routes {
        Routes { addresses: addresses.to_vec(), gateways: gateways.to_vec() }
    }

    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address() == address)
    }

    /// Whether it is the broadcast address of an own prefix.
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.broadcast() == Some(address))
    }

    /// Whether it is the broadcast address of an own prefix or the limited one.
    pub(crate) fn is_any_broadcast(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if address.is_broadcast()) || self.is_broadcast(address)
    }

    pub(crate) fn is_on_link(&self, address: IpAddr) -> bool {
        let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        link_local || self.addresses.iter().any(|own| own.contains(address))
    }

    /// Itself on the link, otherwise a gateway; `None` if there is none.
    pub(crate) fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        if self.is_on_link(destination) {
            return Some(destination);
        }
        self.gateways.iter().copied().find(|gateway| gateway.is_ipv4() == destination.is_ipv4())
    }

    /// The own address to speak to `other` with: on the same prefix if there is one.
    pub(crate) fn own_address_towards(&self, other: IpAddr) -> Option<IpAddr> {
        let on_link = self.addresses.iter().find(|own| own.contains(other));
        let any = || self.addresses.iter().find(|own| own.address().is_ipv4() == other.is_ipv4());
        on_link.or_else(any).map(IpCidr::address)
    }

    /// The station address of a broadcast or multicast destination (RFC 1112 §6.4, RFC 2464 §7).
    pub(crate) fn group_station(&self, destination: IpAddr) -> Option<MacAddress> {
        match destination {
            IpAddr::V4(_) if self.is_any_broadcast(destination) => Some(MacAddress::BROADCAST),
            IpAddr::V4(address) if address.is_multicast() => {
                let [_, b, c, d] = address.octets();
                Some(MacAddress([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
            }
            IpAddr::V6(address) if address.is_multicast() => {
                let octets = address.octets();
                Some(MacAddress([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]]))
            }
            _ => None,
        }
    }
}
