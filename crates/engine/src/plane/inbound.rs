//! TCP from outside, through a forward or the API: the client's connection and one made inside the host, which has the client's
//! address, joined by splice(2) where there is much to move.

pub(super) mod held;
mod hold;

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use minato_host::Family;
use minato_host::agent::InsideSocket;
use minato_host::sockets::{self, Accepted, Failure};
use minato_ports::{EphemeralAllocator, Transport};
use minato_relay::{FlowId, Operation, Services, Side, Splice, Verdict};
use std::time::Duration;

use super::command::{Dialed, HeldSocket};
use super::forwards::More;
use super::hosts::{Entrance, WaitingClient};
use super::lanes::{Lane, Lanes};
use super::sides::{Kind, Origin, Sides, SplicedSides};
use super::token::Token;
use super::{BUDGET, Plane};

/// Most connections accepted from one forward in one turn.
const ACCEPTS: usize = 64;
/// Most connections of one host that wait for a socket inside it. The ones after that wait where they are, which is the
/// forward's accept queue; those that are nowhere else, from the API, are reset.
const MAX_WAITING: usize = 1024;
/// How often another port is tried for a client that appears as the gateway.
const TRIES: usize = 8;
/// How long a gateway port is not used again towards the same service. The host's kernel holds its 4-tuple in
/// TIME-WAIT for longer, but takes a new connection after a second (RFC 6191).
const REUSE: Duration = Duration::from_millis(1100);

impl Plane {
    pub(super) fn accept_clients(&mut self, place: usize) -> More {
        for _ in 0..ACCEPTS {
            let Some(forward) = self.forwards.get(place) else { return More::No };
            let HeldSocket::Tcp(port) = &forward.socket else { return More::No };
            if self.hosts.get(&forward.host).is_some_and(|host| host.waiting.len() >= MAX_WAITING) {
                return More::Later;
            }
            match port.accept() {
                Ok(Accepted::Connection(socket, address)) => {
                    let entrance = Entrance::Forward(forward.id, place);
                    self.accepted(WaitingClient { entrance, socket, address });
                }
                Ok(Accepted::Gone) => {}
                Ok(Accepted::None) => return More::No,
                Err(error) => {
                    tracing::warn!(%error, "can't accept connections");
                    return More::Later;
                }
            }
        }
        More::Now
    }

    fn accepted(&mut self, client: WaitingClient) {
        if !self.admit(2) {
            self.admission.complain(self.now, "a connection to a service");
            return sockets::reset(client.socket);
        }
        self.connect_inside(client);
    }

    /// Takes a stream that came through the API.
    pub(super) fn dial(&mut self, dialed: Dialed) {
        let Dialed { host, port, socket, client: address } = dialed;
        self.accepted(WaitingClient { entrance: Entrance::Dial(host, port), socket, address });
    }

    /// The host and the service that a client wants; `None` when it is not there (any more).
    fn destination(&self, entrance: Entrance) -> Option<(u32, SocketAddr)> {
        match entrance {
            Entrance::Forward(id, place) => {
                let forward = self.forwards.get(place).filter(|forward| forward.id == id)?;
                Some((forward.host, forward.service?))
            }
            Entrance::Dial(serial, port) => {
                let host = self.hosts.get(&serial)?;
                let own = &host.addresses;
                let at = |v4| {
                    let reach = host.services.reach(Transport::Tcp, port, v4, own)?;
                    Some(SocketAddr::new(Services::address(reach, v4, own), port))
                };
                Some((serial, at(true).or_else(|| at(false))?))
            }
        }
    }

