//! Which addresses are ours, which are on the link, and who is the next hop to the others.

use std::net::IpAddr;

use crate::config::Config;
use crate::types::{IpCidr, MacAddress};

/// The stack's addresses and gateways. Few, so they are searched in order.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    addresses: Vec<IpCidr>,
    /// Own addresses that are spoken from only if there is no other.
    deprecated: Vec<IpAddr>,
    gateways: Vec<IpAddr>,
}

impl Routes {
    pub(crate) fn new(config: &Config) -> Routes {
        let Config { addresses, deprecated, gateways, .. } = config.clone();
        Routes { addresses, deprecated, gateways }
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

    /// The own address to speak to `other` with, by the rules of RFC 6724 §5 that have a meaning here; the first of several
    /// that are as good.
    pub(crate) fn own_address_towards(&self, other: IpAddr) -> Option<IpAddr> {
        let next_hop = self.next_hop(other);
        let candidates = self.addresses.iter().filter(|own| own.address().is_ipv4() == other.is_ipv4());
        let merits = |own: &&IpCidr| Merits {
            same: own.address() == other,
            scope: appropriateness(scope(own.address()), scope(other)),
            current: !self.deprecated.contains(&own.address()),
            // RFC 6724 §5 rule 5.5, and what IPv4 hosts do: on the prefix of the router that it goes to.
            near: next_hop.is_some_and(|next_hop| own.contains(next_hop)),
            label: label(own.address()) == label(other),
            prefix: common_prefix(own.address(), other).min(own.prefix_length()),
        };
        // The last of those that are as good is what `max_by_key` gives.
        candidates.rev().max_by_key(merits).map(IpCidr::address)
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

/// What speaks for an own address as the source of a packet, the most important first (RFC 6724 §5: rules 1, 2, 3, 5.5, 6, 8;
/// there are no home or temporary addresses, and one interface).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Merits {
    same: bool,
    scope: u8,
    current: bool,
    near: bool,
    label: bool,
    prefix: u8,
}

/// RFC 6724 §3.1: link-local or global; unique local addresses are global ones.
fn scope(address: IpAddr) -> u8 {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_loopback(),
    };
    if link_local { 2 } else { 14 }
}

/// RFC 6724 §5 rule 2: the smallest scope that is not too small, or else the largest.
fn appropriateness(own: u8, other: u8) -> u8 {
    if own >= other { u8::MAX - own } else { own }
}

/// RFC 6724 §2.1, the default policy table.
fn label(address: IpAddr) -> u8 {
    let IpAddr::V6(address) = address else { return 4 };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => 0,
        [0x2002, ..] => 2,
        [0x2001, 0, ..] => 5,
        [first, ..] if first & 0xfe00 == 0xfc00 => 13,
        [0, 0, 0, 0, 0, 0, ..] => 3,
        [first, ..] if first & 0xffc0 == 0xfec0 => 11,
        [0x3ffe, ..] => 12,
        _ => 1,
    }
}

/// RFC 6724 §2.2: the leading bits that both have in common.
fn common_prefix(one: IpAddr, other: IpAddr) -> u8 {
    let bits = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => 0,
    };
    bits as u8
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Routes;
    use crate::config::{Config, Link};
    use crate::types::IpCidr;

    fn parse(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn routes(addresses: &[&str], deprecated: &[&str], gateways: &[&str]) -> Routes {
        let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, [1; 16]);
        config.addresses = addresses
            .iter()
            .map(|text| {
                let (address, length) = text.split_once('/').expect("a prefix");
                IpCidr::new(parse(address), length.parse().expect("a length")).expect("not too long")
            })
            .collect();
        config.deprecated = deprecated.iter().copied().map(parse).collect();
        config.gateways = gateways.iter().copied().map(parse).collect();
        Routes::new(&config)
    }

    #[test]
    fn the_source_is_chosen_by_the_rules() {
        let six = ["fe80::1/64", "fd00::1/64", "2001:db8:1::1/64", "2001:db8:2::1/64", "2001:db8:2::9/64"];
        let four = ["10.0.0.1/24", "10.0.1.1/24", "192.168.7.1/16", "169.254.1.1/16"];
        let gateways = ["2001:db8:1::fe", "192.168.0.254"];
        let cases = [
            (&six[..], &[][..], "2001:db8:2::1", Some("2001:db8:2::1"), "rule 1: the same"),
            (&six, &[], "fe80::9", Some("fe80::1"), "rule 2: no more scope than needed"),
            (
                &six,
                &[],
                "2001:db8:2::77",
                Some("2001:db8:2::1"),
                "rule 2, 8: enough scope, the longest prefix, the first",
            ),
            (&six, &["2001:db8:2::1"], "2001:db8:2::77", Some("2001:db8:2::9"), "rule 3: not deprecated"),
            (&six[2..4], &["2001:db8:1::1", "2001:db8:2::1"], "2001:db8:2::7", Some("2001:db8:2::1"), "all deprecated"),
            (&six, &[], "2001:4860::1", Some("2001:db8:1::1"), "rule 5.5: near the router"),
            (&six[1..3], &[], "fd77::5", Some("2001:db8:1::1"), "rule 5.5 goes before rule 6"),
            (&four, &[], "10.0.1.77", Some("10.0.1.1"), "the same prefix"),
            (&four, &[], "198.51.100.1", Some("192.168.7.1"), "on the router's prefix"),
            (&four, &[], "2001:db8::1", None, "the same family"),
            (&four[..2], &["10.0.0.1"], "203.0.113.1", Some("10.0.1.1"), "not deprecated"),
        ];
        for (addresses, deprecated, other, chosen, why) in cases {
            let routes = routes(addresses, deprecated, &gateways);
            assert_eq!(routes.own_address_towards(parse(other)), chosen.map(parse), "{other}: {why}");
        }
        let alone = routes(&["2001:db8:1::1/64", "fd00::1/64"], &[], &[]);
        assert_eq!(alone.own_address_towards(parse("fd77::5")), Some(parse("fd00::1")), "rule 6: the same label");
    }
}
