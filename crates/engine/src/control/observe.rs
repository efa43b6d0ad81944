//! Notices what the hosts' own kernels do (sockets bound, listening and released, connections between hosts) by looking at
//! their socket tables again and again, as long as anybody wants to be told.
//!
//! What passes through the packet loop, and forwards and hosts, is told where it happens. Here is a look every
//! [`PAUSE`], so a socket that lives for less than that may not be noticed at all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use minato_host::process::{self, Owner, SocketOwners};
use minato_host::sock_diag::{Query, SocketInfo, State as SocketState, States};
use minato_host::sync::lock;
use minato_host::{Family, Transport};
use minato_inspect::{BoundSocket, Flow, FlowState, Happening, Problem, Unknown};
use minato_ports::registry;

use super::flows::Sockets;
use super::{Control, Inside, blocking};
use crate::convert;
use crate::events::Subscriber;

/// Between two looks, at least.
const PAUSE: Duration = Duration::from_millis(50);
/// A look that takes long is followed by a pause that is so many times as long: a tenth of one core at most.
const RATIO: u32 = 10;

/// What was there at the last look.
#[derive(Default)]
pub(super) struct Seen {
    /// By host, inode and port: a socket has one port at a time.
    bound: HashMap<(String, u64, u16), Bound>,
    /// By the client's host and both ends, the client's first: loopback addresses are the same in every host.
    flows: HashMap<(String, SocketAddr, SocketAddr), (String, Flow)>,
    /// Connections over sockets of the machine, by cookie.
    direct: HashMap<u64, (String, Flow)>,
    next_flow: u64,
}

struct Bound {
    socket: BoundSocket,
    listening: bool,
}

impl Control {
    /// Subscribes to what happens from now on: everything that comes after what the other requests show meanwhile.
    pub(crate) async fn subscribe(self: &Arc<Self>) -> Result<Subscriber, Problem> {
        let control = Arc::clone(self);
        let subscribe = move || {
            // What has happened so far is news for those who are there already, and for nobody if there is none.
            let mut seen = lock(&control.seen);
            control.look_from(&mut seen);
            let subscriber = control.events.subscribe();
            if seen.is_none() {
                control.look_from(&mut seen);
            }
            subscriber
        };
        let subscriber = blocking(subscribe).await?;
        self.subscribed.notify_one();
        Ok(subscriber)
    }

    /// Looks again and again while there are subscribers.
    pub(crate) async fn observe(self: Arc<Self>) {
        loop {
            self.subscribed.notified().await;
            loop {
                let control = Arc::clone(&self);
                let took = blocking(move || control.look()).await.unwrap_or(PAUSE);
                if !self.events.wanted() {
                    break;
                }
                tokio::time::sleep(PAUSE.max(took * RATIO)).await;
            }
        }
    }

    /// Tells what has changed since the last look, and how long it took to find out. The first look tells nothing.
    pub(super) fn look(&self) -> Duration {
        let started = Instant::now();
        self.look_from(&mut lock(&self.seen));
        started.elapsed()
    }

    /// The same, with what was seen at the last look.
    fn look_from(&self, seen: &mut Option<Seen>) {
        if !self.events.wanted() {
            *seen = None;
            return;
        }
        let (hosts, addresses) = {
            let state = self.state();
            (state.all_there(), state.owners())
        };
        let table = Table::look(&hosts, Sockets::of(addresses));
        let direct = self.direct.flows();
        let happened = match seen {
            Some(seen) => seen.update(table, direct, &hosts),
            None => {
                let mut first = Seen::default();
                first.update(table, direct, &hosts);
                *seen = Some(first);
                Vec::new()
            }
        };
        happened.into_iter().for_each(|what| self.events.tell(|| what));
    }
}

/// The sockets of all hosts at one moment, without their owners.
struct Table {
    bound: Vec<(String, SocketInfo)>,
    connected: Sockets,
}

impl Table {
    fn look(hosts: &[(String, Inside)], mut connected: Sockets) -> Table {
        let mut bound = Vec::new();
        let established = States::of(SocketState::Established);
        let queries = [(Transport::Tcp, States::HOLDING.union(established)), (Transport::Udp, States::UNCONNECTED)];
        for (name, inside) in hosts {
            let mut table = lock(&inside.sockets);
            for (transport, states) in queries {
                for family in [Family::V4, Family::V6] {
                    let result = table.dump(Query::new(family, transport, states), |socket| {
                        if socket.remote.port() == 0 && socket.local.port() != 0 && socket.inode != 0 {
                            bound.push((name.clone(), *socket));
                        }
                        connected.add(name, *socket);
                    });
                    if let Err(error) = result {
                        tracing::warn!(%error, host = name, "can't read a host's socket table");
                    }
                }
            }
        }
        Table { bound, connected }
    }
}

