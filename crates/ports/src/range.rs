use std::fmt;
use std::ops::RangeInclusive;

use thiserror::Error;

use crate::Port;

/// An inclusive, never empty range of ports.
///
/// ```
/// use minato_ports::{Port, PortRange};
///
/// let range = PortRange::from_numbers(8000, 8010)?;
/// assert_eq!(range.length(), 11);
/// assert!(range.contains(Port::new(8010).unwrap()));
/// assert_eq!(range.to_string(), "8000-8010");
/// # Ok::<(), minato_ports::PortRangeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: Port,
    last: Port,
}

/// Why two numbers are not the bounds of a [`PortRange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PortRangeError {
    /// A bound is 0.
    #[error("port 0 can't be part of a range")]
    Zero,
    /// The bounds are in the wrong order.
    #[error("the range {first}-{last} ends before it begins")]
    Reversed {
        /// The lower bound as given.
        first: Port,
        /// The upper bound as given.
        last: Port,
    },
}

impl PortRange {
    /// Every port, 1–65535.
    pub const ALL: PortRange = PortRange { first: Port::MIN, last: Port::MAX };
    /// IANA's dynamic or private ports, 49152–65535 (RFC 6335 §6).
    pub const DYNAMIC: PortRange = PortRange {
        first: match Port::new(49152) {
            Some(port) => port,
            None => Port::MIN,
        },
        last: Port::MAX,
    };

    /// The range from `first` to `last`, both inclusive.
    pub fn new(first: Port, last: Port) -> Result<PortRange, PortRangeError> {
        if first <= last { Ok(PortRange { first, last }) } else { Err(PortRangeError::Reversed { first, last }) }
    }

    /// The range between two numbers, both inclusive.
    pub fn from_numbers(first: u16, last: u16) -> Result<PortRange, PortRangeError> {
        let bound = |number| Port::new(number).ok_or(PortRangeError::Zero);
        PortRange::new(bound(first)?, bound(last)?)
    }

    /// The lowest port.
    pub const fn first(self) -> Port {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> Port {
        self.last
    }

    /// How many ports there are, 1 to 65,535.
    pub const fn length(self) -> u32 {
        self.last.value() as u32 - self.first.value() as u32 + 1
    }

    /// Whether `port` is one of them.
    pub fn contains(self, port: Port) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether the two have a port in common.
    pub fn overlaps(self, other: PortRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The port `offset` places after the first; `None` beyond the last.
    pub fn nth(self, offset: u32) -> Option<Port> {
        let number = u32::from(self.first.value()).checked_add(offset)?;
        Port::new(u16::try_from(number).ok()?).filter(|port| *port <= self.last)
    }

    /// How many places `port` is after the first; `None` outside the range.
    pub fn offset(self, port: Port) -> Option<u32> {
        self.contains(port).then(|| u32::from(port.value() - self.first.value()))
    }

    /// The ports in ascending order.
    pub fn iter(self) -> Ports {
        Ports(self.first.value()..=self.last.value())
    }
}

impl From<Port> for PortRange {
    fn from(port: Port) -> PortRange {
        PortRange { first: port, last: port }
    }
}

impl IntoIterator for PortRange {
    type Item = Port;
    type IntoIter = Ports;

    fn into_iter(self) -> Ports {
        self.iter()
    }
}

/// `8000-8010`, or `8000` for a range of one.
impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// The ports of a [`PortRange`] in ascending order.
#[derive(Clone, Debug)]
pub struct Ports(RangeInclusive<u16>);

impl Iterator for Ports {
    type Item = Port;

    fn next(&mut self) -> Option<Port> {
        self.0.next().and_then(Port::new)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Ports {
    fn next_back(&mut self) -> Option<Port> {
        self.0.next_back().and_then(Port::new)
    }
}

impl ExactSizeIterator for Ports {}
