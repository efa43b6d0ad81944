//! The packet loop's part in connections that a program takes over: it holds the client's own until the program accepts,
//! and relays it when that does not happen.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use minato_host::direct::HeldClient;

use super::super::Plane;
use super::super::hosts::{Entrance, WaitingClient};
use super::super::sides::Origin;
use super::held::{HeldClients, Inside, Relayed};

impl Plane {
    pub(in super::super) fn held_clients(&self) -> &HeldClients {
        self.commands.held()
    }

    /// Holds a client whose connection inside is about to be made. One that is to be relayed comes back: it did not come
    /// through a forward, nobody asks for it, or the service must not see its real address.
    pub(super) fn hold(&mut self, client: WaitingClient, origin: &Origin) -> Result<Inside, WaitingClient> {
        let WaitingClient { entrance: Entrance::Forward(id, place), socket, address } = client else {
            return Err(client);
        };
        let back = |socket: OwnedFd| WaitingClient { entrance: Entrance::Forward(id, place), socket, address };
        let forward = self.forwards.get(place).filter(|forward| forward.direct);
        let as_it_is = origin.seen_as == address && !origin.service.ip().is_unspecified();
        let Some(forward) = forward.filter(|_| as_it_is) else { return Err(back(socket)) };
        let client =
            HeldClient { socket, address, service: origin.service, forward: id, place, entrance: forward.address };
        let ends = Inside::of(origin.host, &client);
        match self.held_clients().hold(self.now, ends, client) {
            Ok(until) => {
                self.held_until.get_or_insert(until);
                self.count_taken();
                Ok(ends)
            }
            Err(client) => Err(back(client.socket)),
        }
    }

    /// A client that was held, and can't be connected.
    pub(super) fn held_back(&mut self, ends: &Inside) -> Option<WaitingClient> {
        Some(waiting(self.held_clients().failed(ends)?))
    }

    /// Counts those that were taken, and what they do not need any more.
    pub(in super::super) fn count_taken(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        self.held_clients().taken(&mut taken);
        self.admission.give_back(2 * taken.len());
        for (id, place) in taken.drain(..) {
            if let Some(forward) = self.forwards.get_mut(place).filter(|forward| forward.id == id) {
                forward.connections += 1;
            }
        }
        self.taken = taken;
    }

    /// Relays those whose time has come.
    pub(in super::super) fn look_at_held(&mut self) {
        if self.held_until.is_some_and(|until| until <= self.now) {
            self.relay_held();
        }
    }

    /// The same, and those that somebody wants relayed.
    pub(in super::super) fn relay_held(&mut self) {
        self.count_taken();
        let (due, next) = self.held_clients().due(self.now);
        self.held_until = next;
        for Relayed { host, client, inside } in due {
            if self.forwards.get(client.place).is_none_or(|forward| forward.id != client.forward) {
                self.turn_away(waiting(client));
                continue;
            }
            let origin = Origin { seen_as: client.address, service: client.service, allocated: None, host };
            self.splice(waiting(client), inside, origin);
        }
    }

    /// Relays the clients of forwards that are held.
    pub(in super::super) fn relay_held_of(&mut self, forwards: &[u64]) {
        self.held_clients().hurry(&forwards.iter().copied().collect::<HashSet<u64>>());
        self.relay_held();
    }

    /// Ends the connections of clients of forwards that are held.
    pub(in super::super) fn end_held_of(&mut self, forwards: &HashSet<u64>) {
        for client in self.held_clients().of_forwards(forwards) {
            self.turn_away(waiting(client));
        }
    }

    /// Ends what is held for a host that is removed.
    pub(in super::super) fn forget_held(&mut self, host: u32) {
        for client in self.held_clients().forget_host(host) {
            self.turn_away(waiting(client));
        }
    }

    /// A program could not take a client, whose connection inside is gone.
    pub(in super::super) fn connect_again(&mut self, client: HeldClient) {
        self.connect_inside(waiting(client));
    }
}

fn waiting(client: HeldClient) -> WaitingClient {
    let HeldClient { socket, address, forward, place, .. } = client;
    WaitingClient { entrance: Entrance::Forward(forward, place), socket, address }
}
