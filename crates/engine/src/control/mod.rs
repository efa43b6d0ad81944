//! What the engine knows besides packets: hosts, their sessions and forwards, and how each begins and ends.
//!
//! All of it is in one [`Control`], whose state is behind a lock that is held for moments only, never while the agent
//! or the packet loop is asked for something. Whatever takes several steps either succeeds or is undone.

mod binds;
mod collisions;
mod dial;
mod direct;
mod ending;
mod flows;
mod forwards;
mod guests;
mod hosts;
mod joining;
mod loopback;
pub(crate) mod name;
mod numbers;
mod observe;
mod owners;
mod packets;
mod policy;
mod ports;
mod programs;
mod refusals;
mod resolv_conf;
mod sessions;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use minato_host::agent::Fabric;
use minato_host::binds::Place;
use minato_host::sock_diag::SockDiag;
use minato_host::sync::lock;
use minato_inspect::{Collision, Enter, Happening, Host, Policy, Problem, ProblemKind, SessionEvent, SessionId};
use minato_ports::PortTable;
use minato_relay::{Rules, Services};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, watch};

use crate::events::Events;
use crate::plane::PlaneHandle;
use crate::problem::problem;
pub use dial::web_port;
use direct::DirectSockets;
use forwards::ForwardRecord;
pub(crate) use forwards::collapse;
use guests::GuestRecord;
pub(crate) use guests::GuestSession;
use joining::Membership;
use loopback::Loopback;
pub use name::RESERVED as RESERVED_NAMES;
pub(crate) use numbers::Numbers;
use programs::Programs;
pub(crate) use sessions::Session;

/// The engine's knowledge and its handles on agent and packet loop.
pub(crate) struct Control {
    /// The network's name.
    name: String,
    fabric: Arc<Fabric>,
    plane: PlaneHandle,
    direct: Arc<DirectSockets>,
    directory: PathBuf,
    state: Mutex<State>,
    /// Sessions whose connection has closed.
    closed: mpsc::UnboundedSender<SessionId>,
    /// Turns true when the engine is to end.
    stopping: watch::Sender<bool>,
    events: Events,
    /// What there was when it was last looked for events; `None` while nobody subscribes.
    seen: Mutex<Option<observe::Seen>>,
    /// Wakes the observer.
    subscribed: Notify,
    /// Changes when names of the network do, for guests.
    names: watch::Sender<()>,
    /// One change at a time to what hosts have on the machine's loopback.
    loopback_turn: tokio::sync::Mutex<()>,
    /// Addresses are given out, or the network gets others.
    numbering: tokio::sync::Mutex<()>,
    /// Wakes whoever may give it others: there is no host any more.
    emptied: Notify,
}

/// Most networks that a host joins besides its own.
const MAX_JOINED: usize = 8;

/// What changes.
struct State {
    numbers: Numbers,
    /// By name; ordered, so that listings are.
    hosts: BTreeMap<String, HostRecord>,
    /// Hosts of other networks, by name, which no host of this one has.
    guests: BTreeMap<String, GuestRecord>,
    /// Sessions without a host: while there is one, the network stays.
    stays: HashMap<SessionId, mpsc::UnboundedSender<SessionEvent>>,
    forwards: HashMap<u64, ForwardRecord>,
    /// What the machine has of the network's addresses.
    collisions: Vec<Collision>,
    /// Ports of the machine that forwards hold, each owned by the host that it leads to.
    table: PortTable<String>,
    /// Most forwards that the limit of open files allows.
    max_forwards: usize,
    next_serial: u32,
    next_session: u64,
    next_forward: u64,
    /// Why the engine is ending, if it is.
    stopping: Option<String>,
}

