//! What programs are told about where they are: `MINATO_HOST`, `MINATO_NETWORK`, `MINATO_URL_<PORT>` and `PORT`. A URL
//! leads to the port's forward, if it has one, and otherwise through the proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use minato_inspect::{ForwardSpec, Transport};

use crate::file::ServicePlan;
use crate::flags::Name;
use crate::here;

/// The variables of a program. Those that the file sets go before ours.
pub(super) fn variables(
    network: &Name,
    host: &Name,
    service: &ServicePlan,
    forwards: &[ForwardSpec],
) -> Vec<(String, String)> {
    let mut variables = vec![(here::VARIABLE.to_owned(), network.to_string())];
    let through_proxy = |port| Some((format!("MINATO_URL_{port}"), crate::proxy::url(network, host, port)?));
    variables.extend(service.port.and_then(through_proxy));
    variables.extend(service.port.map(|port| ("PORT".to_owned(), port.to_string())));
    let urls = forwards.iter().rev().filter_map(|forward| Some((forward.service_ports.0, url(forward)?)));
    variables.extend(urls.map(|(port, url)| (format!("MINATO_URL_{port}"), url)));
    variables.extend(service.environment.iter().map(|(name, value)| (name.clone(), value.clone())));
    variables
}

/// Where a forward is reached from this machine, as a URL: `https` to ports 443 and 8443, otherwise `http`. `None` for UDP
/// and for ranges.
pub(super) fn url(forward: &ForwardSpec) -> Option<String> {
    const SECURE: [u16; 2] = [443, 8443];
    let single = forward.service_ports.0 == forward.service_ports.1;
    if forward.transport != Transport::Tcp || !single {
        return None;
    }
    let address = match forward.address {
        None => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Ipv6Addr::LOCALHOST.into(),
        Some(address) => address,
    };
    let scheme = if SECURE.contains(&forward.service_ports.0) { "https" } else { "http" };
    Some(format!("{scheme}://{}", SocketAddr::new(address, forward.host_ports.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_the_forward() {
        let forward = |address: Option<&str>, service: (u16, u16), transport| ForwardSpec {
            address: address.map(|address| address.parse().unwrap()),
            host_ports: (8080, 8080),
            service_ports: service,
            transport,
        };
        let url = |address, service, transport| url(&forward(address, service, transport));
        assert_eq!(url(None, (80, 80), Transport::Tcp).as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(url(Some("0.0.0.0"), (443, 443), Transport::Tcp).as_deref(), Some("https://127.0.0.1:8080"));
        assert_eq!(url(Some("::"), (3000, 3000), Transport::Tcp).as_deref(), Some("http://[::1]:8080"));
        assert_eq!(url(Some("127.0.0.2"), (80, 80), Transport::Tcp).as_deref(), Some("http://127.0.0.2:8080"));
        assert_eq!(url(None, (80, 81), Transport::Tcp), None);
        assert_eq!(url(None, (53, 53), Transport::Udp), None);
    }
}
