//! A host of this network joins others: it gets an interface in each, made by that network's engine, and what it may call
//! their hosts there. Its gateway, and with it its policy, stays this network's.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use minato_host::agent::{Interface, Subnet};
use minato_inspect::{GuestEvent, GuestRequest, Happening, Joined, Network, Problem, ProblemKind, SessionEvent};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::hosts::agent_problem;
use super::{Control, MAX_JOINED, blocking, name};
use crate::engine::GATEWAY_MAC;
use crate::plane::{Command, JoinedZone};
use crate::problem::{internal, problem, with_fix};
use crate::startup::subnet::relay_network;

/// A network that a host has joined.
pub(super) struct Membership {
    pub(super) joined: Joined,
    pub(super) network: minato_relay::Network,
    /// The hosts there, by name.
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    /// Holds the place there.
    _attendant: AbortOnDrop,
}

/// A task that ends with its owner.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What another network's engine tells, a line each.
type Told = Lines<BufReader<UnixStream>>;

/// A host that joins networks.
pub(super) struct Joiner {
    pub(super) name: String,
    pub(super) serial: u32,
    pub(super) namespace: String,
    pub(super) ephemeral_range: (u16, u16),
}

impl Control {
    /// Lets a host that has just been made join these networks, in this order.
    pub(super) async fn join_all(self: &Arc<Self>, host: &Joiner, networks: &[String]) -> Result<(), Problem> {
        for (number, network) in (1..).zip(networks) {
            self.join(host, network, number).await?;
        }
        Ok(())
    }

    async fn join(self: &Arc<Self>, host: &Joiner, network: &str, interface: u32) -> Result<(), Problem> {
        let request = GuestRequest {
            name: host.name.clone(),
            home: self.network.name.clone(),
            namespace: host.namespace.clone(),
            interface,
            ephemeral_range: host.ephemeral_range,
        };
        let socket = self.directory.with_file_name(network).join("api.sock");
        let mut told = ask(&socket, network, &request).await?;
        let first = told.next_line().await.ok().flatten().and_then(|line| serde_json::from_str(&line).ok());
        let Some(GuestEvent::Joined { joined, network: other }) = first else {
            return Err(internal(format!("the engine of network {network:?} gives no place, and no reason")));
        };
        let (addresses, subnet) =
            addresses(&other).ok_or_else(|| internal(format!("the engine of network {network:?} has no addresses")))?;
        let way = Interface {
            number: interface,
            address_v4: joined.address_v4,
            address_v6: joined.address_v6,
            subnet,
            gateway_mac: GATEWAY_MAC,
        };
        let (control, name) = (Arc::clone(self), host.name.clone());
        blocking(move || control.fabric.furnish(&name, &way)).await?.map_err(agent_problem)?;
        self.begin_membership(host, joined, addresses, told);
        Ok(())
    }

    fn begin_membership(
        self: &Arc<Self>,
        host: &Joiner,
        joined: Joined,
        network: minato_relay::Network,
        mut told: Told,
    ) {
        let (control, name, serial, to) = (Arc::clone(self), host.name.clone(), host.serial, joined.network.clone());
        let attendant = tokio::spawn(async move {
            while let Ok(Some(line)) = told.next_line().await {
                if let Ok(GuestEvent::Names { hosts }) = serde_json::from_str(&line) {
                    control.note_names(&name, serial, &to, hosts);
                }
            }
            control.end_membership(&name, serial, &to);
        });
        let membership =
            Membership { joined: joined.clone(), network, names: BTreeMap::new(), _attendant: AbortOnDrop(attendant) };
        if let Some(record) = self.state().hosts.get_mut(&host.name).filter(|record| record.serial == host.serial) {
            record.memberships.push(membership);
        }
        let (host, home) = (host.name.clone(), self.network.name.clone());
        self.events.tell(|| Happening::HostJoined { host, home, joined });
    }

