//! Forwards: held ports of the machine that lead to services of hosts.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use minato_host::sockets::{self, Cutting, Local, Train};
use minato_inspect::Happening;
use minato_ports::Transport;
use minato_relay::{FlowId, Services};

use super::command::{ForwardStatus, GivenBack, HeldForward, HeldSocket};
use super::poller::Poller;
use super::token::Token;
use super::{Flow, Kind, Plane};

/// Connections that may wait for our accept; the kernel's `net.core.somaxconn` bounds it further.
const BACKLOG: u32 = 4096;
/// How long nothing is accepted after the kernel ran out of descriptors or memory, or sockets inside the host were to be waited for.
const STALL: Duration = Duration::from_millis(50);

/// One forward.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) id: u64,
    pub(super) address: SocketAddr,
    /// Serial number of the host.
    pub(super) host: u32,
    pub(super) service_port: u16,
    pub(super) socket: HeldSocket,
    /// Programs may take its clients' own connections over.
    pub(super) direct: bool,
    /// Its events are reported.
    watched: bool,
    /// It could not follow its service at the last look, which was told.
    pub(super) stuck: bool,
    /// Where the service is reached; `None` while it does not listen.
    pub(super) service: Option<SocketAddr>,
    /// The service listens, but only in the family that this forward's clients are not of.
    other_family: bool,
    /// Connections, or clients, so far.
    pub(super) connections: u64,
    /// UDP clients with a flow now.
    pub(super) clients: usize,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Forward {
    /// One to a service of a host, before anything came through it.
    fn new(host: u32, direct: bool, held: HeldForward) -> Forward {
        let HeldForward { id, address, service_port, socket } = held;
        Forward {
            id,
            address,
            host,
            service_port,
            socket,
            direct,
            watched: false,
            stuck: false,
            service: None,
            other_family: false,
            connections: 0,
            clients: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Sends a service's datagrams to the client that it answers, from the address that the client spoke to.
    pub(super) fn answer(&mut self, local: Option<Local>, client: SocketAddr, train: Train<'_>, cutting: &mut Cutting) {
        if let HeldSocket::Udp(socket) = &self.socket {
            self.bytes_out += train.payload.len() as u64;
            let _ = sockets::send_train_from(socket.as_fd(), local, client, train, cutting);
        }
    }

    /// Where the service is, among `services` of a host with the addresses `own`. Clients that come over the machine's
    /// loopback appear as the gateway, which has an address in both families: so they reach a service of either.
    fn find(&self, services: &Services, own: &[IpAddr]) -> Option<SocketAddr> {
        let v4 = self.address.is_ipv4();
        let other = || self.address.ip().is_loopback().then(|| self.in_family(!v4, services, own)).flatten();
        self.in_family(v4, services, own).or_else(other)
    }

    /// Where the service is for clients of one family.
    fn in_family(&self, v4: bool, services: &Services, own: &[IpAddr]) -> Option<SocketAddr> {
        let reach = services.reach(self.socket.transport(), self.service_port, v4, own)?;
        Some(SocketAddr::new(Services::address(reach, v4, own), self.service_port))
    }

    /// Listens if and only if the service does. `place` is this forward's own.
    pub(super) fn follow(&mut self, place: usize, services: &Services, own: &[IpAddr], poller: &Poller) {
        let service = self.find(services, own);
        let is_other = || self.in_family(!self.address.is_ipv4(), services, own).is_some();
        self.other_family = service.is_none() && is_other();
        if service.is_some() != self.service.is_some() {
            let result = if service.is_some() { self.open(place, poller) } else { self.close() };
            let was_stuck = std::mem::replace(&mut self.stuck, result.is_err());
            if let Err(error) = result {
                if !was_stuck {
                    tracing::warn!(%error, address = %self.address, "can't make the forward follow its service");
                }
                return;
            }
        }
        self.service = service;
    }

    /// Takes clients from now on. Nobody is let in whom no event would tell of.
    fn open(&mut self, place: usize, poller: &Poller) -> io::Result<()> {
        if let HeldSocket::Tcp(port) = &self.socket {
            if self.direct { port.listen_plainly(BACKLOG) } else { port.listen(BACKLOG) }?;
        }
        self.watch(place, poller).inspect_err(|_| {
            // It has just begun.
            let _ = self.close();
        })
    }

    fn close(&self) -> io::Result<()> {
        match &self.socket {
            HeldSocket::Tcp(port) => port.unlisten(),
            HeldSocket::Udp(_) => Ok(()),
        }
    }

    /// Lets the events of this forward, which is at `place`, be reported.
    fn watch(&mut self, place: usize, poller: &Poller) -> io::Result<()> {
        if self.watched {
            return Ok(());
        }
        let token = Token::Forward(place, self.id as u32);
        match &self.socket {
            HeldSocket::Tcp(port) => poller.add(port, token),
            HeldSocket::Udp(socket) => poller.add(socket, token),
        }?;
        self.watched = true;
        Ok(())
    }
}

impl Plane {
    /// Puts forwards in force. Without their host, which has just been removed, their ports are given back.
    pub(super) fn add_forwards(&mut self, host: u32, held: Vec<HeldForward>) {
        let Some(direct) = self.hosts.get(&host).map(|host| host.direct) else { return };
        self.admission.record(held.len());
        let mut added = Vec::with_capacity(held.len());
        for held in held {
            added.push(self.forwards.insert(Forward::new(host, direct, held)));
        }
        // A TCP port has no events before it listens.
        for place in &added {
            let forward = &mut self.forwards[*place];
            if forward.socket.transport() == Transport::Udp
                && let Err(error) = forward.watch(*place, &self.poller)
            {
                tracing::warn!(%error, address = %forward.address, "the forward can't be watched yet");
            }
        }
        if let Some(host) = self.hosts.get_mut(&host) {
            host.forwards.extend(&added);
            host.forwards.sort_by_key(|place| self.forwards[*place].service_port);
        }
        self.tell_of_forwards(host, &added, Happening::ForwardsAdded);
        // Services that are known already are no news that a look would bring.
        self.follow_services(host);
        // Unless they are all open now, something is still to come.
        if added.iter().any(|place| self.forwards[*place].service.is_none()) {
            self.look_eagerly(host);
        }
    }

    /// Removes forwards, all of one host.
    pub(super) fn remove_forwards(&mut self, ids: &[u64]) -> GivenBack {
        let concerned: std::collections::HashSet<u64> = ids.iter().copied().collect();
        self.end_flows_of(|flow| flow.forward.is_some_and(|id| concerned.contains(&id)));
        self.end_held_of(&concerned);
        self.give_forwards_back(ids)
    }

    /// Frees the ports of forwards. Streams through them go on; datagrams would need the forward's own socket.
    pub(super) fn release_forwards(&mut self, ids: &[u64]) -> GivenBack {
        self.relay_held_of(ids);
        let concerned: std::collections::HashSet<u64> = ids.iter().copied().collect();
        let through = |flow: &Flow| flow.forward.is_some_and(|id| concerned.contains(&id));
        self.end_flows_of(|flow| matches!(flow.sides.kind, Kind::Forwarded(_)) && through(flow));
        self.detach_streams(through);
        self.give_forwards_back(ids)
    }

    /// Lets these streams go on without their forward.
    pub(super) fn detach_streams(&mut self, concerned: impl Fn(&Flow) -> bool) {
        let streams: Vec<FlowId> = self.flows.iter().filter(|(_, flow)| concerned(flow)).map(|(id, _)| id).collect();
        for id in streams {
            if let Some(flow) = self.flows.find_mut(id)
                && let Kind::Spliced(sides) = &mut flow.sides.kind
            {
                sides.forward = None;
            }
        }
    }

    /// Ends forwards that no flow needs any more.
    pub(super) fn give_forwards_back(&mut self, ids: &[u64]) -> GivenBack {
        let ids: std::collections::HashSet<u64> = ids.iter().copied().collect();
        let places: Vec<usize> =
            self.forwards.iter().filter(|(_, forward)| ids.contains(&forward.id)).map(|(place, _)| place).collect();
        if let Some(first) = places.first().and_then(|place| self.forwards.get(*place)) {
            self.tell_of_forwards(first.host, &places, Happening::ForwardsRemoved);
        }
        let removed: std::collections::HashSet<usize> = places.iter().copied().collect();
        for host in self.hosts.values_mut() {
            host.forwards.retain(|place| !removed.contains(place));
        }
        self.admission.give_back(places.len());
        places.into_iter().map(|place| self.forwards.remove(place).socket).collect()
    }

    pub(super) fn forward_ready(&mut self, place: usize, serial: u32) {
        let Some(forward) = self.forwards.get(place).filter(|forward| forward.id as u32 == serial) else { return };
        let more = match forward.socket.transport() {
            Transport::Tcp => self.accept_clients(place),
            Transport::Udp => self.take_client_datagrams(place),
        };
        match more {
            More::No => {}
            More::Now => {
                self.again.insert(Token::Forward(place, serial));
            }
            More::Later => {
                self.stalled.insert(Token::Forward(place, serial));
                self.stalled_until.get_or_insert(self.now + STALL);
            }
        }
    }

    pub(super) fn forward_statuses(&mut self) -> Vec<ForwardStatus> {
        self.count_taken();
        self.forwards
            .iter()
            .map(|(_, forward)| ForwardStatus {
                id: forward.id,
                open: forward.service.is_some(),
                other_family: forward.other_family,
                connections: forward.connections,
                bytes_in: forward.bytes_in,
                bytes_out: forward.bytes_out,
            })
            .collect()
    }
}

/// Whether a forward's socket has more to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    /// Not before its next event.
    No,
    /// Yes, in the next turn.
    Now,
    /// Maybe, but something is short: in the kernel, or sockets inside the host.
    Later,
}

impl Kind {
    /// Whether this flow's service is in the host with this serial number.
    pub(super) fn leads_to(&self, host: u32) -> bool {
        self.origin().is_some_and(|origin| origin.host == host)
    }
}

#[cfg(test)]
mod tests;
