use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use thiserror::Error;

use crate::PortRange;

/// What was typed, what is wrong with it, and where.
///
/// ```
/// use minato_ports::ForwardArgument;
///
/// let error = "8080:8O".parse::<ForwardArgument>().unwrap_err();
/// assert_eq!(error.to_string(), "'8O' is neither a port number nor a registered name");
/// assert_eq!(error.span, 5..7);
/// assert_eq!(error.pointer().to_string(), "8080:8O\n     ^^");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// The part that is wrong, in bytes of the text; empty where something is missing.
    pub span: Range<usize>,
    /// All that was typed.
    pub text: String,
}

/// What can be wrong with what was typed. The message of [`ParseError`] quotes the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Nothing where a port should be.
    #[error("a port is missing")]
    Missing,
    /// Neither a number nor a name that IANA has registered.
    #[error("is neither a port number nor a registered name")]
    NotAPort,
    /// The socket API takes it for "any port".
    #[error("is no port: 0 means any port and can't be named")]
    Zero,
    /// Above 65535.
    #[error("is too high: the highest port is 65535")]
    TooHigh,
    /// A range ends before it begins.
    #[error("ends before it begins")]
    Reversed,
    /// After the slash is neither TCP nor UDP.
    #[error("is no transport: there are tcp and udp")]
    UnknownTransport,
    /// A name that is registered, but not for the transport.
    #[error("is registered, but not for this transport")]
    OtherTransport,
    /// A name that is registered more than once.
    #[error("is registered for {0} and for {1}; name the number")]
    SeveralPorts(PortRange, PortRange),
    /// Not an IP address.
    #[error("is no IP address")]
    NotAnAddress,
    /// An IPv6 address without brackets.
    #[error("needs brackets, as every IPv6 address beside a port")]
    NoBrackets,
    /// A bracket that is not closed, or closed at the wrong place.
    #[error("has a bracket that is not closed")]
    OpenBracket,
    /// A forward with one port.
    #[error("is one port, and a forward needs two: PORT-OF-THIS-MACHINE:PORT-OF-THE-SERVICE")]
    OnePort,
    /// A forward between ranges of different lengths.
    #[error("has {service} ports, but {host} are forwarded to it")]
    Lengths {
        /// Ports on the machine.
        host: u32,
        /// Ports of the service.
        service: u32,
    },
    /// A rule without a name or an address.
    #[error("a name or an address is missing")]
    NoPlace,
    /// A URL where a rule should be.
    #[error("is a URL; a rule has a name or an address, and ports behind it")]
    Url,
    /// Not a domain name.
    #[error("is no domain name")]
    NotAName,
    /// A domain name in letters that DNS does not have.
    #[error("has letters that names in DNS don't have; write it as they do (xn--…)")]
    NotAscii,
    /// A wildcard that is not the first label.
    #[error("has a wildcard at the wrong place: '*.' may begin a name, and '*' alone is any name")]
    Wildcard,
    /// A prefix length behind a name.
    #[error("is the length of a prefix, which only an address has")]
    PrefixOfName,
    /// A prefix length that the address does not have.
    #[error("is no length of a prefix: from 0 to {0} bits")]
    PrefixLength(u8),
    /// An address with bits set behind its prefix.
    #[error("has bits set behind the prefix; these addresses are {0}/{1}")]
    HostBits(IpAddr, u8),
    /// An IPv4 address that is written as IPv6.
    #[error("is an IPv4 address written as IPv6; write it as IPv4")]
    MappedAddress,
    /// Ports or a transport behind `dns`.
    #[error("can't follow 'dns', which stands alone")]
    DnsAlone,
    /// Something else than ports behind a place.
    #[error("is neither ':PORTS' nor '/tcp' or '/udp'")]
    NotPorts,
}

impl ParseError {
    /// The text with a line below it that marks the part at fault, for a fixed-width font.
    pub fn pointer(&self) -> impl fmt::Display {
        let before = self.text[..self.span.start].chars().count();
        let marked = self.text[self.span.clone()].chars().count().max(1);
        format!("{}\n{}{}", self.text, " ".repeat(before), "^".repeat(marked))
    }
}

impl std::error::Error for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text[self.span.clone()] {
            "" if !matches!(self.kind, ParseErrorKind::Missing | ParseErrorKind::NoPlace) => {
                write!(f, "'' {}", self.kind)
            }
            "" => self.kind.fmt(f),
            part => write!(f, "'{part}' {}", self.kind),
        }
    }
}
