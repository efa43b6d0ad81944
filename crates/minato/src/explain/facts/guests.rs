//! Hosts that are in several networks: what is known of them is known to the engine of their own.

use minato_inspect::{Host, Joined};

use super::Network;
use crate::client::Client;
use crate::failure::Failure;

/// Adds to a network what its guests have at home, and the hosts of those networks that the host has joined from inside of
/// which the target is looked at.
pub(super) fn complete(network: &mut Network, from: Option<&str>, others: &[Network]) {
    let guests: Vec<Host> = network.hosts.iter().filter(|host| host.home.is_some()).cloned().collect();
    for guest in guests {
        let home = others.iter().find(|other| Some(other.name.as_str()) == guest.home.as_deref());
        home.into_iter().for_each(|home| take(network, home, &guest.name));
    }
    let joined: Vec<Joined> =
        from.and_then(|from| network.host(from)).map(|host| host.networks.clone()).unwrap_or_default();
    let joined = |other: &&Network| joined.iter().any(|joined| joined.network == other.name.as_str());
    for other in others.iter().filter(joined) {
        for host in other.hosts.iter().filter(|host| host.home.is_none()) {
            // A name is first that of the network's own host.
            if network.host(&host.name).is_none() {
                network.hosts.push(Host { home: Some(other.name.to_string()), ..host.clone() });
                take(network, other, &host.name);
            }
        }
    }
}

fn take(network: &mut Network, home: &Network, host: &str) {
    network.services.extend(home.services.iter().filter(|row| row.host.as_deref() == Some(host)).cloned());
    network.forwards.extend(home.forwards.iter().filter(|forward| forward.host == host).cloned());
}

/// Who is asked about the inside of a host, if it is another network's: the engine of that one.
pub(in crate::explain) fn at_home(
    host: &str,
    network: Option<&Network>,
    client: &Client,
) -> Result<Option<Client>, Failure> {
    let host = network.and_then(|network| network.host(host));
    let home = host.and_then(|host| host.home.as_ref()?.parse().ok());
    home.map(|home| Client::new(client.directory().sibling(home))).transpose()
}
