//! Arguments that name ports: `[IP:]HOSTPORT:PORT[/udp]`, ranges, numbers and registered names.

use std::net::IpAddr;

use minato_inspect::{ForwardSpec, Transport};
use minato_ports::{Port, PortRange, registry};

use super::{PortFilter, ServiceQuery};
use crate::failure::Failure;

/// `-p`: `[IP:]HOSTPORT:PORT[/udp]`, both ports or both ranges.
pub(super) fn forward(text: &str) -> Result<ForwardSpec, Failure> {
    let wrong = |why: String| {
        Failure::usage(format!("'-p {text}' is not a forward: {why}"))
            .fix("-p [IP:]HOSTPORT:PORT[/udp], for example -p 8080:80, -p 0.0.0.0:5353:53/udp or -p [::1]:8000-8010:8000-8010")
    };
    let (rest, transport) = transport(text).map_err(wrong)?;
    let Some((place, service)) = rest.rsplit_once(':') else {
        return Err(wrong("it needs a port of this machine and a port of the host".into()));
    };
    let (address, host) = match place.rsplit_once(':') {
        Some((address, host)) => (Some(ip(address).map_err(wrong)?), host),
        None => (None, place),
    };
    let (host, service) = (range(host).map_err(wrong)?, range(service).map_err(wrong)?);
    if host.length() != service.length() {
        return Err(wrong(format!("{host} has {} ports, but {service} has {}", host.length(), service.length())));
    }
    Ok(ForwardSpec { address, host_ports: bounds(host), service_ports: bounds(service), transport })
}

/// The argument of `minato ports`: a number with or without transport, or a registered name.
pub(super) fn ports(text: &str) -> Result<PortFilter, Failure> {
    let names = registry::lookup_name(text).flat_map(|service| service.first_port()..=service.last_port());
    let named: Vec<u16> = names.collect();
    if !named.is_empty() {
        return Ok(PortFilter { text: text.into(), ports: named, transport: None });
    }
    let wrong = |why| Failure::usage(format!("'{text}' is neither a port nor a registered name: {why}"));
    let (number, transport) = match text.split_once('/') {
        Some(_) => transport(text).map(|(number, transport)| (number, Some(transport))).map_err(wrong)?,
        None => (text, None),
    };
    let range = range(number).map_err(wrong)?;
    Ok(PortFilter { text: text.into(), ports: range.iter().map(Port::value).collect(), transport })
}

/// The argument of `minato service`: numbers, or a name.
pub(super) fn service(text: &str) -> Result<ServiceQuery, Failure> {
    if text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || c == '-') {
        return range(text)
            .map(ServiceQuery::Range)
            .map_err(|why| Failure::usage(format!("'{text}' names no port: {why}")));
    }
    Ok(ServiceQuery::Name(text.into()))
}

/// `--ephemeral-range`.
pub(super) fn ephemeral_range(text: &str) -> Result<PortRange, Failure> {
    range(text).map_err(|why| Failure::usage(format!("'--ephemeral-range {text}' is no range of ports: {why}")))
}

/// `--host-port`.
pub(super) fn host_port(text: &str) -> Result<u16, Failure> {
    port(text).map(Port::value).map_err(|why| Failure::usage(format!("'--host-port {text}' is no port: {why}")))
}

/// What precedes the transport, and the transport, which is TCP unless it is named.
fn transport(text: &str) -> Result<(&str, Transport), String> {
    match text.rsplit_once('/') {
        None => Ok((text, Transport::Tcp)),
        Some((rest, "tcp")) => Ok((rest, Transport::Tcp)),
        Some((rest, "udp")) => Ok((rest, Transport::Udp)),
        Some((_, other)) => Err(format!("'{other}' is no transport; there are tcp and udp")),
    }
}

/// An address; IPv6 in brackets, as in URLs (RFC 3986 §3.2.2).
fn ip(text: &str) -> Result<IpAddr, String> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match (bracketed, text.parse()) {
        (Some(inner), _) => inner.parse().map(IpAddr::V6).map_err(|_| format!("'{inner}' is no IPv6 address")),
        (None, Ok(IpAddr::V6(_))) => Err(format!("an IPv6 address needs brackets: [{text}]")),
        (None, Ok(address)) => Ok(address),
        (None, Err(_)) => Err(format!("'{text}' is no IP address")),
    }
}

fn range(text: &str) -> Result<PortRange, String> {
    match text.split_once('-') {
        None => port(text).map(PortRange::from),
        Some((first, last)) => PortRange::new(port(first)?, port(last)?).map_err(|error| error.to_string()),
    }
}

fn port(text: &str) -> Result<Port, String> {
    if text.is_empty() {
        return Err("a port is missing".into());
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("'{text}' is no port number"));
    }
    let number = text.parse().map_err(|_| format!("{text} is too high: the highest port is 65535"))?;
    Port::new(number).ok_or_else(|| "port 0 means \"any\" and can't be named".into())
}

fn bounds(range: PortRange) -> (u16, u16) {
    (range.first().value(), range.last().value())
}
