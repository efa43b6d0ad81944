//! Between what is asked for, in ranges, and single forwards.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use minato_inspect::{ForwardSpec, Problem, ProblemKind};
use minato_ports::{Port, PortRange, Transport};

use super::{check_apart, refuse};
use crate::convert;
use crate::problem::{problem, with_fix};

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// One port of the machine that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Wanted {
    pub(in super::super) address: SocketAddr,
    /// Its port, again.
    pub(in super::super) port: Port,
    pub(in super::super) service_port: u16,
    pub(in super::super) transport: Transport,
    /// No address was given: this is one of the two loopback addresses.
    pub(in super::super) is_default: bool,
    /// Nobody asked for it: it is a host's own.
    pub(in super::super) automatic: bool,
}

impl Wanted {
    /// The same forward at another port, at both addresses if it has the two.
    pub(super) fn at(&self, port: u16) -> Vec<Wanted> {
        let Some(valid) = Port::new(port) else { return Vec::new() };
        let addresses = if self.is_default { LOOPBACKS.to_vec() } else { vec![self.address.ip()] };
        let at = |address| Wanted { address: SocketAddr::new(address, port), port: valid, ..*self };
        addresses.into_iter().map(at).collect()
    }
}

/// The single forwards that these name. Refuses nonsense, more than `max`, and forwards that are in each other's way.
pub(super) fn expand(specs: &[ForwardSpec], max: usize) -> Result<Vec<Wanted>, Problem> {
    let count = specs.iter().map(count).sum();
    if count > max {
        return Err(refuse::too_many(0, count, max));
    }
    let mut wanted = Vec::with_capacity(count);
    for spec in specs {
        let host = range("host", spec.host_ports)?;
        let service = range("service", spec.service_ports)?;
        if host.length() != service.length() {
            let title = format!("{host} has {} ports and {service} has {}", host.length(), service.length());
            return Err(problem(ProblemKind::Usage, title));
        }
        let addresses = spec.address.map_or(Ok(LOOPBACKS.to_vec()), |address| Ok(vec![canonical(address)?]))?;
        for (port, service_port) in host.iter().zip(service) {
            wanted.extend(addresses.iter().map(|address| Wanted {
                address: SocketAddr::new(*address, port.value()),
                port,
                service_port: service_port.value(),
                transport: convert::from_inspect(spec.transport),
                is_default: spec.address.is_none(),
                automatic: false,
            }));
        }
    }
    check_apart(specs, &wanted)?;
    Ok(wanted)
}

/// The address that is meant, if there may be forwards at it.
fn canonical(address: IpAddr) -> Result<IpAddr, Problem> {
    let address = address.to_canonical();
    let why = match address {
        _ if address.is_multicast() => "is a group's: no client connects to it",
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            "is valid on one link only, which a forward can't name"
        }
        _ => return Ok(address),
    };
    let refusal = problem(ProblemKind::WrongAddress, format!("{address} {why}"));
    Err(with_fix(refusal, "leave the address out for 127.0.0.1 and ::1, or use 0.0.0.0 or [::] for all"))
}

/// How many single forwards this names; a range that is none is refused later.
fn count(spec: &ForwardSpec) -> usize {
    let (first, last) = spec.host_ports;
    let addresses = if spec.address.is_some() { 1 } else { LOOPBACKS.len() };
    addresses * (usize::from(last.saturating_sub(first)) + 1)
}

fn range(whose: &str, (first, last): (u16, u16)) -> Result<PortRange, Problem> {
    PortRange::from_numbers(first, last)
        .map_err(|error| problem(ProblemKind::Usage, format!("{first}-{last} are no {whose} ports: {error}")))
}

