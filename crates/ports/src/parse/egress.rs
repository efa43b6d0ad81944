use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{Fault, ParseError, ParseErrorKind, Part};
use crate::{Port, PortRange, Transport};

mod name;
#[cfg(test)]
mod tests;

pub use name::NamePattern;

/// A rule of an egress policy: `dns`, or `NAME|ADDRESS[/PREFIX][:PORTS][/tcp|/udp]`. Without ports it means every port, and
/// ICMP echo too; without a transport both.
///
/// ```
/// use minato_ports::{EgressRule, Transport};
///
/// let rule: EgressRule = "[2001:db8::]/32:https/tcp".parse()?;
/// assert!(rule.has_address("2001:db8::7".parse().unwrap()));
/// assert_eq!(rule.transport, Some(Transport::Tcp));
/// assert_eq!(rule.to_string(), "[2001:db8::]/32:443/tcp");
/// # Ok::<(), minato_ports::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EgressRule {
    /// What it is about.
    pub target: EgressTarget,
    /// Only these ports; `None` for all.
    pub ports: Option<PortRange>,
    /// Only this transport; `None` for both.
    pub transport: Option<Transport>,
}

/// What an egress rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EgressTarget {
    /// Questions about any name.
    Dns,
    /// A name, or every name below one.
    Name(NamePattern),
    /// An address, or all with one prefix.
    Addresses(Prefix),
}

/// An address and how many of its leading bits count. Invariant: the other bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl EgressRule {
    /// Whether it names this address, itself or by a prefix.
    pub fn has_address(&self, address: IpAddr) -> bool {
        matches!(self.target, EgressTarget::Addresses(prefix) if prefix.contains(address))
    }

    /// Whether it is about this port of this transport, wherever that is.
    pub fn has_port(&self, transport: Transport, port: u16) -> bool {
        self.transport.is_none_or(|only| only == transport)
            && self.ports.is_none_or(|ports| Port::new(port).is_some_and(|port| ports.contains(port)))
    }

    /// Whether it is about what has no ports, as ICMP echo.
    pub fn has_everything(&self) -> bool {
        self.ports.is_none() && self.transport.is_none()
    }

    fn parse(text: &str) -> Result<EgressRule, Fault> {
        let whole = Part::whole(text);
        let (place, rest) = whole.place()?;
        if place.text.eq_ignore_ascii_case("dns") {
            let rule = EgressRule { target: EgressTarget::Dns, ports: None, transport: None };
            return if rest.text.is_empty() { Ok(rule) } else { Err(rest.fault(ParseErrorKind::DnsAlone)) };
        }
        let (length, rest) = rest.prefix_length();
        let target = match place.looks_like_an_address() {
            true => EgressTarget::Addresses(place.prefix(length)?),
            false => match length {
                None => EgressTarget::Name(place.name_pattern()?),
                Some(length) => return Err(length.fault(ParseErrorKind::PrefixOfName)),
            },
        };
        let (ports, transport) = rest.ports_of_rule()?;
        Ok(EgressRule { target, ports, transport })
    }
}

impl FromStr for EgressRule {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<EgressRule, ParseError> {
        EgressRule::parse(text).map_err(|error| error.of(text))
    }
}

/// As it is parsed, with numbers for names of ports and names in lower case.
impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            EgressTarget::Dns => f.write_str("dns")?,
            EgressTarget::Name(name) => name.fmt(f)?,
            EgressTarget::Addresses(prefix) => prefix.fmt(f)?,
        }
        if let Some(ports) = self.ports {
            write!(f, ":{ports}")?;
        }
        self.transport.map_or(Ok(()), |transport| write!(f, "/{transport}"))
    }
}

impl Prefix {
    /// The addresses that begin with the first `length` bits of `address`; `None` if there are not as many, or if other
    /// bits are set.
    pub fn new(address: IpAddr, length: u8) -> Option<Prefix> {
        let prefix = Prefix { address: leading(address, length)?, length };
        (prefix.address == address).then_some(prefix)
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && leading(address, self.length) == Some(self.address)
    }
}

