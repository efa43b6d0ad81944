//! UDP from outside through a forward: over the TAP device with the client's own address, so that the service can
//! answer it, or through a socket inside the host where the service is bound to its loopback only.
//!
//! While the service is not bound, datagrams are passed on all the same and the host's kernel drops them: a bound UDP
//! socket of the machine can't make it answer "port unreachable".

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use minato_host::Family;
use minato_host::agent::InsideSocket;
use minato_host::sockets::{self, Arrived, Cutting, Inbox, Train};
use minato_ports::{EphemeralAllocator, Transport};
use minato_relay::{FlowId, Operation, Side};

use super::Plane;
use super::command::HeldSocket;
use super::datagrams::{Idle, make_room};
use super::forwards::More;
use super::hosts::WaitingDatagrams;
use super::inbound::random;
use super::shares::MAX_CLIENTS;
use super::sides::{ForwardedSides, Kind, Origin, Sides};
use super::token::Token;

/// Most messages of one host that wait for a socket inside it.
const MAX_WAITING: usize = 64;

impl Plane {
    pub(super) fn take_client_datagrams(&mut self, place: usize) -> More {
        self.spare.used(self.now);
        self.with_inbox(|plane, inbox| plane.receive_from_clients(place, inbox))
    }

    fn receive_from_clients(&mut self, place: usize, inbox: &mut Inbox) -> More {
        let Some(forward) = self.forwards.get(place) else { return More::No };
        let HeldSocket::Udp(socket) = &forward.socket else { return More::No };
        let received = inbox.receive(socket.as_fd());
        for arrived in inbox.messages() {
            self.client_datagrams(place, &arrived);
        }
        match received {
            Ok(true) => More::Now,
            Ok(false) => More::No,
            // Short of memory, or the error of a datagram that was sent. There may be more to take.
            Err(_) => More::Later,
        }
    }

    /// Passes on what a client has sent.
    fn client_datagrams(&mut self, place: usize, arrived: &Arrived<'_>) {
        let Arrived { train, sender: client, local } = *arrived;
        let length = train.payload.len() as u64;
        let Some(forward) = self.forwards.get(place) else { return };
        let (forward_id, service) = (forward.id, forward.service);
        let mut known = self.datagrams.by_client.get(&(forward_id, client)).copied();
        // The service was bound again elsewhere, or was not bound when the flow began: the client begins anew.
        if let Some(id) = known.filter(|id| service.is_some_and(|service| self.leads_elsewhere(*id, service))) {
            self.remove_flow(id);
            known = None;
        }
        let Some(id) = known.or_else(|| self.new_client(place, arrived)) else { return };
        let Some(flow) = self.flows.find_mut(id) else { return };
        let Kind::Forwarded(sides) = &mut flow.sides.kind else { return };
        sides.local = local;
        flow.last_used = self.now;
        flow.counters.to_target += length;
        if let Some(forward) = self.forwards.get_mut(place) {
            forward.bytes_in += length;
        }
        // As any router does, drop what there is no room for, or nobody to take it.
        if let Some(socket) = &sides.inside {
            let _ = sockets::udp_send_train(socket.as_fd(), train, &mut sides.cutting_inside);
            return;
        }
        for payload in train.datagrams() {
            let _ = self.stack.send_datagram(self.now, sides.origin.seen_as, sides.origin.service, payload);
        }
    }

    fn leads_elsewhere(&self, id: FlowId, service: SocketAddr) -> bool {
        let origin = self.flows.find(id).and_then(|flow| flow.sides.kind.origin());
        origin.is_some_and(|origin| origin.service != service)
    }

    /// Makes a flow for a client that was not heard of before. `None`: its datagram waits, or is lost.
    fn new_client(&mut self, place: usize, arrived: &Arrived<'_>) -> Option<FlowId> {
        let Arrived { train, sender: client, local } = *arrived;
        let forward = self.forwards.get(place)?;
        let (forward_id, host, port) = (forward.id, forward.host, forward.service_port);
        if forward.clients >= MAX_CLIENTS {
            self.evict(|flow| flow.forward == Some(forward_id));
        }
        let own = &self.hosts.get(&host)?.addresses;
        let likely = own.iter().copied().find(|address| address.is_ipv4() == client.is_ipv4());
        let service = self.forwards.get(place)?.service.or_else(|| likely.map(|address| (address, port).into()))?;
        if !service.ip().is_loopback() {
            let origin = self.udp_origin(host, client, service)?;
            return self.open_forwarded(place, forward_id, client, origin, None);
        }
        let Some(inside) = self.inside_socket(host, InsideSocket::Datagram, Family::of(service.ip())) else {
            let waiting = &mut self.hosts.get_mut(&host)?.waiting_datagrams;
            if waiting.len() < MAX_WAITING {
                let (payload, size) = (train.payload.to_vec(), train.size);
                waiting.push_back(WaitingDatagrams { forward: forward_id, place, client, local, payload, size });
            }
            return None;
        };
        rustix::net::connect(&inside, &service).ok()?;
        let own = rustix::net::getsockname(&inside).ok()?;
        let origin = Origin { seen_as: own.try_into().ok()?, service, allocated: None, host };
        self.open_forwarded(place, forward_id, client, origin, Some(inside))
    }

