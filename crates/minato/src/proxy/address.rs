//! What the name in a request means.

use crate::flags::Name;

/// The name of this machine, below which every host has its own (RFC 6761 §6.3).
const LOCALHOST: &str = "localhost";

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A list of everything: nothing but this machine is named.
    Everything,
    /// A list of one network.
    Network(Name),
    /// A service.
    Service(Destination),
    /// A name that can't be a host's here.
    Nonsense,
    /// The name is not below `localhost`: somebody's own name leads here, which must not make us answer for it.
    Foreign,
}

/// A service of a host; without a port its web server, whichever it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    pub(crate) network: Name,
    pub(crate) host: Name,
    pub(crate) port: Option<u16>,
}

impl Wanted {
    /// Reads the authority of a request: `[PORT.]HOST.NET.localhost[:ANY]`.
    pub(crate) fn of(authority: &str) -> Wanted {
        let name = host_of(authority).trim_end_matches('.').to_ascii_lowercase();
        if name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()) {
            return Wanted::Everything;
        }
        let Some(below) = name.strip_suffix(LOCALHOST) else { return Wanted::Foreign };
        let labels: Vec<&str> = match below.strip_suffix('.') {
            Some(labels) => labels.split('.').collect(),
            None if below.is_empty() => return Wanted::Everything,
            None => return Wanted::Foreign,
        };
        Wanted::below(&labels).unwrap_or(Wanted::Nonsense)
    }

    fn below(labels: &[&str]) -> Option<Wanted> {
        let name = |label: &str| label.parse::<Name>().ok();
        let service = |port, host, network| {
            Some(Wanted::Service(Destination { network: name(network)?, host: name(host)?, port }))
        };
        match *labels {
            [network] => Some(Wanted::Network(name(network)?)),
            [host, network] => service(None, host, network),
            [port, host, network] => service(Some(port.parse().ok().filter(|port| *port != 0)?), host, network),
            _ => None,
        }
    }
}

/// An authority without its port, and an IPv6 address without its brackets.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let service = |port, host: &str, network: &str| {
            let (network, host) = (network.parse().unwrap(), host.parse().unwrap());
            Wanted::Service(Destination { network, host, port })
        };
        for (authority, expected) in [
            ("localhost:7080", Wanted::Everything),
            ("127.0.0.1:7080", Wanted::Everything),
            ("[::1]:7080", Wanted::Everything),
            ("shop.localhost", Wanted::Network("shop".parse().unwrap())),
            ("web.shop.localhost:7080", service(None, "web", "shop")),
            ("Web.Shop.LOCALHOST.", service(None, "web", "shop")),
            ("8025.mail.shop.localhost:7080", service(Some(8025), "mail", "shop")),
            ("0.mail.shop.localhost", Wanted::Nonsense),
            ("70000.mail.shop.localhost", Wanted::Nonsense),
            ("a.b.c.d.localhost", Wanted::Nonsense),
            ("..localhost", Wanted::Nonsense),
            ("we_b.shop.localhost", Wanted::Nonsense),
            ("evil.example:7080", Wanted::Foreign),
            ("evillocalhost", Wanted::Foreign),
            ("10.0.0.1", Wanted::Foreign),
            ("", Wanted::Foreign),
        ] {
            assert_eq!(Wanted::of(authority), expected, "{authority}");
        }
    }
}
