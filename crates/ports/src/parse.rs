//! Reading what people type: ports, ranges, registered names, transports, forwards, egress rules.
//!
//! Every error carries the part of the text that is at fault. What is printed reads back as the same value.

mod egress;
mod error;
mod forward;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::str::FromStr;

pub use egress::{EgressRule, EgressTarget, NamePattern, Prefix};
pub use error::{ParseError, ParseErrorKind};
pub use forward::ForwardArgument;

use crate::registry;
use crate::{Port, PortRange, PortRangeError, Transport};

/// A port or range with or without a transport: `80`, `80/tcp`, `8000-8010/udp`, `http`, `https/udp`.
///
/// ```
/// use minato_ports::{PortArgument, Transport};
///
/// let argument: PortArgument = "domain/udp".parse()?;
/// assert_eq!(argument.ports.first().value(), 53);
/// assert_eq!(argument.transport, Some(Transport::Udp));
/// assert_eq!(argument.to_string(), "53/udp");
/// # Ok::<(), minato_ports::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortArgument {
    /// The port, or the range.
    pub ports: PortRange,
    /// The transport, if one is named.
    pub transport: Option<Transport>,
}

/// A part of what was typed, and where it begins.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    text: &'a str,
    start: usize,
}

impl FromStr for Port {
    type Err = ParseError;

    /// A number from 1 to 65535.
    fn from_str(text: &str) -> Result<Port, ParseError> {
        Part::whole(text).number().map_err(|error| error.of(text))
    }
}

impl FromStr for PortRange {
    type Err = ParseError;

    /// `8000-8010`, or one number.
    fn from_str(text: &str) -> Result<PortRange, ParseError> {
        Part::whole(text).numbers().map_err(|error| error.of(text))
    }
}

impl FromStr for Transport {
    type Err = ParseError;

    /// `tcp` or `udp`, in any case.
    fn from_str(text: &str) -> Result<Transport, ParseError> {
        Part::whole(text).transport().map_err(|error| error.of(text))
    }
}

impl FromStr for PortArgument {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<PortArgument, ParseError> {
        let parse = || {
            let (ports, transport) = Part::whole(text).with_transport()?;
            Ok(PortArgument { ports: ports.ports(transport)?, transport })
        };
        parse().map_err(|error: Fault| error.of(text))
    }
}

/// As it is parsed; a name is printed as its number.
impl fmt::Display for PortArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transport {
            None => self.ports.fmt(f),
            Some(transport) => write!(f, "{}/{transport}", self.ports),
        }
    }
}

/// An error that does not know the whole text yet.
#[derive(Debug)]
struct Fault {
    kind: ParseErrorKind,
    span: Range<usize>,
}

impl Fault {
    fn of(self, text: &str) -> ParseError {
        ParseError { kind: self.kind, span: self.span, text: text.to_owned() }
    }
}

impl<'a> Part<'a> {
    fn whole(text: &'a str) -> Part<'a> {
        Part { text, start: 0 }
    }

    fn fault(self, kind: ParseErrorKind) -> Fault {
        Fault { kind, span: self.start..self.start + self.text.len() }
    }

    fn split_once(self, separator: char) -> Option<(Part<'a>, Part<'a>)> {
        self.text.split_once(separator).map(|(before, after)| self.around(before, after))
    }

    fn rsplit_once(self, separator: char) -> Option<(Part<'a>, Part<'a>)> {
        self.text.rsplit_once(separator).map(|(before, after)| self.around(before, after))
    }

    fn around(self, before: &'a str, after: &'a str) -> (Part<'a>, Part<'a>) {
        let end = self.start + self.text.len();
        (Part { text: before, start: self.start }, Part { text: after, start: end - after.len() })
    }

    /// What precedes the slash, and the transport that follows it.
    fn with_transport(self) -> Result<(Part<'a>, Option<Transport>), Fault> {
        match self.rsplit_once('/') {
            None => Ok((self, None)),
            Some((before, transport)) => Ok((before, Some(transport.transport()?))),
        }
    }

    fn transport(self) -> Result<Transport, Fault> {
        let named = Transport::ALL.into_iter().find(|transport| self.text.eq_ignore_ascii_case(transport.name()));
        named.ok_or_else(|| self.fault(ParseErrorKind::UnknownTransport))
    }

    /// Numbers or a registered name.
    fn ports(self, transport: Option<Transport>) -> Result<PortRange, Fault> {
        let is_numeric = self.text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if is_numeric { self.numbers() } else { self.name(transport) }
    }

    fn numbers(self) -> Result<PortRange, Fault> {
        match self.split_once('-') {
            None => self.number().map(PortRange::from),
            Some((first, last)) => PortRange::new(first.number()?, last.number()?).map_err(|error| match error {
                PortRangeError::Reversed { .. } => self.fault(ParseErrorKind::Reversed),
                PortRangeError::Zero => self.fault(ParseErrorKind::Zero),
            }),
        }
    }

    fn number(self) -> Result<Port, Fault> {
        if self.text.is_empty() {
            return Err(self.fault(ParseErrorKind::Missing));
        }
        if !self.text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.fault(ParseErrorKind::NotAPort));
        }
        // Digits only, so that nothing but the size can be wrong.
        let number: u16 = self.text.parse().map_err(|_| self.fault(ParseErrorKind::TooHigh))?;
        Port::new(number).ok_or_else(|| self.fault(ParseErrorKind::Zero))
    }

    /// The port or range registered for a name. Guesses nothing where there are several.
    fn name(self, transport: Option<Transport>) -> Result<PortRange, Fault> {
        let mut known = registry::lookup_name(self.text).peekable();
        if known.peek().is_none() {
            return Err(self.fault(ParseErrorKind::NotAPort));
        }
        let mut found: Option<PortRange> = None;
        for service in known.filter(|service| transport.is_none_or(|transport| service.has_transport(transport))) {
            let Ok(ports) = PortRange::from_numbers(service.first_port(), service.last_port()) else { continue };
            if let Some(other) = found.filter(|found| *found != ports) {
                return Err(self.fault(ParseErrorKind::SeveralPorts(other, ports)));
            }
            found = Some(ports);
        }
        found.ok_or_else(|| self.fault(ParseErrorKind::OtherTransport))
    }

    /// An address; IPv6 in brackets, as in URLs (RFC 3986 §3.2.2).
    fn address(self) -> Result<IpAddr, Fault> {
        if let Some(inner) = self.text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(|| self.fault(ParseErrorKind::OpenBracket))?;
            return inner.parse().map(IpAddr::V6).map_err(|_| self.fault(ParseErrorKind::NotAnAddress));
        }
        match self.text.parse() {
            Ok(IpAddr::V6(_)) => Err(self.fault(ParseErrorKind::NoBrackets)),
            Ok(address) => Ok(address),
            Err(_) => Err(self.fault(ParseErrorKind::NotAnAddress)),
        }
    }
}
