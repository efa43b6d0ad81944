use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{Fault, ParseError, ParseErrorKind, Part};
use crate::{Port, PortRange, Transport};

/// What is to be forwarded, as `-p` takes it: `[IP:]HOSTPORT:PORT[/tcp|/udp]`, with ports, ranges of one length, or
/// registered names.
///
/// ```
/// use minato_ports::{ForwardArgument, Transport};
///
/// let forward: ForwardArgument = "[::1]:8080:http".parse()?;
/// assert_eq!(forward.address(), Some("::1".parse().unwrap()));
/// assert_eq!(forward.transport(), Transport::Tcp);
/// assert_eq!(forward.to_string(), "[::1]:8080:80");
/// # Ok::<(), minato_ports::ParseError>(())
/// ```
///
/// Invariant: both ranges have the same length; hence the accessors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ForwardArgument {
    address: Option<IpAddr>,
    host_ports: PortRange,
    service_ports: PortRange,
    transport: Transport,
}

impl ForwardArgument {
    /// The address on the machine; `None` if none is named, which means its loopback addresses.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The ports on the machine.
    pub fn host_ports(&self) -> PortRange {
        self.host_ports
    }

    /// The ports of the service, as many.
    pub fn service_ports(&self) -> PortRange {
        self.service_ports
    }

    /// TCP, unless UDP is named.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Each port of the machine with the service's port that it leads to.
    pub fn pairs(&self) -> impl Iterator<Item = (Port, Port)> {
        self.host_ports.iter().zip(self.service_ports)
    }

    fn parse(text: &str) -> Result<ForwardArgument, Fault> {
        let (places, transport) = Part::whole(text).with_transport()?;
        let transport = transport.unwrap_or(Transport::Tcp);
        let Some((place, service)) = places.rsplit_once(':') else {
            return Err(places.fault(ParseErrorKind::OnePort));
        };
        let (address, host) = match place.rsplit_once(':') {
            None => (None, place),
            Some((address, host)) => (Some(address.address()?), host),
        };
        let (host_ports, service_ports) = (host.ports(Some(transport))?, service.ports(Some(transport))?);
        if host_ports.length() != service_ports.length() {
            let (host, ports) = (host_ports.length(), service_ports.length());
            return Err(service.fault(ParseErrorKind::Lengths { host, service: ports }));
        }
        Ok(ForwardArgument { address, host_ports, service_ports, transport })
    }
}

impl FromStr for ForwardArgument {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<ForwardArgument, ParseError> {
        ForwardArgument::parse(text).map_err(|error| error.of(text))
    }
}

/// As it is parsed, with numbers for names and without `/tcp`.
impl fmt::Display for ForwardArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => {}
            Some(IpAddr::V4(v4)) => write!(f, "{v4}:")?,
            Some(IpAddr::V6(v6)) => write!(f, "[{v6}]:")?,
        }
        write!(f, "{}:{}", self.host_ports, self.service_ports)?;
        match self.transport {
            Transport::Tcp => Ok(()),
            Transport::Udp => write!(f, "/{}", self.transport),
        }
    }
}
