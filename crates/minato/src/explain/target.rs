use std::net::IpAddr;

use minato_ports::{Port, Transport, registry};

use crate::flags::Name;
use crate::proxy::{Destination, Wanted};

/// What is to be reached: `PORT`, `HOST:PORT`, `IP:PORT` or a URL, each with `/udp` or `/tcp` behind a port if need be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// As it was written.
    pub(crate) text: String,
    /// Where.
    pub(crate) place: Place,
    /// The port.
    pub(crate) port: u16,
    /// TCP unless it says UDP.
    pub(crate) transport: Transport,
    /// Whether its URL says that TLS is spoken.
    pub(crate) secure: bool,
}

/// Where a port is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// On this machine, at both loopback addresses.
    Machine,
    /// At an address.
    Address(IpAddr),
    /// At a minato host, or somewhere that a name leads to.
    Name(String),
}

impl Target {
    /// The name that it has, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.place {
            Place::Name(name) => Some(name),
            Place::Machine | Place::Address(_) => None,
        }
    }

    /// The service of a host that it is a name of, at the proxy.
    pub(super) fn proxied(&self) -> Option<Destination> {
        match Wanted::of(&format!("{}:{}", self.name()?, self.port)) {
            Wanted::Service(to) => Some(to),
            _ => None,
        }
    }

    /// The host and the network of a name as hosts have it: `HOST.NET.internal`.
    pub(super) fn internal(&self) -> Option<(Name, Name)> {
        let (host, network) = self.name()?.trim_end_matches('.').strip_suffix(".internal")?.split_once('.')?;
        Some((host.parse().ok()?, network.parse().ok()?))
    }

    /// The network that its name says.
    pub(super) fn network(&self) -> Option<Name> {
        let internal = || self.internal().map(|(_, network)| network);
        self.proxied().map(|to| to.network).or_else(internal)
    }

    /// Whether it is where the client is: `localhost`, and every name below it (RFC 6761 §6.3).
    pub(super) fn is_localhost(&self) -> bool {
        let below = |name: &str| name.trim_end_matches('.').to_ascii_lowercase().ends_with(".localhost");
        self.place == Place::Machine || self.name().is_some_and(below)
    }
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let target = |place, port, transport| Target { text: text.into(), place, port, transport, secure: false };
        if let Some((scheme, rest)) = text.split_once("://") {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let authority = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
            let (place, port) = split(authority)?;
            let port = port.map_or_else(|| registered(service_of(scheme), Transport::Tcp), number)?;
            let secure = ["https", "wss"].iter().any(|other| scheme.eq_ignore_ascii_case(other));
            return Ok(Target { secure, ..target(place.ok_or("the URL names no host")?, port, Transport::Tcp) });
        }
        let (text, transport) = match text.rsplit_once('/') {
            None => (text, Transport::Tcp),
            Some((rest, "tcp")) => (rest, Transport::Tcp),
            Some((rest, "udp")) => (rest, Transport::Udp),
            Some((_, other)) => return Err(format!("'{other}' is no transport; there are tcp and udp")),
        };
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(target(Place::Machine, number(text)?, transport));
        }
        let (place, port) = split(text)?;
        let port = match port.ok_or("it needs a port: HOST:PORT")? {
            name if name.starts_with(|first: char| first.is_ascii_alphabetic()) => registered(name, transport)?,
            digits => number(digits)?,
        };
        Ok(target(place.unwrap_or(Place::Machine), port, transport))
    }
}

/// Takes `HOST:PORT` apart; both may be missing. IPv6 addresses stand in brackets.
fn split(text: &str) -> Result<(Option<Place>, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or("a bracket is not closed")?;
        let address = address.parse().map_err(|_| format!("'{address}' is no IPv6 address"))?;
        return Ok((Some(Place::Address(IpAddr::V6(address))), port.strip_prefix(':')));
    }
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let place = match (name, name.parse()) {
        ("", _) => None,
        (_, Ok(address)) => Some(Place::Address(address)),
        // RFC 4343: names are the same in capitals.
        (name, Err(_)) => match name.to_ascii_lowercase() {
            name if name == "localhost" => Some(Place::Machine),
            name => Some(Place::Name(name)),
        },
    };
    Ok((place, port))
}

fn number(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().and_then(Port::new);
    number.map(Port::value).ok_or_else(|| format!("'{text}' is no port (1 to 65535)"))
}

/// The port that IANA has registered for a service.
fn registered(name: &str, transport: Transport) -> Result<u16, String> {
    let mut services = registry::lookup_name(name);
    let service = services.find(|service| service.has_transport(transport));
    service.map(|service| service.first_port()).ok_or_else(|| format!("no port is registered for '{name}'"))
}

/// The registered name of the service that a URL's scheme names: some have others in URLs, and libraries add a driver's.
fn service_of(scheme: &str) -> &str {
    let plain = scheme.split_once('+').map_or(scheme, |(service, _)| service).to_ascii_lowercase();
    match plain.as_str() {
        "postgres" | "postgresql" => "postgresql",
        "mysql" | "mariadb" => "mysql",
        "rediss" => "redis",
        "ws" => "http",
        "wss" => "https",
        _ => scheme,
    }
}
