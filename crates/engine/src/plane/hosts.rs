//! The hosts, as the packet loop knows them: their services, and the sockets made ahead inside them.
//!
//! That a service ends is an event of the kernel. That one begins is found by looking at the listeners, whenever the
//! kernel's counts of the host's sockets have changed. The counts are read often after a change, rarely after a while
//! without.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use minato_host::Family;
use minato_host::agent::InsideSocket;
use minato_host::sock_diag::{EventsError, InUse, Query, SockDiag, SocketInfo, States};
use minato_host::sockets::Local;
use minato_inspect::Happening;
use minato_ports::Transport;
use minato_relay::{FlowId, Listener, Services};

use super::command::{HostSetup, ServicesChanged, Supply};
use super::{Flow, Plane, Token};
use crate::convert;

/// Between two glances at the counts while something changes.
const EAGER: Duration = Duration::from_millis(20);
/// How long that lasts after a change.
const EAGER_FOR: Duration = Duration::from_secs(10);
/// Between two glances after that.
const PATIENT: Duration = Duration::from_millis(200);
/// Glances that are due soon are made at once, so that many hosts don't wake the loop one by one.
const TOGETHER: Duration = Duration::from_millis(10);
/// A host that has sockets is looked at after so long, whatever the counts say: one socket may have ended and another
/// one begun.
const ANYWAY: Duration = Duration::from_secs(2);
/// Sockets ordered at once, at least and at most.
const BATCH: std::ops::RangeInclusive<usize> = 8..=128;
/// How long large batches are ordered after there was no socket left.
const BUSY_FOR: Duration = Duration::from_secs(10);

/// Sockets that the packet loop wants from the agent.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) host: u32,
    pub(crate) name: String,
    pub(crate) kind: InsideSocket,
    pub(crate) family: Family,
    pub(crate) count: usize,
}

/// A host.
#[derive(Debug)]
pub(super) struct PlaneHost {
    pub(super) name: String,
    pub(super) addresses: Vec<IpAddr>,
    sockets: SockDiag,
    /// Its programs hold sockets of the machine.
    pub(super) direct: bool,
    pub(super) services: Services,
    /// Places of its forwards.
    pub(super) forwards: Vec<usize>,
    /// When to glance at it next.
    look_at: Instant,
    eager_until: Instant,
    /// The last look at its listeners, and the counts as they were before it.
    pub(super) looked: Instant,
    in_use: Option<InUse>,
    streams: [Stock; 2],
    datagrams: [Stock; 2],
    /// Accepted connections that wait for a socket inside the host.
    pub(super) waiting: VecDeque<WaitingClient>,
    /// Datagrams that wait for one.
    pub(super) waiting_datagrams: VecDeque<WaitingDatagrams>,
}

/// An accepted connection that waits.
#[derive(Debug)]
pub(super) struct WaitingClient {
    pub(super) entrance: Entrance,
    pub(super) socket: OwnedFd,
    pub(super) address: SocketAddr,
}

/// How a connection came in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entrance {
    /// Through the forward with this ID, which is at this place.
    Forward(u64, usize),
    /// Through the API, for a port of the host with this serial number.
    Dial(u32, u16),
}

/// Datagrams that wait, of one client.
#[derive(Debug)]
pub(super) struct WaitingDatagrams {
    pub(super) forward: u64,
    pub(super) place: usize,
    pub(super) client: SocketAddr,
    pub(super) local: Option<Local>,
    pub(super) payload: Vec<u8>,
    /// Of each, but the last.
    pub(super) size: usize,
}

/// Sockets of one kind and family, made ahead.
#[derive(Debug)]
struct Stock {
    sockets: Vec<OwnedFd>,
    ordered: bool,
    batch: usize,
    /// When there was none last.
    empty: Option<Instant>,
}

impl Default for Stock {
    fn default() -> Stock {
        Stock { sockets: Vec::new(), ordered: false, batch: *BATCH.start(), empty: None }
    }
}

