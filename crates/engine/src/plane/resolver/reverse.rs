//! The names of addresses: `2.0.77.10.in-addr.arpa` (RFC 1035 §3.5) and its like for IPv6 (RFC 3596 §2.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use minato_relay::Network;

use super::message::DnsName;
use super::zone::domain_name;

/// What a name below a network's reverse zone means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reverse {
    /// A whole address.
    Address(IpAddr),
    /// The beginning of one.
    Above,
    /// None.
    Nothing,
}

/// How one family writes its addresses as names.
struct Notation {
    domain: &'static str,
    /// Bits in one label.
    bits: u32,
    /// Labels of a whole address.
    whole: usize,
    radix: u32,
}

const V4: Notation = Notation { domain: "in-addr", bits: 8, whole: 4, radix: 10 };
const V6: Notation = Notation { domain: "ip6", bits: 4, whole: 32, radix: 16 };

/// What a name in lower case means, with the reverse zone that it is in; `None` if that is not one of the network's. Where
/// the prefix ends within a label, the zones are those of the label.
pub(super) fn find(labels: &[&str], network: &Network) -> Option<(Reverse, DnsName)> {
    let [numbers @ .., domain, "arpa"] = labels else { return None };
    let (notation, prefix) = match *domain {
        "in-addr" => (V4, network.prefix_v4),
        "ip6" => (V6, network.prefix_v6),
        _ => return None,
    };
    let least = u32::from(prefix).div_ceil(notation.bits) as usize;
    let zone = &numbers[numbers.len().checked_sub(least)?..];
    notation.address(zone).filter(|base| network.contains(*base))?;
    let apex: Vec<&str> = zone.iter().copied().chain([notation.domain, "arpa"]).collect();
    let meaning = match notation.address(numbers) {
        None => Reverse::Nothing,
        Some(address) if numbers.len() == notation.whole => Reverse::Address(address),
        Some(_) => Reverse::Above,
    };
    Some((meaning, domain_name(&apex)))
}

impl Notation {
    /// The address that begins with these numbers, the last one first, and is zero behind them.
    fn address(&self, numbers: &[&str]) -> Option<IpAddr> {
        if numbers.len() > self.whole {
            return None;
        }
        let mut bits = 0u128;
        for label in numbers.iter().rev() {
            bits = bits << self.bits | u128::from(self.number(label)?);
        }
        let missing = (self.whole - numbers.len()) as u32 * self.bits;
        let bits = bits.checked_shl(missing).unwrap_or(0);
        Some(match self.bits {
            8 => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        })
    }

    /// One label's number, written in the only way.
    fn number(&self, label: &str) -> Option<u32> {
        let number = u32::from_str_radix(label, self.radix).ok().filter(|number| number >> self.bits == 0)?;
        let written = if self.radix == 10 { number.to_string() } else { format!("{number:x}") };
        (written == label).then_some(number)
    }
}
