//! Connections that programs make over sockets of the machine, which they hold themselves: no byte of them passes here. What
//! is known of them are their beginnings, which the programs' watch tells, and what the machine's socket table shows.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use minato_host::agent::{Fabric, InsideSocket};
use minato_host::direct::{Accepting, Direct, HandedOver, HeldClient, NotDirect, Outside};
use minato_host::process::{self, Owner, SocketOwners};
use minato_host::sock_diag::{Query, SockDiag, SocketInfo, State as SocketState, States};
use minato_host::sync::lock;
use minato_host::{Family, Transport};
use minato_inspect::{Endpoint, Flow, Process};
use minato_relay::{Network, Rules, Target};

use super::flows::{acknowledged_data, state};
use crate::convert;
use crate::plane::{Command, PlaneHandle};

/// How long a socket that was handed over may take to appear in the socket table.
const APPEARS: Duration = Duration::from_secs(1);
/// How many may be known before it is looked which of them are gone. To look costs a microsecond for each connection of the
/// machine, those in TIME-WAIT included, of which there may be tens of thousands.
const FEW: usize = 1 << 14;
/// How much a process may seem younger than it is.
const SLACK: Duration = Duration::from_millis(100);

/// The sockets of the machine that programs hold, as far as they are not known to be gone.
pub(super) struct DirectSockets {
    /// What lies outside; without the ports that are opened to some hosts.
    rules: Mutex<Rules>,
    state: Mutex<State>,
}

struct State {
    /// By `SO_COOKIE`.
    sockets: HashMap<u64, Record>,
    /// How many there may be before it is looked again which of them are gone.
    limit: usize,
    /// Whether a thread looks for that reason.
    is_looking: bool,
}

/// One that was handed over.
#[derive(Clone, Debug)]
struct Record {
    home: Arc<Home>,
    pid: u32,
    since: Instant,
    /// For those that came in.
    through: Option<Box<Through>>,
}

/// Where the programs are.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) host: String,
    pub(super) network_inode: u64,
}

/// How a connection came in.
#[derive(Clone, Copy, Debug)]
struct Through {
    /// Where it was to lead.
    service: SocketAddr,
    forward: u64,
    /// The forward's address.
    entrance: SocketAddr,
}

/// What a program's watch asks of the engine.
pub(super) struct Surroundings {
    pub(super) sockets: Arc<DirectSockets>,
    pub(super) fabric: Arc<Fabric>,
    pub(super) plane: PlaneHandle,
    pub(super) home: Arc<Home>,
    /// The host's serial number.
    pub(super) serial: u32,
    pub(super) addresses: Vec<IpAddr>,
    /// Other networks in which the host is now.
    pub(super) joined: Arc<Mutex<Vec<Network>>>,
    /// Whether the packet loop has to be asked what the host may reach.
    pub(super) has_policy: bool,
}

impl Surroundings {
    /// Replaces sockets of a program.
    pub(super) fn direct(self) -> Result<Direct, NotDirect> {
        Direct::new(Box::new(self))
    }

    fn record(&self, pid: u32, cookie: u64, through: Option<Through>) {
        let (home, through) = (Arc::clone(&self.home), through.map(Box::new));
        self.sockets.add(cookie, Record { home, pid, since: Instant::now(), through });
    }
}

impl Outside for Surroundings {
    fn is_outside(&self, remote: SocketAddr) -> bool {
        let joined = lock(&self.joined).clone();
        if joined.iter().any(|network| network.contains(remote.ip())) {
            return false;
        }
        let source = self.addresses.iter().copied().find(|own| own.is_ipv4() == remote.is_ipv4());
        let Some(source) = source.filter(|source| self.sockets.target(*source, remote) == Target::Connect(remote))
        else {
            return false;
        };
        if !self.has_policy {
            return true;
        }
        // What is refused goes to the packet loop, which answers and tells of it.
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.plane.send(Command::Admits(source, remote, sender));
        receiver.blocking_recv().unwrap_or(false)
    }

    fn has_policy(&self) -> bool {
        self.has_policy
    }

    fn plain_socket(&self, family: Family) -> Option<OwnedFd> {
        self.fabric.sockets(&self.home.host, InsideSocket::Plain, family, 1).ok()?.pop()
    }

    fn handed_over(&self, HandedOver { pid, cookie, .. }: HandedOver) {
        self.record(pid, cookie, None);
    }