    /// Connects a client, for which two descriptors are admitted, to its service; or lets it wait for a socket.
    fn connect_inside(&mut self, mut client: WaitingClient) {
        let Some((host, service)) = self.destination(client.entrance) else { return self.turn_away(client) };
        // Who comes through the API says itself who it is.
        let mut seen_as = matches!(client.entrance, Entrance::Forward(..)).then_some(client.address);
        for _ in 0..TRIES {
            let family = Family::of(service.ip());
            let Some(inside) = self.inside_socket(host, InsideSocket::TransparentStream, family) else {
                return self.wait_for_socket(host, client);
            };
            let Some(origin) = self.tcp_origin(host, seen_as, service) else { return self.turn_away(client) };
            let failure = match self.try_to_connect(client, inside, &origin) {
                Ok(()) => return,
                Err((failure, back)) => {
                    client = back;
                    failure
                }
            };
            hold(&mut self.ephemeral_tcp, &origin, self.now);
            // That 4-tuple is in use inside the host, or the port by a program that shares it with nobody: the client
            // appears as the gateway, which has other ports.
            if failure == Failure::NoPort {
                seen_as = None;
                continue;
            }
            tracing::debug!(?failure, %service, client = %client.address, "can't connect to the service");
            self.look_soon(host);
            return self.turn_away(client);
        }
        self.turn_away(client);
    }

    /// Connects a client, and relays or holds it. It comes back if that fails.
    fn try_to_connect(
        &mut self,
        client: WaitingClient,
        inside: OwnedFd,
        origin: &Origin,
    ) -> Result<(), (Failure, WaitingClient)> {
        // Over the host's loopback it is connected at once, and the program may be faster than we.
        let held = self.hold(client, origin);
        match (sockets::bind_and_connect(inside.as_fd(), origin.seen_as, origin.service), held) {
            (Ok(()), Ok(ends)) => self.held_clients().connected(&ends, inside),
            (Ok(()), Err(client)) => self.splice(client, inside, *origin),
            (Err(failure), Ok(ends)) => {
                if let Some(client) = self.held_back(&ends) {
                    return Err((failure, client));
                }
            }
            (Err(failure), Err(client)) => return Err((failure, client)),
        }
        Ok(())
    }

    fn wait_for_socket(&mut self, host: u32, client: WaitingClient) {
        match self.hosts.get_mut(&host) {
            Some(host) if host.waiting.len() < MAX_WAITING => host.waiting.push_back(client),
            Some(_) | None => self.turn_away(client),
        }
    }

    /// Resets a connection that can't be served and gives its two descriptors back.
    pub(super) fn turn_away(&mut self, client: WaitingClient) {
        self.admission.give_back(2);
        sockets::reset(client.socket);
    }

    pub(super) fn serve_waiting_clients(&mut self, host: u32, failed: bool) {
        let Some(waiting) = self.hosts.get_mut(&host).map(|host| std::mem::take(&mut host.waiting)) else { return };
        for client in waiting {
            if failed { self.turn_away(client) } else { self.connect_inside(client) }
        }
    }

    /// Where a TCP client seems to come from, which is its own address if it has one inside; `None` when no port is left.
    fn tcp_origin(&mut self, host: u32, client: Option<SocketAddr>, service: SocketAddr) -> Option<Origin> {
        if let Some(seen_as) = client.filter(|client| self.has_address_inside(*client, service)) {
            return Some(Origin { seen_as, service, allocated: None, host });
        }
        let gateway = self.rules.network().gateway_like(service.ip());
        let random = random();
        let port = match self.ephemeral_tcp.allocate(service, random) {
            Ok(port) => port,
            Err(error) => {
                tracing::warn!(%error, "reset a connection: no ephemeral port is left");
                return None;
            }
        };
        Some(Origin { seen_as: (gateway, port.value()).into(), service, allocated: Some(port), host })
    }

