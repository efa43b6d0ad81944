//! Small values that the public interface speaks in: link addresses, prefixes, and the reasons for not delivering.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address that every station takes.
    pub const BROADCAST: MacAddress = MacAddress([0xff; 6]);

    /// Whether one station is meant (the group bit is clear and it is not all zero).
    #[must_use]
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An end as the stack's tables know it: an IPv4-mapped address as IPv4, without scope and flow label, which mean nothing
/// here. Everything that callers pass in goes through this once.
pub(crate) fn canonical(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

/// An address and the length of the prefix that it shares with its neighbours on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpCidr {
    address: IpAddr,
    prefix_length: u8,
}

impl IpCidr {
    /// `None` if the prefix is longer than the address.
    #[must_use]
    pub fn new(address: IpAddr, prefix_length: u8) -> Option<IpCidr> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix_length <= longest).then_some(IpCidr { address, prefix_length })
    }

    /// The address itself, host part included.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of leading bits that neighbours share.
    #[must_use]
    pub fn prefix_length(&self) -> u8 {
        self.prefix_length
    }

    /// Whether `other` has the same prefix, so that it is on the same link.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.prefix_length);
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.prefix_length);
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// The address that reaches all IPv4 neighbours (`None` for IPv6, /31 and /32).
    #[must_use]
    pub fn broadcast(&self) -> Option<IpAddr> {
        match self.address {
            IpAddr::V4(own) if self.prefix_length < 31 => {
                let host_bits = u32::MAX.checked_shr(u32::from(self.prefix_length)).unwrap_or(0);
                Some(IpAddr::V4((own.to_bits() | host_bits).into()))
            }
            _ => None,
        }
    }
}

/// Why a packet is not delivered, as an ICMP error says it (RFC 792, RFC 4443).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// No route: `ENETUNREACH` at a Linux sender.
    Network,
    /// The route's last hop does not find the host: `EHOSTUNREACH`.
    Host,
    /// The host does not speak the protocol: `ENOPROTOOPT`.
    Protocol,
    /// Nobody has the port: `ECONNREFUSED`.
    Port,
    /// Forbidden by policy: `EHOSTUNREACH` over IPv4 and `EACCES` over IPv6.
    Prohibited,
    /// The hop limit ran out on the way: `EHOSTUNREACH`.
    HopLimit,
    /// The packet is larger than the path's next link, whose size this is.
    PacketTooBig(u16),
}
