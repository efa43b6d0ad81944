//! IANA's Service Name and Transport Protocol Port Number Registry (RFC 6335), as a table in the binary.
//!
//! A registered name says what a number is *for*. It never says what is spoken on a port: anything may be.
//! The data is a text file beside this module, made by `cargo xtask registry`; lookups search an index of it and
//! allocate nothing.
//!
//! ```
//! use minato_ports::{Transport, registry};
//!
//! assert_eq!(registry::lookup(443, Transport::Tcp).unwrap().name(), "https");
//! assert_eq!(registry::lookup_name("PostgreSQL").next().unwrap().first_port(), 5432);
//! ```

#[rustfmt::skip]
mod index;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::{PortClass, PortRange, Transport};
use index::{BY_NAME, BY_PORT};

static TEXT: &str = include_str!("registry/iana.tsv");

/// A row of the registry: a name registered for a port or a range, for one or several protocols.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Service {
    name: &'static str,
    first: u16,
    last: u16,
    /// Bit set by [`Protocol`].
    protocols: u8,
    description: &'static str,
    historic: bool,
}

/// A protocol for which ports are registered. minato carries the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Transmission Control Protocol (RFC 9293).
    Tcp,
    /// User Datagram Protocol (RFC 768).
    Udp,
    /// Stream Control Transmission Protocol (RFC 9260).
    Sctp,
    /// Datagram Congestion Control Protocol (RFC 4340).
    Dccp,
}

/// What a port number is assigned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assignment {
    /// A service has it.
    Service(Service),
    /// No service has it, and none will get it without review (RFC 6335 §6); the registry's remark says why.
    Reserved(&'static str),
    /// Free to be assigned.
    Unassigned,
    /// A dynamic port, which is never assigned (RFC 6335 §6).
    Dynamic,
}

/// Where the data comes from and of what date, as lines of text.
pub fn source() -> impl Iterator<Item = &'static str> {
    TEXT.lines().map_while(|line| line.strip_prefix("# "))
}

/// The day of its newest part, as `2026-09-17`.
pub fn date() -> &'static str {
    let published = source().find_map(|line| line.split_once("(published ")?.1.split(')').next());
    published.unwrap_or("an unknown day")
}

/// The service registered for a port. Where several names are, the first that is not historic.
pub fn lookup(port: u16, transport: Transport) -> Option<Service> {
    rows(port).find(|row| !row.name.is_empty() && row.has_transport(transport))
}

/// Everything registered for a port, of every protocol, historic names last.
///
/// ```
/// let names: Vec<_> = minato_ports::registry::lookup_all(42).map(|service| service.name()).collect();
/// assert_eq!(names, ["name", "nameserver"]);
/// ```
pub fn lookup_all(port: u16) -> impl Iterator<Item = Service> {
    rows(port).filter(|row| !row.name.is_empty())
}

/// Every row with this name, by port. Case does not matter (RFC 6335 §5.1).
pub fn lookup_name(name: &str) -> impl Iterator<Item = Service> {
    let wanted = prefix(name);
    let is_before = |(prefix, offset): &(u64, u32)| {
        *prefix < wanted || (*prefix == wanted && compare_ignoring_case(name_at(*offset), name).is_lt())
    };
    let first = BY_NAME.partition_point(is_before);
    BY_NAME[first..].iter().map(|(_, offset)| row(*offset)).take_while(move |row| row.name.eq_ignore_ascii_case(name))
}

/// What a number is assigned to, which tells reserved from unassigned.
///
/// ```
/// use minato_ports::{Transport, registry::{self, Assignment}};
///
/// assert_eq!(registry::assignment(3, Transport::Tcp), Assignment::Reserved("Reserved [was compressnet]"));
/// assert_eq!(registry::assignment(4, Transport::Tcp), Assignment::Unassigned);
/// assert_eq!(registry::assignment(60000, Transport::Tcp), Assignment::Dynamic);
/// ```
pub fn assignment(port: u16, transport: Transport) -> Assignment {
    if let Some(service) = lookup(port, transport) {
        return Assignment::Service(service);
    }
    let remark = rows(port).find(|row| row.has_transport(transport)).map(|row| row.description);
    match remark {
        Some(remark) => Assignment::Reserved(remark),
        None if PortClass::of(port) == PortClass::Dynamic => Assignment::Dynamic,
        None => Assignment::Unassigned,
    }
}