    fn listens(&self, port: u16) {
        self.plane.held().listens(self.serial, port);
    }

    fn asks(&self, who: Accepting) -> bool {
        self.plane.held().asks(Instant::now(), self.serial, who)
    }

    fn waits(&self, who: Accepting) {
        if self.plane.held().waits(Instant::now(), self.serial, who) {
            self.plane.send(Command::RelayHeld);
        }
    }

    fn take(&self, peer: SocketAddr, service: SocketAddr) -> Option<HeldClient> {
        self.plane.held().take(self.serial, peer, service)
    }

    fn accepted(&self, client: HeldClient, pid: u32) -> Option<OwnedFd> {
        let HeldClient { service, forward, entrance, .. } = client;
        if let Ok(cookie) = client.cookie() {
            self.record(pid, cookie, Some(Through { service, forward, entrance }));
        }
        self.dropped(client)
    }

    fn dropped(&self, client: HeldClient) -> Option<OwnedFd> {
        self.plane.held().gone(self.serial, &client)
    }

    fn relay(&self, client: HeldClient) {
        self.plane.send(match self.plane.held().relay(Instant::now(), self.serial, client) {
            None => Command::RelayHeld,
            // Its forward is gone: it is turned away.
            Some(client) => Command::ConnectAgain(client),
        });
    }

    fn again(&self, client: HeldClient) {
        self.plane.held().give_up(self.serial, &client);
        self.plane.send(Command::ConnectAgain(client));
    }
}

impl DirectSockets {
    pub(super) fn new(rules: Rules) -> Arc<DirectSockets> {
        Arc::new(DirectSockets {
            rules: Mutex::new(rules),
            state: Mutex::new(State { sockets: HashMap::new(), limit: FEW, is_looking: false }),
        })
    }

    /// The network has other addresses, and no host.
    pub(super) fn renumber(&self, network: Network) {
        *lock(&self.rules) = Rules::new(network);
    }

    fn target(&self, source: IpAddr, remote: SocketAddr) -> Target {
        lock(&self.rules).target(source, remote)
    }

    /// What there is of them, each with its cookie. Looks at the socket table, if there may be any.
    pub(super) fn flows(&self) -> Vec<(u64, Flow)> {
        let mut owners = Owners::default();
        self.look().iter().map(|(record, socket)| (socket.cookie, flow(record, socket, &mut owners))).collect()
    }

    /// Forgets those of a host that is gone, and what the kernel still does for them.
    pub(super) fn forget_host(&self, host: &str) {
        self.state().sockets.retain(|_, record| record.home.host != host);
    }

    fn add(self: &Arc<Self>, cookie: u64, record: Record) {
        let mut state = self.state();
        state.sockets.insert(cookie, record);
        if state.sockets.len() <= state.limit || state.is_looking {
            return;
        }
        // The program that connects does not wait for it.
        let sockets = Arc::clone(self);
        let look = move || sockets.forget_gone();
        state.is_looking = thread::Builder::new().name("direct".into()).spawn(look).is_ok();
    }

    fn forget_gone(&self) {
        self.look();
        let mut state = self.state();
        // Looked at again when they are twice as many: so each costs the same, however many there are.
        state.limit = FEW.max(2 * state.sockets.len());
        state.is_looking = false;
    }