impl Stock {
    /// Takes a socket; batches grow when there is none, and are small again after a while without that.
    fn take(&mut self, now: Instant) -> Option<OwnedFd> {
        let socket = self.sockets.pop();
        if socket.is_none() && !self.ordered {
            self.batch = (self.batch * 2).min(*BATCH.end());
            self.empty = Some(now);
        } else if self.empty.is_some_and(|at| now.saturating_duration_since(at) >= BUSY_FOR) {
            self.batch = *BATCH.start();
            self.empty = None;
        }
        socket
    }
}

impl PlaneHost {
    /// How many sockets are made ahead.
    fn stocked(&self) -> usize {
        self.streams.iter().chain(&self.datagrams).map(|stock| stock.sockets.len()).sum()
    }

    fn stock(&mut self, kind: InsideSocket, family: Family) -> &mut Stock {
        let of_kind = match kind {
            InsideSocket::TransparentStream | InsideSocket::Stream | InsideSocket::Plain => &mut self.streams,
            InsideSocket::Datagram => &mut self.datagrams,
        };
        &mut of_kind[usize::from(family == Family::V6)]
    }

    /// What listens in the host now.
    fn look(&mut self, now: Instant) -> std::io::Result<Services> {
        self.looked = now;
        self.in_use = self.sockets.in_use();
        let mut listeners = Vec::new();
        let wanted =
            [(minato_host::Transport::Tcp, States::LISTEN), (minato_host::Transport::Udp, States::UNCONNECTED)];
        for (transport, states) in wanted {
            for family in [Family::V4, Family::V6] {
                let query = Query::new(family, transport, states);
                self.sockets.dump(query, |socket| listeners.extend(listener(socket)))?;
            }
        }
        Ok(Services::new(listeners))
    }

    fn plan_glance(&mut self, now: Instant) {
        self.look_at = now + if now < self.eager_until { EAGER } else { PATIENT };
    }

    /// Whether a look could show something new.
    fn may_have_changed(&self, now: Instant) -> bool {
        let known = self.in_use.filter(|known| self.sockets.in_use() == Some(*known));
        known.is_none_or(|known| !known.is_empty() && now.saturating_duration_since(self.looked) >= ANYWAY)
    }
}

/// A socket that takes connections or datagrams from anybody.
fn listener(socket: &SocketInfo) -> Option<Listener> {
    let unconnected = socket.remote.port() == 0 && socket.local.port() != 0;
    unconnected.then(|| Listener {
        transport: convert::from_host(socket.transport),
        address: socket.local.ip(),
        port: socket.local.port(),
        v6_only: socket.v6only,
    })
}

impl Plane {
    pub(super) fn add_host(&mut self, setup: HostSetup) {
        let HostSetup { serial, name, addresses, host_ports, egress, sockets, direct } = setup;
        for address in &addresses {
            self.rules.open(*address, host_ports.iter().copied());
        }
        if let Some(events) = sockets.events_fd()
            && let Err(error) = self.poller.add(events, Token::Host(serial))
        {
            tracing::error!(%error, host = name, "the host's sockets can't be watched");
        }
        self.resolver.zone.add(&name, serial, &addresses);
        self.policies.add(serial, &addresses, egress);
        let host = PlaneHost {
            name,
            addresses,
            sockets,
            direct,
            services: Services::default(),
            forwards: Vec::new(),
            // No program runs in it yet.
            look_at: self.now + EAGER,
            eager_until: self.now + EAGER_FOR,
            looked: self.now,
            in_use: None,
            streams: Default::default(),
            datagrams: Default::default(),
            waiting: VecDeque::new(),
            waiting_datagrams: VecDeque::new(),
        };
        let first_look = host.look_at;
        self.hosts.insert(serial, host);
        self.next_look = Some(self.next_look.map_or(first_look, |next| next.min(first_look)));
    }