    fn open_forwarded(
        &mut self,
        place: usize,
        forward: u64,
        client: SocketAddr,
        origin: Origin,
        inside: Option<OwnedFd>,
    ) -> Option<FlowId> {
        let kind = Kind::Forwarded(ForwardedSides {
            forward: place,
            origin,
            inside,
            cutting_inside: Cutting::default(),
            cutting: Cutting::default(),
            local: None,
        });
        let descriptors = kind.descriptors();
        if !self.admit(descriptors) {
            self.admission.complain(self.now, "a datagram to a forward");
            release(&mut self.ephemeral_udp, &origin);
            return None;
        }
        let sides = Sides { queued: false, dying: false, kind };
        let Ok(id) = self.flows.insert(self.now, Transport::Udp, client, origin.service, sides) else {
            self.admission.give_back(descriptors);
            release(&mut self.ephemeral_udp, &origin);
            return None;
        };
        if let Some(forward) = self.forwards.get_mut(place) {
            forward.connections += 1;
            forward.clients += 1;
        }
        let flow = self.flows.find_mut(id)?;
        flow.forward = Some(forward);
        let _ = flow.apply(Operation::Establish);
        self.datagrams.by_client.insert((forward, client), id);
        // Who is outside has the client's port, whatever the service's is.
        self.datagrams.expire_later(self.now, id, Idle::Long, &self.flows);
        let flow = self.flows.find(id)?;
        let Kind::Forwarded(sides) = &flow.sides.kind else { return None };
        let watched = match &sides.inside {
            Some(socket) => self.poller.add(socket.as_fd(), Token::Flow(id, Side::Target)).is_ok(),
            None => {
                self.datagrams.inbound.insert((origin.service, origin.seen_as), id);
                true
            }
        };
        if !watched {
            self.remove_flow(id);
            return None;
        }
        self.tell_of_start(id);
        Some(id)
    }

    /// Where a UDP client seems to come from; `None` when no port is left for it.
    fn udp_origin(&mut self, host: u32, client: SocketAddr, service: SocketAddr) -> Option<Origin> {
        // A client that uses two forwards to one service from one port would be one client for the service.
        let taken = self.datagrams.inbound.contains_key(&(service, client));
        if self.has_address_inside(client, service) && !taken {
            return Some(Origin { seen_as: client, service, allocated: None, host });
        }
        let gateway: IpAddr = self.rules.network().gateway_like(service.ip());
        let port = self.ephemeral_udp.allocate(service, random()).ok()?;
        Some(Origin { seen_as: (gateway, port.value()).into(), service, allocated: Some(port), host })
    }

    /// Takes what a service that is bound to its host's loopback has answered.
    pub(super) fn inside_datagrams_ready(&mut self, id: FlowId) {
        if self.with_inbox(|plane, inbox| plane.receive_from_inside(id, inbox)) {
            self.enqueue(id);
        }
    }

    /// Whether there may be more.
    fn receive_from_inside(&mut self, id: FlowId, inbox: &mut Inbox) -> bool {
        let Some(flow) = self.flows.find_mut(id) else { return false };
        let Kind::Forwarded(sides) = &mut flow.sides.kind else { return false };
        let ForwardedSides { forward, inside: Some(socket), local, cutting, .. } = sides else { return false };
        let received = inbox.receive(socket.as_fd());
        for arrived in inbox.messages() {
            flow.last_used = self.now;
            flow.counters.to_initiating += arrived.train.payload.len() as u64;
            if let Some(forward) = self.forwards.get_mut(*forward) {
                forward.answer(*local, flow.client, arrived.train, cutting);
            }
        }
        // An error is that the service is not bound (any more): what was sent is lost.
        received != Ok(false)
    }

    pub(super) fn serve_waiting_datagrams(&mut self, host: u32, failed: bool) {
        let Some(host) = self.hosts.get_mut(&host) else { return };
        for waiting in std::mem::take(&mut host.waiting_datagrams) {
            let current = self.forwards.get(waiting.place).is_some_and(|forward| forward.id == waiting.forward);
            if current && !failed {
                let train = Train { payload: &waiting.payload, size: waiting.size };
                let arrived = Arrived { train, sender: waiting.client, local: waiting.local };
                self.client_datagrams(waiting.place, &arrived);
            }
        }
    }

    pub(super) fn forwarded_removed(&mut self, sides: &ForwardedSides, forward: Option<u64>, client: SocketAddr) {
        let Origin { seen_as, service, .. } = sides.origin;
        // Flows through a socket inside are not in this index.
        if sides.inside.is_none() {
            self.datagrams.inbound.remove(&(service, seen_as));
        }
        if let Some(id) = forward {
            self.datagrams.by_client.remove(&(id, client));
            if let Some(forward) = self.forwards.get_mut(sides.forward).filter(|forward| forward.id == id) {
                forward.clients -= 1;
            }
        }
        release(&mut self.ephemeral_udp, &sides.origin);
    }
}

/// Gives a gateway port back.
fn release(allocator: &mut EphemeralAllocator, origin: &Origin) {
    if let Some(port) = origin.allocated {
        allocator.release(origin.service, port);
    }
}

/// Makes a socket ready for datagrams of many clients.
pub(crate) fn take_datagrams(socket: &OwnedFd) {
    make_room(socket);
    sockets::take_trains(socket.as_fd());
}