/// IPv6 in brackets, and a length unless it is all bits.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = match self.address {
            IpAddr::V4(v4) => write!(f, "{v4}").map(|()| 32)?,
            IpAddr::V6(v6) => write!(f, "[{v6}]").map(|()| 128)?,
        };
        if self.length == bits { Ok(()) } else { write!(f, "/{}", self.length) }
    }
}

/// The address with all bits behind the first `length` cleared; `None` if it has fewer.
fn leading(address: IpAddr, length: u8) -> Option<IpAddr> {
    let length = u32::from(length);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32u32.checked_sub(length)?).unwrap_or(0);
            Some(IpAddr::V4((v4.to_bits() & mask).into()))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128u32.checked_sub(length)?).unwrap_or(0);
            Some(IpAddr::V6((v6.to_bits() & mask).into()))
        }
    }
}

impl<'a> Part<'a> {
    /// A name or an address, and what follows it.
    fn place(self) -> Result<(Part<'a>, Part<'a>), Fault> {
        let end = match self.text.starts_with('[') {
            true => self.text.find(']').ok_or_else(|| self.fault(ParseErrorKind::OpenBracket))? + 1,
            false => self.text.find([':', '/']).unwrap_or(self.text.len()),
        };
        let (place, rest) = self.text.split_at(end);
        let (place, rest) = self.around(place, rest);
        // More than one colon can only be an IPv6 address.
        if !self.text.starts_with('[') && rest.text.matches(':').count() > 1 {
            return Err(self.fault(ParseErrorKind::NoBrackets));
        }
        if rest.text.starts_with("://") {
            return Err(self.fault(ParseErrorKind::Url));
        }
        if place.text.is_empty() {
            return Err(place.fault(ParseErrorKind::NoPlace));
        }
        Ok((place, rest))
    }

    /// `/LENGTH`, if that comes next, and what follows it.
    fn prefix_length(self) -> (Option<Part<'a>>, Part<'a>) {
        let Some(after) = self.text.strip_prefix('/') else { return (None, self) };
        let end = after.find([':', '/']).unwrap_or(after.len());
        let (length, rest) = after.split_at(end);
        if !length.starts_with(|first: char| first.is_ascii_digit()) {
            return (None, self);
        }
        (Some(Part { text: length, start: self.start + 1 }), self.around("", rest).1)
    }

    fn looks_like_an_address(self) -> bool {
        let name = self.text.strip_suffix('.').unwrap_or(self.text);
        let last = name.rsplit('.').next().unwrap_or_default();
        self.text.starts_with('[') || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
    }

    fn prefix(self, length: Option<Part<'a>>) -> Result<Prefix, Fault> {
        let address = self.address()?;
        // Sockets take an IPv4 address that is written as IPv6 for IPv4, and so must a rule.
        if address.to_canonical() != address {
            return Err(self.fault(ParseErrorKind::MappedAddress));
        }
        let all = if address.is_ipv4() { 32 } else { 128 };
        let Some(part) = length else { return Ok(Prefix { address, length: all }) };
        let length = part.text.parse().ok().filter(|length| *length <= all);
        let length = length.ok_or_else(|| part.fault(ParseErrorKind::PrefixLength(all)))?;
        let masked = leading(address, length).unwrap_or(address);
        Prefix::new(address, length).ok_or_else(|| self.fault(ParseErrorKind::HostBits(masked, length)))
    }

    /// `[:PORTS][/TRANSPORT]`, which is all that may follow a place.
    fn ports_of_rule(self) -> Result<(Option<PortRange>, Option<Transport>), Fault> {
        if let Some(ports) = self.text.strip_prefix(':') {
            let (ports, transport) = self.around("", ports).1.with_transport()?;
            return Ok((Some(ports.ports(transport)?), transport));
        }
        match self.text.strip_prefix('/') {
            Some(transport) => Ok((None, Some(self.around("", transport).1.transport()?))),
            None if self.text.is_empty() => Ok((None, None)),
            None => Err(self.fault(ParseErrorKind::NotPorts)),
        }
    }
}