    pub(super) fn remove_host(&mut self, serial: u32) {
        let Some(host) = self.hosts.get(&serial) else { return };
        let addresses = host.addresses.clone();
        let ids: Vec<u64> = host.forwards.iter().map(|place| self.forwards[*place].id).collect();
        drop(self.remove_forwards(&ids));
        let concerned = |flow: &Flow| addresses.contains(&flow.client.ip()) || flow.sides.kind.leads_to(serial);
        let ended: Vec<FlowId> = self.flows.iter().filter(|(_, flow)| concerned(flow)).map(|(id, _)| id).collect();
        ended.into_iter().for_each(|id| self.end_drained(id));
        self.forget_held(serial);
        self.end_echoes_of(&addresses);
        self.forget_asker(serial, &addresses);
        self.drained(&addresses);
        addresses.iter().for_each(|address| self.rules.close(*address));
        if let Some(host) = self.hosts.remove(&serial) {
            self.resolver.zone.remove(&host.name, serial);
            self.admission.give_back(2 * host.waiting.len() + host.stocked());
        }
    }

    /// Ends what a host or guest with these addresses asks for, and forgets its policy.
    pub(super) fn forget_asker(&mut self, serial: u32, addresses: &[IpAddr]) {
        self.end_streams_of(addresses);
        self.end_queries_of(addresses);
        self.resolver.told.forget(serial);
        self.end_refusals_of(addresses);
        self.policies.remove(serial);
    }

    /// Ends what came from a host with these addresses.
    pub(super) fn end_flows_from(&mut self, addresses: &[IpAddr]) {
        self.end_flows_of(|flow: &Flow| addresses.contains(&flow.client.ip()));
        self.end_echoes_of(addresses);
    }

    /// Looks at the host's listeners in this turn.
    pub(super) fn look_soon(&mut self, serial: u32) {
        if let Some(host) = self.hosts.get_mut(&serial) {
            host.look_at = self.now;
            host.in_use = None;
            self.next_look = Some(self.now);
        }
    }

    /// As [`Plane::look_soon`], and often for a while.
    pub(super) fn look_eagerly(&mut self, serial: u32) {
        if let Some(host) = self.hosts.get_mut(&serial) {
            host.eager_until = self.now + EAGER_FOR;
        }
        self.look_soon(serial);
    }

    /// Looks at those hosts whose time has come, if their counts have changed.
    pub(super) fn look_at_hosts(&mut self) {
        let now = self.now;
        if self.next_look.is_none_or(|at| at > now) {
            return;
        }
        let mut changed = Vec::new();
        for (serial, host) in self.hosts.iter_mut().filter(|(_, host)| host.look_at <= now + TOGETHER) {
            if host.may_have_changed(now) {
                changed.push(*serial);
            }
            host.plan_glance(now);
        }
        changed.into_iter().for_each(|serial| self.look(serial));
        self.next_look = self.hosts.values().map(|host| host.look_at).min();
    }

    /// The TCP ports on which services of a host listen.
    pub(super) fn listening(&mut self, serial: u32) -> Vec<u16> {
        self.look(serial);
        let Some(host) = self.hosts.get(&serial) else { return Vec::new() };
        let tcp = |(transport, port)| (transport == Transport::Tcp).then_some(port);
        host.services.reachable(&host.addresses).filter_map(tcp).collect()
    }

    /// Looks at what listens in a host now, and opens and closes forwards accordingly.
    pub(super) fn look(&mut self, serial: u32) {
        let Some(host) = self.hosts.get_mut(&serial) else { return };
        match host.look(self.now) {
            Ok(services) if services != host.services => {
                host.services = services;
                host.eager_until = self.now + EAGER_FOR;
                let ports = host.services.reachable(&host.addresses).collect();
                let services = host.services.clone();
                self.follow_services(serial);
                // It fails when the engine is just ending.
                let _ = self.services.send(ServicesChanged { host: serial, ports, services });
            }
            // One that could not follow its service is tried again.
            Ok(_)
                if host.forwards.iter().any(|place| self.forwards.get(*place).is_some_and(|forward| forward.stuck)) =>
            {
                self.follow_services(serial);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, host = host.name, "can't read the host's socket table"),
        }
    }

