//! A subnet that somebody has chosen for a network.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use minato_host::routes::network_v4;

/// Shortest and longest prefix: so that hosts differ in their last byte, and that there is room for a few of them.
const PREFIXES: std::ops::RangeInclusive<u8> = 16..=29;
/// The prefix of a network's subnet that nobody has chosen.
pub(crate) const FREE_PREFIX: u8 = 24;
/// Where networks of one's own may be: RFC 1918 §3, and RFC 6598 §7.
const PRIVATE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
];

/// An IPv4 subnet for private use, `10.99.3.0/24`. Its IPv6 prefix follows from it.
///
/// ```
/// use minato_engine::FixedSubnet;
///
/// let subnet: FixedSubnet = "10.99.3.0/24".parse()?;
/// assert_eq!(subnet.to_string(), "10.99.3.0/24");
/// assert!("10.99.3.7/24".parse::<FixedSubnet>().is_err());
/// # Ok::<(), minato_engine::FixedSubnetError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedSubnet {
    base: Ipv4Addr,
    prefix: u8,
}

/// How many hosts a network has addresses for: in this subnet, or in one that is free. Its first and last address are no
/// host's, and one is the gateway's.
pub fn most_hosts(subnet: Option<FixedSubnet>) -> u32 {
    let prefix = subnet.map_or(FREE_PREFIX, FixedSubnet::prefix);
    (1 << (32 - u32::from(prefix))) - 3
}

/// Why a text is no subnet for a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FixedSubnetError {
    /// It has another form.
    #[error("a subnet is written as 10.99.3.0/24")]
    Malformed,
    /// The prefix is too short or too long.
    #[error("its prefix has {0} bits; {first} to {last} are possible", first = PREFIXES.start(), last = PREFIXES.end())]
    Prefix(u8),
    /// Bits behind the prefix are set.
    #[error("{address} is an address in it; the subnet is {base}/{prefix}")]
    HostBits {
        /// What was written.
        address: Ipv4Addr,
        /// The first address of its subnet.
        base: Ipv4Addr,
        /// The prefix that was written.
        prefix: u8,
    },
    /// Others may have these addresses.
    #[error("it is not for private use (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10)")]
    Public,
}

impl FixedSubnet {
    /// The first address, which no host has.
    pub(crate) fn base(self) -> Ipv4Addr {
        self.base
    }

    /// How many leading bits its addresses share.
    pub(crate) fn prefix(self) -> u8 {
        self.prefix
    }
}

impl FromStr for FixedSubnet {
    type Err = FixedSubnetError;

    fn from_str(text: &str) -> Result<FixedSubnet, FixedSubnetError> {
        let (address, prefix) = text.split_once('/').ok_or(FixedSubnetError::Malformed)?;
        let address: Ipv4Addr = address.parse().map_err(|_| FixedSubnetError::Malformed)?;
        // A sign or a zero in front would be read as a number too.
        let prefix = prefix.parse::<u8>().ok().filter(|number| number.to_string() == prefix);
        let prefix = prefix.filter(|prefix| *prefix <= 32).ok_or(FixedSubnetError::Malformed)?;
        if !PREFIXES.contains(&prefix) {
            return Err(FixedSubnetError::Prefix(prefix));
        }
        let base = network_v4(address, prefix);
        if base != address {
            return Err(FixedSubnetError::HostBits { address, base, prefix });
        }
        if !PRIVATE.iter().any(|(range, bits)| *bits <= prefix && network_v4(base, *bits) == *range) {
            return Err(FixedSubnetError::Public);
        }
        Ok(FixedSubnet { base, prefix })
    }
}

impl fmt::Display for FixedSubnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_subnets_of_a_fit_size() {
        for good in ["10.99.3.0/24", "10.0.0.0/16", "172.31.255.248/29", "192.168.4.64/26", "100.127.0.0/20"] {
            assert_eq!(good.parse::<FixedSubnet>().unwrap().to_string(), good);
        }
        let why = |text: &str| text.parse::<FixedSubnet>().unwrap_err();
        for bad in
            ["", "10.99.3.0", "10.99.3.0/", "10.99.3.0/024", "10.99.3.0/+24", "10.99.3/24", "fd00::/64", "10.0.0.0/33"]
        {
            assert_eq!(why(bad), FixedSubnetError::Malformed, "{bad}");
        }
        assert_eq!(why("10.0.0.0/15"), FixedSubnetError::Prefix(15));
        assert_eq!(why("10.0.0.0/30"), FixedSubnetError::Prefix(30));
        for bad in ["8.8.8.0/24", "172.32.0.0/24", "192.169.0.0/24", "100.128.0.0/16", "127.0.0.0/24", "0.0.0.0/16"] {
            assert_eq!(why(bad), FixedSubnetError::Public, "{bad}");
        }
        assert_eq!(why("10.99.3.7/24").to_string(), "10.99.3.7 is an address in it; the subnet is 10.99.3.0/24");
    }
}
