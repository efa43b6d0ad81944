use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The local address part of a binding: one address, all of a family, or all of both.
///
/// IPv4-mapped IPv6 addresses are IPv4 addresses here, as they are to Linux (`ipv6(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindAddress(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    /// The unspecified address is every IPv4 address.
    V4(Ipv4Addr),
    /// Never IPv4-mapped. The unspecified address is every IPv6 address.
    V6(Ipv6Addr),
    /// Every address of both families: `[::]` without `IPV6_V6ONLY`.
    Dual,
}

impl BindAddress {
    /// Every IPv4 address, `0.0.0.0`.
    pub const ANY_V4: BindAddress = BindAddress(Kind::V4(Ipv4Addr::UNSPECIFIED));
    /// Every IPv6 address and no IPv4 one: `[::]` with `IPV6_V6ONLY`.
    pub const ANY_V6: BindAddress = BindAddress(Kind::V6(Ipv6Addr::UNSPECIFIED));
    /// Every address of both families: `[::]` without `IPV6_V6ONLY`.
    pub const ANY: BindAddress = BindAddress(Kind::Dual);

    /// What a socket binds that asks for `address`, with the option `IPV6_V6ONLY` set or not. The option makes a
    /// difference only to `[::]`.
    pub fn new(address: IpAddr, v6only: bool) -> BindAddress {
        match address.to_canonical() {
            IpAddr::V4(v4) => BindAddress(Kind::V4(v4)),
            IpAddr::V6(v6) if v6.is_unspecified() && !v6only => BindAddress::ANY,
            IpAddr::V6(v6) => BindAddress(Kind::V6(v6)),
        }
    }

    /// The address as the socket API shows it; `::` for both kinds of IPv6 wildcard.
    pub fn ip(self) -> IpAddr {
        match self.0 {
            Kind::V4(v4) => IpAddr::V4(v4),
            Kind::V6(v6) => IpAddr::V6(v6),
            Kind::Dual => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// Whether it stands for more than one address.
    pub fn is_wildcard(self) -> bool {
        self.ip().is_unspecified()
    }

    /// Whether it takes both IPv4 and IPv6.
    pub fn is_dual_stack(self) -> bool {
        self.0 == Kind::Dual
    }

    /// Whether some packet could be meant for both.
    pub fn overlaps(self, other: BindAddress) -> bool {
        match (self.0, other.0) {
            (Kind::Dual, _) | (_, Kind::Dual) => true,
            (Kind::V4(a), Kind::V4(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
            (Kind::V6(a), Kind::V6(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
            (Kind::V4(_), Kind::V6(_)) | (Kind::V6(_), Kind::V4(_)) => false,
        }
    }

    /// Whether a packet to `destination` is meant for it.
    pub fn accepts(self, destination: IpAddr) -> bool {
        self.overlaps(BindAddress::new(destination, true))
    }

    /// Whether it is the same, or a wildcard of a family in which `other` is.
    pub(super) fn covers(self, other: BindAddress) -> bool {
        self == other
            || (self.is_wildcard() && self.overlaps(other) && self.ip().is_ipv4() == other.ip().is_ipv4())
            || self.is_dual_stack()
    }

    /// What is left of it once the local address is known.
    pub(super) fn narrowed(self, local: IpAddr) -> BindAddress {
        if self.is_wildcard() { BindAddress::new(local, true) } else { self }
    }
}

/// With `[::]` meaning both families, as a socket does unless told otherwise.
impl From<IpAddr> for BindAddress {
    fn from(address: IpAddr) -> BindAddress {
        BindAddress::new(address, false)
    }
}

/// `0.0.0.0`, `127.0.0.1`, `[::1]`, `[::]` for IPv6 alone, `*` for both families.
impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::V4(v4) => v4.fmt(f),
            Kind::V6(v6) => write!(f, "[{v6}]"),
            Kind::Dual => f.write_str("*"),
        }
    }
}