    /// Opens and closes the host's forwards as its services demand.
    pub(super) fn follow_services(&mut self, serial: u32) {
        let Some(host) = self.hosts.get(&serial) else { return };
        let mut families = [false; 2];
        let (mut opened, mut closed) = (Vec::new(), Vec::new());
        for place in &host.forwards {
            let Some(forward) = self.forwards.get_mut(*place) else { continue };
            let was_open = forward.service.is_some();
            forward.follow(*place, &host.services, &host.addresses, &self.poller);
            match (was_open, forward.service.is_some()) {
                (false, true) => opened.push(*place),
                (true, false) => closed.push(*place),
                _ => {}
            }
            if let Some(service) = forward.service.filter(|_| forward.socket.transport() == Transport::Tcp) {
                families[usize::from(service.is_ipv6())] = true;
            }
        }
        for (family, wanted) in [Family::V4, Family::V6].into_iter().zip(families) {
            if wanted {
                self.order(serial, InsideSocket::TransparentStream, family);
            }
        }
        self.tell_of_forwards(serial, &opened, Happening::ForwardsOpened);
        self.tell_of_forwards(serial, &closed, Happening::ForwardsClosed);
    }

    /// Takes the announcements of sockets that have ended in a host.
    pub(super) fn host_events(&mut self, serial: u32) {
        let Some(host) = self.hosts.get_mut(&serial) else { return };
        let PlaneHost { sockets, services, .. } = host;
        let mut ended = false;
        let result = sockets.events(|socket| ended |= listener(socket).is_some_and(|end| services.includes(&end)));
        if let Err(EventsError::Io(error)) = &result {
            tracing::warn!(%error, host = host.name, "can't read the events of the host's sockets");
        }
        // Another socket may be bound alike, or have taken the place already; and lost events may have told of any.
        if ended || result.is_err() {
            self.look_soon(serial);
        }
    }

    /// A socket inside the host. Orders more when few are left; `None` when there is none now.
    pub(super) fn inside_socket(&mut self, serial: u32, kind: InsideSocket, family: Family) -> Option<OwnedFd> {
        let stock = self.hosts.get_mut(&serial)?.stock(kind, family);
        let socket = stock.take(self.now);
        let low = stock.sockets.len() * 2 <= stock.batch;
        self.admission.give_back(usize::from(socket.is_some()));
        if low {
            self.order(serial, kind, family);
        }
        socket
    }

    /// Orders sockets unless enough are there or on their way.
    fn order(&mut self, serial: u32, kind: InsideSocket, family: Family) {
        let Some(host) = self.hosts.get_mut(&serial) else { return };
        let name = host.name.clone();
        let stock = host.stock(kind, family);
        if !stock.ordered && stock.sockets.len() < stock.batch {
            // One at least, for who waits for it and was admitted.
            let count = stock.batch.min(self.admission.left()).max(1);
            stock.ordered = self.orders.send(Order { host: serial, name, kind, family, count }).is_ok();
        }
    }

    pub(super) fn take_supply(&mut self, supply: Supply) {
        let Some(host) = self.hosts.get_mut(&supply.host) else { return };
        let failed = supply.sockets.is_empty();
        let stock = host.stock(supply.kind, supply.family);
        stock.ordered = false;
        self.admission.record(supply.sockets.len());
        stock.sockets.extend(supply.sockets);
        match supply.kind {
            InsideSocket::TransparentStream | InsideSocket::Stream | InsideSocket::Plain => {
                self.serve_waiting_clients(supply.host, failed);
            }
            InsideSocket::Datagram => self.serve_waiting_datagrams(supply.host, failed),
        }
    }
}
