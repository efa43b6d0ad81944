use std::fmt;
use std::num::NonZeroU16;

/// A port number, 1 to 65535.
///
/// Port 0 is reserved (RFC 6335 §6) and means "any" to the socket API, so it is not a value of this type:
/// where it may occur, the type is `Option<Port>`.
///
/// ```
/// use minato_ports::{Port, PortClass};
///
/// let https = Port::new(443).unwrap();
/// assert_eq!(https.value(), 443);
/// assert_eq!(https.class(), PortClass::WellKnown);
/// assert_eq!(Port::new(0), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

impl Port {
    /// The lowest port, 1.
    pub const MIN: Port = Port(NonZeroU16::MIN);
    /// The highest port, 65535.
    pub const MAX: Port = Port(NonZeroU16::MAX);

    /// The port with this number; `None` for 0.
    pub const fn new(number: u16) -> Option<Port> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Port(number)),
            None => None,
        }
    }

    /// The port's number.
    pub const fn value(self) -> u16 {
        self.0.get()
    }

    /// IANA's class of the number.
    pub const fn class(self) -> PortClass {
        PortClass::of(self.value())
    }
}

impl From<NonZeroU16> for Port {
    fn from(number: NonZeroU16) -> Port {
        Port(number)
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> u16 {
        port.value()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// IANA's three classes of port numbers (RFC 6335 §6).
///
/// The class is a convention about assignment. Which ports a system hands to clients is another setting
/// (`net.ipv4.ip_local_port_range` on Linux), and often a different range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortClass {
    /// 0–1023, system ports: assigned by IANA; binding one needs a privilege on most systems.
    WellKnown,
    /// 1024–49151, user ports: assigned by IANA.
    Registered,
    /// 49152–65535, dynamic or private ports: never assigned.
    Dynamic,
}

impl PortClass {
    /// The class of any 16-bit number, 0 included.
    pub const fn of(number: u16) -> PortClass {
        match number {
            0..=1023 => PortClass::WellKnown,
            1024..=49151 => PortClass::Registered,
            49152.. => PortClass::Dynamic,
        }
    }
}

impl fmt::Display for PortClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PortClass::WellKnown => "well-known",
            PortClass::Registered => "registered",
            PortClass::Dynamic => "dynamic",
        })
    }
}