/// One host.
struct HostRecord {
    serial: u32,
    phase: Phase,
    address_v4: Ipv4Addr,
    /// `None` where the kernel has no IPv6.
    address_v6: Option<Ipv6Addr>,
    /// `None` if it was asked to have none.
    loopback: Option<Loopback>,
    ephemeral_range: (u16, u16),
    policy: Policy,
    /// Other networks in which it is, whenever there are such.
    networks: Vec<String>,
    /// Those in which it is now.
    memberships: Vec<Membership>,
    /// Their networks, for those who serve its programs.
    joined: Arc<Mutex<Vec<minato_relay::Network>>>,
    /// Whether its programs get sockets of the machine.
    direct: bool,
    /// How long its programs may take to end when its client is gone.
    grace: Duration,
    created: Instant,
    /// Whoever has it made has no session yet, which it does not end without.
    is_awaited: bool,
    sessions: HashMap<SessionId, mpsc::UnboundedSender<SessionEvent>>,
    programs: Arc<Programs>,
    /// What listens in it.
    services: Services,
    /// Once it runs.
    inside: Option<Inside>,
    /// Turns true when the host is gone, or could not be made.
    gone: watch::Sender<bool>,
}

/// | phase | legal operations |
/// |---|---|
/// | `Creating` | becomes `Running`, or is removed when a step fails |
/// | `Running` | sessions and forwards come and go; with the last session it becomes `Ending` |
/// | `Ending` | becomes `Deserted` when nothing of it runs, listens or sends any more |
/// | `Deserted` | is removed when the agent has done so, in a moment |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Creating,
    Running,
    Ending,
    Deserted,
}

impl Phase {
    /// Whether the end has begun.
    fn is_ending(self) -> bool {
        matches!(self, Phase::Ending | Phase::Deserted)
    }
}

/// What a running host consists of.
#[derive(Clone)]
struct Inside {
    enter: Enter,
    network_inode: u64,
    place: Place,
    /// For views; the packet loop has another one.
    sockets: Arc<Mutex<SockDiag>>,
}

impl Control {
    pub(crate) fn new(
        numbers: Numbers,
        fabric: Arc<Fabric>,
        plane: PlaneHandle,
        directory: &Path,
        max_forwards: usize,
        events: Events,
    ) -> (Arc<Control>, mpsc::UnboundedReceiver<SessionId>) {
        let (name, addresses) = (numbers.network.name.clone(), numbers.addresses);
        let (closed, closed_sessions) = mpsc::unbounded_channel();
        let state = State {
            numbers,
            hosts: BTreeMap::new(),
            guests: BTreeMap::new(),
            stays: HashMap::new(),
            forwards: HashMap::new(),
            collisions: Vec::new(),
            table: PortTable::new(),
            max_forwards,
            next_serial: 1,
            next_session: 1,
            next_forward: 1,
            stopping: None,
        };
        let directory = directory.to_owned();
        let stopping = watch::channel(false).0;
        let control = Control {
            name,
            fabric,
            plane,
            direct: DirectSockets::new(Rules::new(addresses)),
            directory,
            state: Mutex::new(state),
            closed,
            stopping,
            events,
            seen: Mutex::new(None),
            subscribed: Notify::new(),
            names: watch::channel(()).0,
            loopback_turn: tokio::sync::Mutex::new(()),
            numbering: tokio::sync::Mutex::new(()),
            emptied: Notify::new(),
        };
        (Arc::new(control), closed_sessions)
    }

    /// ` --network NET` where a command line needs it.
    fn network_flag(&self) -> String {
        match self.name.as_str() {
            "default" => String::new(),
            name => format!(" --network {name}"),
        }
    }

