//! A host of this network joins others: it gets an interface in each, made by that network's engine, and what it may call
//! their hosts there. Its gateway, and with it its policy, stays this network's. When the other network ends, the host joins
//! again as soon as there is one of that name.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use minato_host::agent::{Interface, Subnet};
use minato_host::sync::lock;
use minato_inspect::{
    GuestEvent, GuestRequest, Happening, Joined, Named, Network, Offers, Problem, ProblemKind, SessionEvent,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::guests::offers;
use super::hosts::agent_problem;
use super::{Control, HostRecord, MAX_JOINED, State, blocking, name};
use crate::engine::GATEWAY_MAC;
use crate::plane::{Command, JoinedZone};
use crate::problem::{ending, internal, problem, with_fix};
use crate::startup::subnet::relay_network;

/// Between two looks whether a network that has ended has begun anew: this, twice as long each time, at most so long.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long another engine may take to hear what a host offers.
const ANSWERS: Duration = Duration::from_secs(5);

/// A network that a host has joined.
pub(super) struct Membership {
    /// Of the interface there.
    number: u32,
    pub(super) joined: Joined,
    pub(super) network: minato_relay::Network,
    /// The hosts there, by name.
    pub(super) names: BTreeMap<String, Named>,
    /// What the host offers there, which is told as it changes.
    offers: watch::Sender<Offers>,
    /// Hold the place there, and tell.
    _attendants: [AbortOnDrop; 2],
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
#[derive(Clone)]
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
            home: self.name.clone(),
            namespace: host.namespace.clone(),
            interface,
            ephemeral_range: host.ephemeral_range,
        };
        let socket = self.socket_of(network);
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
        self.begin_membership(host, interface, (joined, addresses), told);
        Ok(())
    }

    fn socket_of(&self, network: &str) -> PathBuf {
        self.directory.with_file_name(network).join("api.sock")
    }

    fn begin_membership(
        self: &Arc<Self>,
        host: &Joiner,
        number: u32,
        (joined, network): (Joined, minato_relay::Network),
        mut told: Told,
    ) {
        let (control, joiner, to) = (Arc::clone(self), host.clone(), joined.network.clone());
        let attendant = tokio::spawn(async move {
            while let Ok(Some(line)) = told.next_line().await {
                if let Ok(GuestEvent::Names { hosts }) = serde_json::from_str(&line) {
                    control.note_names(&joiner, &to, hosts);
                }
            }
            // Not by this task, which ends with the membership.
            tokio::spawn(async move { control.end_membership(joiner, number, to).await });
        });
        let (offers, offered) = watch::channel(Offers::default());
        let teller = tokio::spawn(tell_offers(self.socket_of(&joined.network), host.name.clone(), offered));
        let membership = Membership {
            number,
            joined: joined.clone(),
            network,
            names: BTreeMap::new(),
            offers,
            _attendants: [attendant, teller].map(AbortOnDrop),
        };
        if let Some(record) = self.state().host_of(host) {
            record.memberships.push(membership);
            // Names are looked for in this order.
            record.memberships.sort_by_key(|membership| membership.number);
            record.note_joined();
            record.tell_offers();
        }
        let (host, home) = (host.name.clone(), self.name.clone());
        self.events.tell(|| Happening::HostJoined { host, home, joined });
    }

    /// The other network has other hosts than before, or they offer other services.
    fn note_names(&self, host: &Joiner, network: &str, names: BTreeMap<String, Named>) {
        let mut state = self.state();
        let Some(record) = state.host_of(host) else { return };
        if let Some(membership) = record.memberships.iter_mut().find(|other| other.joined.network == network) {
            membership.names = names;
        }
        self.plane.send(Command::SetJoined(host.serial, zones(&record.memberships)));
    }

    /// The other network has ended, and with it the interface there. Joins again when it is there again.
    async fn end_membership(self: Arc<Self>, host: Joiner, number: u32, network: String) {
        let tell = |message: String| {
            let mut state = self.state();
            for session in state.host_of(&host).iter().flat_map(|record| record.sessions.values()) {
                let _ = session.send(SessionEvent::Warning { message: message.clone() });
            }
        };
        {
            let mut state = self.state();
            let Some(record) = state.host_of(&host) else { return };
            record.memberships.retain(|membership| membership.joined.network != network);
            record.note_joined();
            self.plane.send(Command::SetJoined(host.serial, zones(&record.memberships)));
        }
        let name = &host.name;
        tell(format!("network {network:?} has ended, and host {name:?} is in it no longer, until it begins anew"));
        let (home, left) = (self.name.clone(), network.clone());
        self.events.tell(|| Happening::HostLeft { host: name.clone(), home, network: left });
        let (mut told, mut pause) = (None, PAUSE);
        loop {
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            if self.state().host_of(&host).is_none() {
                return;
            }
            match self.join(&host, &network, number).await {
                Ok(()) => return tell(format!("host {name:?} is in network {network:?} again")),
                // It is not there, or is just beginning or ending.
                Err(problem) if problem.kind == ProblemKind::NotFound || problem.status == ending().status => {}
                Err(problem) if told.as_ref() != Some(&problem.title) => {
                    tell(format!("host {name:?} can't join network {network:?} again: {}", problem.title));
                    told = Some(problem.title);
                }
                Err(_) => {}
            }
        }
    }

    /// Refuses networks that can't be joined.
    pub(super) fn check_networks(&self, networks: &[String]) -> Result<(), Problem> {
        for (index, network) in networks.iter().enumerate() {
            name::check("network", network)?;
            if *network == self.name {
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

impl State {
    /// The host itself, unless it has begun to end.
    fn host_of(&mut self, joiner: &Joiner) -> Option<&mut HostRecord> {
        self.hosts.get_mut(&joiner.name).filter(|record| record.serial == joiner.serial && !record.phase.is_ending())
    }
}

impl HostRecord {
    /// Lets those know who are asked where a program's connections lead.
    fn note_joined(&self) {
        let networks = self.memberships.iter().map(|membership| membership.network).collect();
        *lock(&self.joined) = networks;
    }

    /// Tells other networks what the host offers there, where that has changed.
    pub(super) fn tell_offers(&self) {
        for membership in &self.memberships {
            let own: Vec<IpAddr> = membership.joined.addresses().collect();
            let now = offers(&self.services, &own);
            membership.offers.send_if_modified(|before| {
                *before != now && {
                    *before = now;
                    true
                }
            });
        }
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
    let prefix_v4 = prefix(&network.subnet_v4)?;
    let (gateway_v4, gateway_v6) = (network.gateway_v4, network.gateway_v6.unwrap_or(Ipv6Addr::UNSPECIFIED));
    let prefix_v6 = network.subnet_v6.as_deref().map_or(Some(128), prefix)?;
    let subnet = Subnet { gateway_v4, prefix_v4, gateway_v6, prefix_v6 };
    Some((relay_network(&subnet), subnet))
}

/// Tells the engine of another network what a host of this one offers there, as it changes.
async fn tell_offers(socket: PathBuf, host: String, mut offers: watch::Receiver<Offers>) {
    while offers.changed().await.is_ok() {
        // It fails when the other engine is ending, which ends this task too, or is short of something.
        while let Err(error) = tell(&socket, &host, &mut offers).await {
            tracing::debug!(%error, host, "another network is not told yet what a host offers");
            sleep(PAUSE).await;
        }
    }
}

/// Tells it once, as it is now.
async fn tell(socket: &Path, host: &str, offers: &mut watch::Receiver<Offers>) -> io::Result<()> {
    let body = serde_json::to_string(&*offers.borrow_and_update()).unwrap_or_default();
    let path = format!("/v1/guests/{host}/offers");
    let (status, _) = timeout(ANSWERS, request(socket, "PUT", &path, &body)).await??;
    if is_class(&status, '5') { Err(io::Error::other(status)) } else { Ok(()) }
}

/// Asks the engine of another network of this user for a place. Answers are read until the connection ends, and the place
/// lasts as long.
async fn ask(socket: &Path, network: &str, request: &GuestRequest) -> Result<Told, Problem> {
    let failed = |error: io::Error| internal(format!("can't speak with the engine of network {network:?}: {error}"));
    let body = serde_json::to_string(request).map_err(internal)?;
    let answer = self::request(socket, "POST", "/v1/guests", &body).await;
    let (status, mut lines) = answer.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let refusal = problem(ProblemKind::NotFound, format!("no network {network:?} is running"));
            with_fix(refusal, format!("minato run --network {network} -- PROGRAM    # starts it"))
        }
        _ => failed(error),
    })?;
    if is_class(&status, '2') {
        return Ok(lines);
    }
    let refusal = lines.next_line().await.map_err(failed)?.unwrap_or_default();
    Err(serde_json::from_str(&refusal).unwrap_or_else(|_| internal(format!("network {network:?} refuses: {status}"))))
}

/// Whether a status line has a code of this class (RFC 9110 §15).
fn is_class(status: &str, class: char) -> bool {
    status.split(' ').nth(1).is_some_and(|code| code.starts_with(class))
}

/// Sends a request to another engine of this user, and gives the answer's status, and its body as it comes.
async fn request(socket: &Path, method: &str, path: &str, body: &str) -> io::Result<(String, Told)> {
    let mut stream = UnixStream::connect(socket).await?;
    if stream.peer_cred()?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the engine is somebody else's"));
    }
    // HTTP/1.0: the answer is a body as it is, to the end of the connection.
    let head = format!("{method} {path} HTTP/1.0\r\nHost: minato\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await?;
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    Ok((status, lines))
}