impl Seen {
    /// Takes over what is there now; returns what that means.
    fn update(&mut self, table: Table, direct: Vec<(u64, Flow)>, hosts: &[(String, Inside)]) -> Vec<Happening> {
        let mut owners = Owners { hosts, by_host: HashMap::new() };
        let mut happened = Vec::new();
        self.update_bound(table.bound, &mut owners, &mut happened);
        self.update_flows(&table.connected, &mut owners, &mut happened);
        self.update_direct(direct, &mut happened);
        happened
    }

    fn update_bound(
        &mut self,
        sockets: Vec<(String, SocketInfo)>,
        owners: &mut Owners<'_>,
        happened: &mut Vec<Happening>,
    ) {
        let mut before = std::mem::take(&mut self.bound);
        let mut new = Vec::new();
        for (host, socket) in sockets {
            let key = (host, socket.inode, socket.local.port());
            let listening = socket.state == SocketState::Listen;
            let mut bound = before.remove(&key).unwrap_or_else(|| {
                let socket = describe(&key.0, &socket, owners);
                new.push(Happening::Bind(socket.clone()));
                Bound { socket, listening: false }
            });
            if listening && !bound.listening {
                new.push(Happening::Listen(bound.socket.clone()));
            }
            bound.listening = listening;
            self.bound.insert(key, bound);
        }
        // A port is released before it is taken again.
        happened.extend(before.into_values().map(|bound| Happening::Release(bound.socket)));
        happened.append(&mut new);
    }

    fn update_flows(&mut self, connected: &Sockets, owners: &mut Owners<'_>, happened: &mut Vec<Happening>) {
        let mut before = std::mem::take(&mut self.flows);
        for (host, inode, mut flow) in connected.internal_flows() {
            let key = (
                host.to_owned(),
                SocketAddr::new(flow.client.address, flow.client.port),
                SocketAddr::new(flow.server.address, flow.server.port),
            );
            if let Some(known) = before.remove(&key) {
                self.flows.insert(key, known);
                continue;
            }
            // The relay's own sockets are nobody's inside a host.
            let Owner::Processes(pids) = owners.owner(host, inode) else { continue };
            flow.client.process = pids.first().and_then(|pid| process::describe(*pid)).map(convert::process);
            self.next_flow += 1;
            let id = format!("inside-{}", self.next_flow);
            happened.push(Happening::FlowStarted { id: id.clone(), flow: Box::new(flow.clone()) });
            self.flows.insert(key, (id, flow));
        }
        happened.extend(before.into_values().map(ended));
    }

    /// One that is seen for the first time when it has ended already has begun and ended.
    fn update_direct(&mut self, flows: Vec<(u64, Flow)>, happened: &mut Vec<Happening>) {
        let mut before = std::mem::take(&mut self.direct);
        for (cookie, flow) in flows {
            let known = before.remove(&cookie);
            if known.is_none() && flow.state == FlowState::Connecting {
                continue;
            }
            let id = if let Some((id, _)) = known {
                id
            } else {
                self.next_flow += 1;
                let id = format!("direct-{}", self.next_flow);
                happened.push(Happening::FlowStarted { id: id.clone(), flow: Box::new(flow.clone()) });
                id
            };
            self.direct.insert(cookie, (id, flow));
        }
        happened.extend(before.into_values().map(ended));
    }
}

/// The end of a flow that was last seen like this.
fn ended((id, flow): (String, Flow)) -> Happening {
    Happening::FlowEnded { id, flow: Box::new(Flow { state: FlowState::Closing, ..flow }) }
}

/// Whose the sockets of each host are; looked up when something new is seen, once a look.
struct Owners<'a> {
    hosts: &'a [(String, Inside)],
    by_host: HashMap<String, SocketOwners>,
}

impl Owners<'_> {
    fn owner(&mut self, host: &str, inode: u64) -> Owner<'_> {
        let inside = self.hosts.iter().find(|(name, _)| name == host).map(|(_, inside)| inside);
        let look = || inside.map(|inside| SocketOwners::of(&process::in_network(inside.network_inode)));
        self.by_host.entry(host.to_owned()).or_insert_with(|| look().unwrap_or_default()).owner(inode)
    }
}

fn describe(host: &str, socket: &SocketInfo, owners: &mut Owners<'_>) -> BoundSocket {
    let (processes, process_unknown) = match owners.owner(host, socket.inode) {
        Owner::Processes(pids) => {
            (pids.iter().filter_map(|pid| process::describe(*pid)).map(convert::process).collect(), None)
        }
        Owner::NoPermission => (Vec::new(), Some(Unknown::NoPermission)),
        Owner::Nobody => (Vec::new(), Some(Unknown::Vanished)),
    };
    let transport = convert::from_host(socket.transport);
    let (address, port) = (socket.local.ip(), socket.local.port());
    BoundSocket {
        host: host.to_owned(),
        address: address.to_canonical(),
        dual_stack: socket.family == Family::V6 && address.is_unspecified() && !socket.v6only,
        port,
        transport: convert::to_inspect(transport),
        registered: registry::lookup(port, transport).map(|service| service.name().to_owned()),
        processes,
        process_unknown,
    }
}