    /// Whether there is no host, not even one that is being made, and nobody wants the network to stay.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().is_empty()
    }

    /// Takes no more requests, tells every session, and lets [`Control::stopped`] return. The first reason counts.
    pub(crate) fn stop(&self, reason: &str) {
        self.stop_in(&mut self.state(), reason);
    }

    /// Ends the engine if there is no reason left for it to be.
    fn stop_if_empty(&self) {
        self.stop_in_if_empty(&mut self.state());
    }

    fn stop_in_if_empty(&self, state: &mut State) {
        if state.is_empty() {
            self.stop_in(state, "its last host has ended");
        }
    }

    fn stop_in(&self, state: &mut State, reason: &str) {
        if state.stopping.is_none() {
            tracing::info!(reason, "ending");
            state.stopping = Some(reason.to_owned());
        }
        let of_hosts = state.hosts.values_mut().flat_map(|host| host.sessions.drain());
        for (_, events) in of_hosts.chain(state.stays.drain()) {
            let _ = events.send(SessionEvent::EngineStopping { reason: reason.to_owned() });
        }
        state.dismiss_guests();
        self.events.tell(|| Happening::EngineStopping { reason: reason.to_owned() });
        self.stopping.send_replace(true);
    }

    /// Returns when the engine is to end.
    pub(crate) async fn stopped(&self) {
        // It can't fail: the sender is ours.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Ends the packet loop.
    pub(crate) fn stop_plane(&self) {
        self.plane.send(crate::plane::Command::Stop);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock only means that a request panicked between two statements; the engine goes on.
        lock(&self.state)
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.stays.is_empty() && self.guests.is_empty()
    }

    /// Whether the network ends, unless somebody wants a host in it very soon.
    fn is_ending(&self) -> bool {
        let hosts_are = !self.hosts.is_empty() && self.hosts.values().all(|host| host.phase.is_ending());
        self.stopping.is_some() || hosts_are && self.stays.is_empty() && self.guests.is_empty()
    }

    /// A host that runs.
    fn running(&self, name: &str) -> Result<(&HostRecord, &Inside), Problem> {
        self.hosts
            .get(name)
            .filter(|host| host.phase == Phase::Running)
            .and_then(|host| Some((host, host.inside.as_ref()?)))
            .ok_or_else(|| no_such_host(name))
    }

    /// Everything that runs, with its name.
    fn all_running(&self) -> Vec<(String, Inside)> {
        let running = |(name, host): (&String, &HostRecord)| Some((name.clone(), host.inside.clone()?));
        self.hosts.iter().filter(|(_, host)| host.phase == Phase::Running).filter_map(running).collect()
    }

    /// The inside of the host with this serial number.
    fn inside_of(&self, serial: u32) -> Option<Inside> {
        self.hosts.values().find(|host| host.serial == serial)?.inside.clone()
    }

    /// Everything that has sockets, whether it runs or is just ending.
    fn all_there(&self) -> Vec<(String, Inside)> {
        self.hosts.iter().filter_map(|(name, host)| Some((name.clone(), host.inside.clone()?))).collect()
    }

    /// A host as it is shown, without its processes.
    fn show(&self, name: &str) -> Result<Host, Problem> {
        let (record, _) = self.running(name)?;
        Ok(Host { forwards: self.specs_of(name), ..record.show(name) })
    }

    fn next_session(&mut self) -> SessionId {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        session
    }
}

impl HostRecord {
    fn addresses(&self) -> Vec<IpAddr> {
        std::iter::once(self.address_v4.into()).chain(self.address_v6.map(IpAddr::V6)).collect()
    }

    /// The host as it is shown, without its forwards and processes.
    fn show(&self, name: &str) -> Host {
        Host {
            name: name.to_owned(),
            address_v4: self.address_v4,
            address_v6: self.address_v6,
            loopback_v4: self.loopback.as_ref().map(|loopback| loopback.address),
            networks: self.memberships.iter().map(|membership| membership.joined.clone()).collect(),
            home: None,
            ephemeral_range: self.ephemeral_range,
            policy: self.policy.clone(),
            direct: self.direct,
            age_seconds: self.created.elapsed().as_secs_f64(),
            forwards: Vec::new(),
            processes: Vec::new(),
        }
    }
}

fn no_such_host(name: &str) -> Problem {
    problem(ProblemKind::NotFound, format!("there is no host named {name:?}"))
}

/// Waits for a descriptor to become readable.
fn readable<T: AsRawFd>(descriptor: T) -> io::Result<AsyncFd<T>> {
    #[expect(deprecated, reason = "sound for what owns its descriptor as long as it lives; the successor is unsafe")]
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// Runs what blocks, such as a request to the agent, on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(crate::problem::internal)
}
