//! The hosts, as the packet loop knows them, and the sockets made ahead inside them.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use minato_host::Family;
use minato_host::agent::InsideSocket;
use minato_host::sock_diag::{InUse, SockDiag};
use minato_host::sockets::Local;
use minato_relay::{FlowId, Services};
use tokio::sync::oneshot;

use super::command::{HostSetup, Supply};
use super::listening::{EAGER, EAGER_FOR};
use super::{Flow, Plane, Token};

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
    pub(super) sockets: SockDiag,
    /// Its programs hold sockets of the machine.
    pub(super) direct: bool,
    pub(super) services: Services,
    /// Some of them are known by what their programs asked for, and nobody else has been told.
    pub(super) untold: bool,
    /// Places of its forwards, by service port.
    pub(super) forwards: Vec<usize>,
    /// When to glance at it next.
    pub(super) look_at: Instant,
    pub(super) eager_until: Instant,
    /// But not before then.
    pub(super) rests_until: Instant,
    /// The last look at its listeners, and the counts as they were before it.
    pub(super) looked: Instant,
    pub(super) in_use: Option<InUse>,
    /// Who waits for the next look, to be told the TCP ports of its services.
    pub(super) seekers: Vec<oneshot::Sender<Vec<u16>>>,
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
    /// One in which no program runs yet.
    pub(super) fn new(now: Instant, setup: HostSetup) -> PlaneHost {
        let HostSetup { name, addresses, sockets, direct, .. } = setup;
        PlaneHost {
            name,
            addresses,
            sockets,
            direct,
            services: Services::default(),
            untold: false,
            forwards: Vec::new(),
            look_at: now + EAGER,
            eager_until: now + EAGER_FOR,
            rests_until: now,
            looked: now,
            in_use: None,
            seekers: Vec::new(),
            streams: Default::default(),
            datagrams: Default::default(),
            waiting: VecDeque::new(),
            waiting_datagrams: VecDeque::new(),
        }
    }

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
}

impl Plane {
    pub(super) fn add_host(&mut self, mut setup: HostSetup) {
        for address in &setup.addresses {
            self.rules.open(*address, setup.host_ports.iter().copied());
        }
        if let Some(events) = setup.sockets.events_fd()
            && let Err(error) = self.poller.add(events, Token::Host(setup.serial))
        {
            tracing::error!(%error, host = setup.name, "the host's sockets can't be watched");
        }
        self.resolver.zone.add(&setup.name, setup.serial, &setup.addresses);
        self.policies.add(setup.serial, &setup.addresses, setup.egress.take());
        let serial = setup.serial;
        let host = PlaneHost::new(self.now, setup);
        let first_look = host.look_at;
        self.hosts.insert(serial, host);
        self.plan_look(first_look);
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
    pub(super) fn order(&mut self, serial: u32, kind: InsideSocket, family: Family) {
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