/// The assignments of a range in order, equal neighbours together.
///
/// ```
/// use minato_ports::{PortRange, Transport, registry};
///
/// let range = PortRange::from_numbers(5999, 6063).unwrap();
/// let parts: Vec<_> = registry::assignments(range, Transport::Tcp).collect();
/// assert_eq!(parts[1].0, PortRange::from_numbers(6000, 6063).unwrap()); // x11
/// ```
pub fn assignments(range: PortRange, transport: Transport) -> impl Iterator<Item = (PortRange, Assignment)> {
    let mut rest = range.iter().map(move |port| (port, assignment(port.value(), transport))).peekable();
    std::iter::from_fn(move || {
        let (first, assignment) = rest.next()?;
        let mut last = first;
        while let Some((port, _)) = rest.next_if(|(_, next)| *next == assignment) {
            last = port;
        }
        Some((PortRange::new(first, last).expect("ports ascend"), assignment))
    })
}

/// Every service, by port.
pub fn services() -> impl Iterator<Item = Service> {
    lines().map(|(_, line)| parse(line)).filter(|row| !row.name.is_empty())
}

impl Service {
    /// The registered name, such as `https`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The port, or the first of a range.
    pub fn first_port(&self) -> u16 {
        self.first
    }

    /// The port, or the last of a range, inclusive.
    pub fn last_port(&self) -> u16 {
        self.last
    }

    /// What IANA says it is, in one line; may be empty.
    pub fn description(&self) -> &'static str {
        self.description
    }

    /// Whether IANA calls the name historic: another name of the port replaces it.
    pub fn is_historic(&self) -> bool {
        self.historic
    }

    /// The protocols it is registered for.
    pub fn protocols(&self) -> impl Iterator<Item = Protocol> {
        let protocols = self.protocols;
        Protocol::ALL.into_iter().filter(move |protocol| protocols & protocol.bit() != 0)
    }

    /// Whether it is registered for TCP or UDP, as told.
    pub fn has_transport(&self, transport: Transport) -> bool {
        self.protocols & Protocol::from(transport).bit() != 0
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocols: Vec<_> = self.protocols().map(Protocol::name).collect();
        write!(f, "{} {}-{}/{} {:?}", self.name, self.first, self.last, protocols.join("+"), self.description)
    }
}

impl Protocol {
    /// All of them, in a fixed order.
    pub const ALL: [Protocol; 4] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Dccp];

    /// The name that follows the slash in `80/tcp`.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => Transport::Tcp.name(),
            Protocol::Udp => Transport::Udp.name(),
            Protocol::Sctp => "sctp",
            Protocol::Dccp => "dccp",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Protocol {
        match transport {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        }
    }
}

/// The rows of a port, reserved ones included.
fn rows(port: u16) -> impl Iterator<Item = Service> {
    let first = BY_PORT.partition_point(|(other, _)| *other < port);
    BY_PORT[first..].iter().take_while(move |(other, _)| *other == port).map(|(_, offset)| row(*offset))
}

fn row(offset: u32) -> Service {
    let rest = &TEXT[offset as usize..];
    parse(rest.split_once('\n').map_or(rest, |(line, _)| line))
}

fn name_at(offset: u32) -> &'static str {
    let rest = &TEXT[offset as usize..];
    rest.split_once('\t').map_or(rest, |(name, _)| name)
}

/// The lines of the file that are rows, with their offsets.
fn lines() -> impl Iterator<Item = (usize, &'static str)> {
    let start = TEXT.as_ptr() as usize;
    TEXT.lines().filter(|line| !line.starts_with('#')).map(move |line| (line.as_ptr() as usize - start, line))
}

/// Reads one line; the file is made by `cargo xtask registry` and a test reads all of it.
fn parse(line: &'static str) -> Service {
    let mut fields = line.split('\t');
    let mut field = || fields.next().unwrap_or_default();
    let (name, ports, protocols, description, remark) = (field(), field(), field(), field(), field());
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse().unwrap_or_default();
    let bit = |text: &str| Protocol::ALL.iter().find(|protocol| protocol.name() == text).map_or(0, |found| found.bit());
    Service {
        name,
        first: number(first),
        last: number(last),
        protocols: protocols.split(' ').map(bit).fold(0, |set, bit| set | bit),
        description,
        historic: remark == "historic",
    }
}

/// The first 8 bytes in lower case, so that numbers are ordered as the names are.
fn prefix(name: &str) -> u64 {
    name.bytes().chain([0; 8]).take(8).fold(0, |number, byte| number << 8 | u64::from(byte.to_ascii_lowercase()))
}

fn compare_ignoring_case(a: &str, b: &str) -> std::cmp::Ordering {
    a.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(b.bytes().map(|byte| byte.to_ascii_lowercase()))
}