    /// Whether a client can be addressed from inside a host as it is: not when it comes over the machine's loopback or
    /// from a link that the host is not on, or when it speaks another family than its service.
    pub(super) fn has_address_inside(&self, client: SocketAddr, service: SocketAddr) -> bool {
        let address = client.ip();
        let link_local = match address {
            std::net::IpAddr::V4(address) => address.is_link_local(),
            std::net::IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        let elsewhere = !address.is_loopback() && !link_local && !self.rules.network().contains(address);
        elsewhere && address.is_ipv4() == service.is_ipv4()
    }

    fn splice(&mut self, client: WaitingClient, inside: OwnedFd, origin: Origin) {
        let WaitingClient { entrance, socket, address } = client;
        let (forward, place) = match entrance {
            Entrance::Forward(id, place) => (Some(id), Some(place)),
            Entrance::Dial(..) => (None, None),
        };
        if place.and_then(|place| self.forwards.get(place)).is_some_and(|forward| forward.direct) {
            // One that is gone is found so when it is read.
            let _ = sockets::prepare_accepted(socket.as_fd());
        }
        let sides = SplicedSides {
            forward: place,
            client: socket,
            service: inside,
            splice: Splice::connecting(),
            lanes: Default::default(),
            origin,
        };
        let sides = Sides { queued: false, dying: false, kind: Kind::Spliced(Box::new(sides)) };
        let Ok(id) = self.flows.insert(self.now, Transport::Tcp, address, origin.service, sides) else {
            hold(&mut self.ephemeral_tcp, &origin, self.now);
            return self.admission.give_back(2);
        };
        let Some(flow) = self.flows.find_mut(id) else { return };
        flow.forward = forward;
        let _ = flow.apply(Operation::Establish);
        if let Some(forward) = place.and_then(|place| self.forwards.get_mut(place)) {
            forward.connections += 1;
        }
        let Kind::Spliced(sides) = &flow.sides.kind else { return };
        let registered = self
            .poller
            .add(sides.client.as_fd(), Token::Flow(id, Side::Initiating))
            .and_then(|()| self.poller.add(sides.service.as_fd(), Token::Flow(id, Side::Target)));
        self.tell_of_start(id);
        match registered {
            Ok(()) => self.enqueue(id),
            Err(_) => self.abort_flow(id),
        }
    }

    pub(super) fn pump_spliced(&mut self, id: FlowId) {
        let Some(flow) = self.flows.find_mut(id) else { return };
        let Kind::Spliced(sides) = &mut flow.sides.kind else { return };
        let SplicedSides { forward, client, service, splice, lanes, .. } = &mut **sides;
        let sockets = [client.as_fd(), service.as_fd()];
        self.pipes.limit_descriptors(self.admission.room_for_pipes());
        let mut pipeline = Lanes::new(sockets, lanes, &mut self.pipes, &mut self.buffer);
        let spliced = splice.pump(&mut pipeline, BUDGET);
        self.admission.set_pipes(self.pipes.descriptors());
        let dying = splice.is_dying();
        flow.last_used = self.now;
        flow.counters.to_target += spliced.to_target as u64;
        flow.counters.to_initiating += spliced.to_initiating as u64;
        if let Some(forward) = forward.and_then(|place| self.forwards.get_mut(place)) {
            forward.bytes_in += spliced.to_target as u64;
            forward.bytes_out += spliced.to_initiating as u64;
        }
        for side in spliced.ended.into_iter().flatten() {
            let _ = flow.apply(Operation::End(side));
        }
        match spliced.verdict {
            Verdict::Wait => {}
            Verdict::Again => self.enqueue(id),
            Verdict::Finished => self.remove_flow(id),
            Verdict::Reset => return self.reset_flow(id),
        }
        if dying {
            self.flow_is_dying(id);
        }
    }

    pub(super) fn spliced_removed(&mut self, sides: SplicedSides) {
        hold(&mut self.ephemeral_tcp, &sides.origin, self.now);
        sides.lanes.into_iter().filter_map(Lane::into_pipe).for_each(|pipe| self.pipes.give(pipe));
        self.admission.set_pipes(self.pipes.descriptors());
    }
}

/// Holds a gateway port back after its use.
fn hold(allocator: &mut EphemeralAllocator, origin: &Origin, now: std::time::Instant) {
    if let Some(port) = origin.allocated {
        allocator.hold(origin.service, port, now + REUSE);
    }
}

/// A number that nobody can predict.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    // Once the system is up, as it is here, the kernel always has random bytes to give.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}