    /// Those that the machine's socket table has. The others are forgotten.
    fn look(&self) -> Vec<(Record, SocketInfo)> {
        if self.state().sockets.is_empty() {
            return Vec::new();
        }
        let begun = Instant::now();
        let table = match connections() {
            Ok(table) => table,
            Err(error) => {
                tracing::warn!(%error, "can't read the machine's socket table");
                return Vec::new();
            }
        };
        let mut state = self.state();
        let known = |socket: SocketInfo| Some((state.sockets.get(&socket.cookie)?.clone(), socket));
        let found: Vec<(Record, SocketInfo)> = table.into_iter().filter_map(known).collect();
        let there: HashSet<u64> = found.iter().map(|(_, socket)| socket.cookie).collect();
        state.sockets.retain(|cookie, record| there.contains(cookie) || record.since + APPEARS > begun);
        found
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// The machine's TCP connections.
fn connections() -> std::io::Result<Vec<SocketInfo>> {
    let mut table = SockDiag::open()?;
    let mut found = Vec::new();
    for family in [Family::V4, Family::V6] {
        let query = Query { details: true, ..Query::new(family, Transport::Tcp, States::CONNECTED) };
        table.dump(query, |socket| found.push(socket.with_plain_addresses()))?;
    }
    Ok(found)
}

fn flow(record: &Record, socket: &SocketInfo, owners: &mut Owners) -> Flow {
    let endpoint = |host: Option<String>, address: SocketAddr, process: Option<Process>| Endpoint {
        host,
        address: address.ip(),
        port: address.port(),
        process,
        process_unknown: None,
        name: None,
    };
    let own = |address| endpoint(Some(record.home.host.clone()), address, None);
    let process = owners.process(record, socket);
    let details = socket.tcp;
    let (client, server) = match &record.through {
        Some(through) => (endpoint(None, socket.remote, None), Endpoint { process, ..own(through.service) }),
        None => (Endpoint { process, ..own(socket.local) }, endpoint(None, socket.remote, None)),
    };
    let received = details.map(|details| details.bytes_received);
    let (bytes_in, bytes_out) = match &record.through {
        Some(_) => (received, details.map(|details| accepted_data(socket.state, details.bytes_acked))),
        None => (details.map(|details| acknowledged_data(socket.state, details.bytes_acked)), received),
    };
    Flow {
        transport: minato_inspect::Transport::Tcp,
        client,
        server,
        forward: record.through.as_ref().map(|through| through.forward),
        via: record.through.as_ref().map(|through| through.entrance),
        direct: true,
        seen_as: None,
        state: state(socket.state),
        age_seconds: Some(record.since.elapsed().as_secs_f64()),
        bytes_in,
        bytes_out,
        retransmits: details.map(|details| u64::from(details.retransmits)),
        rtt_micros: details.map(|details| u64::from(details.rtt_microseconds)),
    }
}

/// The same for a side that was connected to: it has sent no SYN of its own that would count.
fn accepted_data(state: SocketState, bytes_acked: u64) -> u64 {
    acknowledged_data(state, bytes_acked + 1)
}

/// Whose sockets are, for one look.
#[derive(Default)]
struct Owners {
    /// By process ID.
    described: HashMap<u32, Option<process::Process>>,
    /// By network, for sockets whose first process has passed them on.
    networks: HashMap<u64, SocketOwners>,
}

impl Owners {
    /// The process that has connected the socket, or one that has it now.
    fn process(&mut self, record: &Record, socket: &SocketInfo) -> Option<Process> {
        let since = record.since.elapsed();
        let known = self.describe(record.pid);
        // Its number may be another one's.
        if let Some(process) = known.filter(|process| process.age + SLACK >= since) {
            return Some(convert::process(process));
        }
        let look = || SocketOwners::of(&process::in_network(record.home.network_inode));
        let owners = self.networks.entry(record.home.network_inode).or_insert_with(look);
        let Owner::Processes([first, ..]) = owners.owner(socket.inode) else { return None };
        let first = *first;
        self.describe(first).map(convert::process)
    }

    fn describe(&mut self, pid: u32) -> Option<process::Process> {
        self.described.entry(pid).or_insert_with(|| process::describe(pid)).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn when_there_are_many_those_that_are_gone_are_forgotten() {
        let (gateway_v4, gateway_v6) = ([10, 77, 0, 1].into(), Ipv6Addr::LOCALHOST);
        let network = Network { gateway_v4, prefix_v4: 24, gateway_v6, prefix_v6: 128 };
        let sockets = DirectSockets::new(Rules::new(network));
        let home = Arc::new(Home { host: "web".to_owned(), network_inode: 1 });
        let record = |since| Record { home: Arc::clone(&home), pid: 1, since, through: None };
        let now = Instant::now();
        // Cookies are counted up from 1: none of the machine's sockets has one of these.
        for index in 0..FEW as u64 {
            sockets.add(u64::MAX - index, record(now - 2 * APPEARS));
        }
        assert_eq!(sockets.state().sockets.len(), FEW);
        let young = 1 << 63;
        sockets.add(young, record(now + 1000 * APPEARS));
        let deadline = now + Duration::from_secs(30);
        while sockets.state().is_looking {
            assert!(Instant::now() < deadline, "it looks for ever");
            thread::sleep(Duration::from_millis(1));
        }
        let state = sockets.state();
        assert_eq!(state.sockets.keys().copied().collect::<Vec<_>>(), [young], "it may appear yet");
        assert_eq!(state.limit, FEW);
    }
}