/// The shortest way to ask for these forwards.
pub(crate) fn collapse(forwards: Vec<(SocketAddr, u16, Transport)>) -> Vec<ForwardSpec> {
    let mut singles: BTreeSet<(Transport, Option<IpAddr>, u16, u16)> = forwards
        .into_iter()
        .map(|(address, service_port, transport)| (transport, Some(address.ip()), address.port(), service_port))
        .collect();
    let on_v4 = |(transport, address, host, service): &(Transport, Option<IpAddr>, u16, u16)| {
        (*address == Some(LOOPBACKS[0])).then_some((*transport, *host, *service))
    };
    for (transport, host, service) in singles.iter().filter_map(on_v4).collect::<Vec<_>>() {
        if singles.remove(&(transport, Some(LOOPBACKS[1]), host, service)) {
            singles.remove(&(transport, Some(LOOPBACKS[0]), host, service));
            singles.insert((transport, None, host, service));
        }
    }
    let mut specs: Vec<ForwardSpec> = Vec::new();
    for (transport, address, host, service) in singles {
        let transport = convert::to_inspect(transport);
        match specs.last_mut() {
            Some(last)
                if (last.transport, last.address) == (transport, address)
                    && last.host_ports.1.checked_add(1) == Some(host)
                    && last.service_ports.1.checked_add(1) == Some(service) =>
            {
                last.host_ports.1 = host;
                last.service_ports.1 = service;
            }
            _ => specs.push(ForwardSpec {
                address,
                host_ports: (host, host),
                service_ports: (service, service),
                transport,
            }),
        }
    }
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(address: Option<&str>, host_ports: (u16, u16), service_ports: (u16, u16)) -> ForwardSpec {
        let address = address.map(|text| text.parse().unwrap());
        ForwardSpec { address, host_ports, service_ports, transport: minato_inspect::Transport::Tcp }
    }

    fn usage(specs: &[ForwardSpec]) -> String {
        let refusal = expand(specs, usize::MAX).unwrap_err();
        assert_eq!((refusal.kind, refusal.status), (ProblemKind::Usage, 400));
        refusal.title
    }

    #[test]
    fn without_an_address_both_loopbacks_are_wanted() {
        let wanted = expand(&[spec(None, (8080, 8081), (80, 81))], 4).unwrap();
        let shown: Vec<String> = wanted.iter().map(|one| format!("{} {}", one.address, one.service_port)).collect();
        assert_eq!(shown, ["127.0.0.1:8080 80", "[::1]:8080 80", "127.0.0.1:8081 81", "[::1]:8081 81"]);
    }

    #[test]
    fn too_many_are_refused_before_they_are_listed() {
        let everything = vec![spec(None, (1, 65_535), (1, 65_535)); 10_000];
        let refusal = expand(&everything, 30_000).unwrap_err();
        assert_eq!(refusal.kind, ProblemKind::Exhausted);
        assert!(refusal.title.contains("1310700000 more"), "{}", refusal.title);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(usage(&[spec(None, (0, 10), (1, 11))]).contains("0-10"));
        assert!(usage(&[spec(None, (10, 9), (1, 2))]).contains("10-9"));
        assert!(usage(&[spec(None, (10, 19), (1, 2))]).contains("10 ports"));
        assert!(usage(&[spec(None, (9000, 9010), (1, 11)), spec(None, (9005, 9005), (80, 80))]).contains("9005"));
        assert!(usage(&[spec(Some("0.0.0.0"), (80, 80), (80, 80)), spec(None, (80, 80), (81, 81))]).contains("80/tcp"));
    }

    #[test]
    fn addresses_are_what_they_mean_or_refused() {
        let wanted = expand(&[spec(Some("::ffff:127.0.0.1"), (80, 80), (80, 80))], 4).unwrap();
        assert_eq!(wanted[0].address, "127.0.0.1:80".parse().unwrap());
        for address in ["fe80::1", "ff02::1", "224.0.0.1", "::ffff:239.1.2.3"] {
            let refusal = expand(&[spec(Some(address), (80, 80), (80, 80))], 4).unwrap_err();
            assert_eq!((refusal.kind, refusal.fixes.len()), (ProblemKind::WrongAddress, 1), "{}", refusal.title);
        }
        let twice = [spec(Some("::ffff:127.0.0.1"), (80, 80), (80, 80)), spec(Some("127.0.0.1"), (80, 80), (80, 80))];
        assert!(usage(&twice).contains("asked for twice"));
    }

    #[test]
    fn forwards_are_shown_as_they_were_asked_for() {
        for specs in [
            vec![spec(None, (8080, 8089), (80, 89))],
            vec![spec(None, (8080, 8080), (80, 80)), spec(None, (8081, 8081), (90, 90))],
            vec![spec(Some("0.0.0.0"), (8080, 8080), (80, 80)), spec(Some("::1"), (1000, 1001), (2000, 2001))],
        ] {
            let singles = expand(&specs, usize::MAX).unwrap();
            let singles = singles.iter().map(|one| (one.address, one.service_port, one.transport)).collect();
            assert_eq!(collapse(singles), specs);
        }
    }
}
