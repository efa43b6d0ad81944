//! What firewalls do to the connections: this machine's, and those inside the hosts that they come from and lead to.

use std::net::{IpAddr, SocketAddr};

use minato_host::enter::Identity;
use minato_host::firewall::{Fate, Packet, Ruleset, Way};
use minato_inspect::{Forward, Host, Transport};
use serde::{Deserialize, Serialize};

use super::facts::{Network, Subject, Trial, at_home, covers, is_own};
use super::probe::say_from;
use super::target::Target;
use crate::client::Client;
use crate::commands::DONE;
use crate::failure::Failure;
use crate::flags::argument;
use crate::machine;
use crate::terminal::Terminal;

/// A firewall that the connections pass, and what it does.
#[derive(Clone, Debug)]
pub(super) struct Firewall {
    /// Inside of which host; `None`: this machine's.
    pub(super) host: Option<String>,
    /// Or why that can't be seen.
    pub(super) outcome: Result<Filtered, String>,
}

/// What the rules of one network namespace do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Filtered {
    /// To the first packet to each of these.
    pub(crate) fates: Vec<(SocketAddr, Fate)>,
    /// Rules that are there as well and could not be read.
    pub(crate) unread: Vec<String>,
}

/// Looks at those that may be the reason of what the trials have shown, and at those behind forwards, which accept in their
/// services' place.
pub(super) async fn look(
    target: &Target,
    subject: &Subject,
    network: Option<&Network>,
    trials: &[Trial],
    client: &Client,
) -> Result<Vec<Firewall>, Failure> {
    let transport = argument::transport(target.transport);
    let mut seen = Vec::new();
    let own = on_machine(transport, trials);
    if !own.is_empty() {
        seen.push(Firewall { host: None, outcome: filter(&own) });
    }
    let Some(network) = network else { return Ok(seen) };
    for host in &network.hosts {
        let mut packets = in_host(host, transport, trials);
        if let Subject::Machine(addresses) = subject {
            packets.extend(behind_forwards(host, target.port, transport, addresses, network));
        }
        if !packets.is_empty() {
            let question = serde_json::json!(packets).to_string();
            let home = at_home(&host.name, Some(network), client)?;
            let inside = home.as_ref().unwrap_or(client);
            let text = say_from(&host.name, &["__filter", &question], Identity::NetAdmin, inside).await?;
            let outcome = serde_json::from_str(&text).unwrap_or_else(|_| Err("nobody inside could look".into()));
            seen.push(Firewall { host: Some(host.name.clone()), outcome });
        }
    }
    Ok(seen)
}

/// `minato __filter PACKETS`: says what the rules here do to them.
pub(crate) fn answer(packets: &str, terminal: &Terminal) -> Result<u8, Failure> {
    let packets: Vec<Packet> = serde_json::from_str(packets).map_err(|error| Failure::usage(error.to_string()))?;
    terminal.print(&format!("{}\n", serde_json::json!(filter(&packets))));
    Ok(DONE)
}

fn filter(packets: &[Packet]) -> Result<Filtered, String> {
    let rules = Ruleset::read().map_err(|error| format!("nftables can't be read: {error}"))?;
    let fate = |packet: &Packet| (SocketAddr::new(packet.destination, packet.port), rules.fate(packet));
    Ok(Filtered { fates: packets.iter().map(fate).collect(), unread: rules.unread().to_vec() })
}

/// The first packets of the trials from here that did not come through.
fn on_machine(transport: Transport, trials: &[Trial]) -> Vec<Packet> {
    let failed = trials.iter().filter(|trial| trial.from.is_none() && trial.outcome.may_be_filtered());
    let packet = |trial: &Trial| {
        let way = if is_own(trial.destination.ip()) { Way::Local } else { Way::Out };
        packet(transport, trial.destination, way)
    };
    failed.map(packet).collect()
}

/// The same of the trials from inside a host, and to it.
fn in_host(host: &Host, transport: Transport, trials: &[Trial]) -> Vec<Packet> {
    let failed = trials.iter().filter(|trial| trial.outcome.may_be_filtered());
    let packet = |trial: &Trial| {
        let from = trial.from.as_deref()?;
        let to = trial.destination.ip();
        let is_own = from == host.name && to.is_loopback();
        let is_there = is_own || host.addresses().any(|own| own == to);
        let way = match (from == host.name, is_there) {
            (true, true) => Way::Local,
            (true, false) => Way::Out,
            (false, true) => Way::In,
            (false, false) => return None,
        };
        Some(packet(transport, trial.destination, way))
    };
    failed.filter_map(packet).collect()
}

/// The first packets of the connections that forwards make inside a host, to where its service is bound.
fn behind_forwards(
    host: &Host,
    port: u16,
    transport: Transport,
    addresses: &[IpAddr],
    network: &Network,
) -> Vec<Packet> {
    let leads_here = |forward: &&Forward| {
        (forward.host.as_str(), forward.host_port, forward.transport) == (&host.name, port, transport)
            && addresses.iter().any(|address| covers(&[forward.address], *address))
    };
    let service = |forward: &Forward| {
        let own: Vec<IpAddr> = host.addresses().collect();
        let rows = network.services.iter().filter(|row| {
            (row.host.as_deref(), row.port, row.transport) == (Some(&*host.name), forward.service_port, transport)
        });
        let bound: Vec<IpAddr> = rows.flat_map(|row| row.addresses.iter().copied()).collect();
        let address = own.into_iter().find(|own| covers(&bound, *own)).or(bound.first().copied())?;
        // It comes with the client's address, which may be anybody's.
        let packet = packet(transport, SocketAddr::new(address, forward.service_port), Way::Local);
        Some(Packet { source: None, ..packet })
    };
    let mut packets: Vec<Packet> = network.forwards.iter().filter(leads_here).filter_map(service).collect();
    packets.dedup();
    packets
}

fn packet(transport: Transport, to: SocketAddr, way: Way) -> Packet {
    let transport = machine::transport(transport);
    // Who talks to itself does so from the address that it talks to.
    let source = (way == Way::Local).then_some(to.ip());
    Packet { transport, source, destination: to.ip(), port: to.port(), way }
}