    /// The other network has other hosts than before.
    fn note_names(&self, host: &str, serial: u32, network: &str, names: BTreeMap<String, Vec<IpAddr>>) {
        let mut state = self.state();
        let Some(record) = state.hosts.get_mut(host).filter(|record| record.serial == serial) else { return };
        if let Some(membership) = record.memberships.iter_mut().find(|other| other.joined.network == network) {
            membership.names = names;
        }
        self.plane.send(Command::SetJoined(serial, zones(&record.memberships)));
    }

    /// The other network has ended, and with it the interface there.
    fn end_membership(&self, host: &str, serial: u32, network: &str) {
        let mut state = self.state();
        let Some(record) = state.hosts.get_mut(host).filter(|record| record.serial == serial) else { return };
        record.memberships.retain(|membership| membership.joined.network != network);
        self.plane.send(Command::SetJoined(serial, zones(&record.memberships)));
        let message = format!("network {network:?} has ended, and host {host:?} is in it no longer");
        for session in record.sessions.values() {
            let _ = session.send(SessionEvent::Warning { message: message.clone() });
        }
        drop(state);
        let (home, network) = (self.network.name.clone(), network.to_owned());
        self.events.tell(|| Happening::HostLeft { host: host.to_owned(), home, network });
    }

    /// Refuses networks that can't be joined.
    pub(super) fn check_networks(&self, networks: &[String]) -> Result<(), Problem> {
        for (index, network) in networks.iter().enumerate() {
            name::check("network", network)?;
            if *network == self.network.name {
                return Err(problem(ProblemKind::Usage, format!("the host is in network {network:?} anyway")));
            }
            if networks[..index].contains(network) {
                return Err(problem(ProblemKind::Usage, format!("network {network:?} is to be joined twice")));
            }
        }
        if networks.len() > MAX_JOINED {
            return Err(problem(ProblemKind::Usage, format!("a host joins {MAX_JOINED} other networks at most")));
        }
        Ok(())
    }
}

fn zones(memberships: &[Membership]) -> Vec<JoinedZone> {
    let zone = |membership: &Membership| JoinedZone {
        label: membership.joined.network.clone(),
        network: membership.network,
        hosts: membership.names.clone(),
    };
    memberships.iter().map(zone).collect()
}

/// The addresses of a network that its engine has described.
fn addresses(network: &Network) -> Option<(minato_relay::Network, Subnet)> {
    let prefix = |subnet: &str| subnet.rsplit_once('/')?.1.parse::<u8>().ok();
    let (prefix_v4, prefix_v6) = (prefix(&network.subnet_v4)?, prefix(&network.subnet_v6)?);
    let Network { gateway_v4, gateway_v6, .. } = *network;
    let subnet = Subnet { gateway_v4, prefix_v4, gateway_v6, prefix_v6 };
    Some((relay_network(&subnet), subnet))
}

/// Asks the engine of another network of this user for a place. Answers are read until the connection ends, and the place
/// lasts as long.
async fn ask(socket: &Path, network: &str, request: &GuestRequest) -> Result<Told, Problem> {
    let failed = |error: io::Error| internal(format!("can't speak with the engine of network {network:?}: {error}"));
    let mut stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let refusal = problem(ProblemKind::NotFound, format!("no network {network:?} is running"));
            with_fix(refusal, format!("minato run --network {network} -- PROGRAM    # starts it"))
        }
        _ => failed(error),
    })?;
    if stream.peer_cred().map_err(failed)?.uid() != rustix::process::geteuid().as_raw() {
        return Err(problem(ProblemKind::Internal, format!("the engine of network {network:?} is somebody else's")));
    }
    let body = serde_json::to_string(request).map_err(internal)?;
    // HTTP/1.0: the answer is a body as it is, to the end of the connection.
    let head = format!("POST /v1/guests HTTP/1.0\r\nHost: minato\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.map_err(failed)?;
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next_line().await.map_err(failed)?.unwrap_or_default();
    while lines.next_line().await.map_err(failed)?.is_some_and(|line| !line.is_empty()) {}
    if status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')) {
        return Ok(lines);
    }
    let refusal = lines.next_line().await.map_err(failed)?.unwrap_or_default();
    Err(serde_json::from_str(&refusal).unwrap_or_else(|_| internal(format!("network {network:?} refuses: {status}"))))
}
