//! Clients of forwards whose connection inside is made, and which are held until their service accepts it: a program that
//! is asked about gets the client's own connection then ([`minato_host::direct`]). The packet loop holds, and whoever
//! serves the programs takes, each in its own thread.
//!
//! Only who is expected to ask is waited for. A port's service is once it listens or accepts, and no more when it has left
//! a client waiting for too long, or when a thread of it waits in the kernel, which then gives it the connection inside.
//! Nor is a service that gets many clients one after the other: their connections are short, and relayed faster than handed
//! over. While nobody is held for a port, nor will be, its threads are left to the kernel, which is faster too.

mod allowance;
mod service;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use minato_host::direct::{Accepting, HeldClient};
use minato_host::sync::lock;

use self::service::Service;

/// How long a client is held. A program that has been woken asks within a fraction of that.
const HOLD: Duration = Duration::from_millis(20);

/// All clients that are held, in all hosts.
#[derive(Debug, Default)]
pub(crate) struct HeldClients(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By host and port. Used at each connection through a forward to a host of which something is known, and at each
    /// `accept(2)`.
    services: HashMap<(u32, u16), Service>,
    clients: HashMap<Inside, Held>,
    /// How many are held, by host and port. Only those of which there are some.
    counts: HashMap<(u32, u16), usize>,
    /// When each is to be relayed, in that order. Those that were taken meanwhile are in it too.
    times: VecDeque<(Instant, Inside)>,
    /// Those that are to be relayed at once.
    urgent: Vec<Inside>,
    /// Through which forwards those came that were taken since the packet loop has asked: ID and place.
    taken: Vec<(u64, usize)>,
}

/// A connection inside a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inside {
    /// Serial number.
    pub(super) host: u32,
    pub(super) client: SocketAddr,
    pub(super) service: SocketAddr,
}

/// A client that is held.
#[derive(Debug)]
struct Held {
    /// The forward.
    forward: u64,
    /// `None` while it is being handed over.
    client: Option<HeldClient>,
    /// Our end of the connection inside; `None` until it is made.
    inside: Option<OwnedFd>,
    until: Instant,
}

/// A client that is to be relayed.
#[derive(Debug)]
pub(super) struct Relayed {
    pub(super) host: u32,
    pub(super) client: HeldClient,
    pub(super) inside: OwnedFd,
}

/// For the packet loop.
impl HeldClients {
    /// Holds a client, for whom the connection inside is about to be made, and tells until when.
    ///
    /// # Errors
    /// Its service is not expected to ask.
    pub(super) fn hold(&self, now: Instant, ends: Inside, client: HeldClient) -> Result<Instant, HeldClient> {
        let mut state = self.state();
        if !state.services.get_mut(&ends.port()).is_some_and(|service| service.is_expected(now)) {
            return Err(client);
        }
        let Entry::Vacant(vacant) = state.clients.entry(ends) else { return Err(client) };
        let until = now + HOLD;
        vacant.insert(Held { forward: client.forward, client: Some(client), inside: None, until });
        state.times.push_back((until, ends));
        *state.counts.entry(ends.port()).or_default() += 1;
        Ok(until)
    }

    /// The connection inside is made. It is not needed any more if the client was taken already.
    pub(super) fn connected(&self, ends: &Inside, inside: OwnedFd) {
        let mut state = self.state();
        match state.clients.get_mut(ends) {
            Some(held) => held.inside = Some(inside),
            None => {
                drop(state);
                drop(inside);
            }
        }
    }

    /// No connection inside can be made.
    pub(super) fn failed(&self, ends: &Inside) -> Option<HeldClient> {
        self.state().remove(ends)?.client
    }

    /// Those that were not taken in time, or that are to be relayed at once; and when the next ones will be due.
    pub(super) fn due(&self, now: Instant) -> (Vec<Relayed>, Option<Instant>) {
        let mut state = self.state();
        let urgent = std::mem::take(&mut state.urgent);
        let mut due: Vec<Relayed> = urgent.into_iter().filter_map(|ends| state.relay(ends)).collect();
        while let Some((until, ends)) = state.times.front().copied().filter(|(until, _)| *until <= now) {
            state.times.pop_front();
            // Those ends may be another connection's by now.
            if state.clients.get(&ends).is_none_or(|held| held.until != until) {
                continue;
            }
            // One that is being handed over comes back to be relayed at once, or not at all.
            let Some(relayed) = state.relay(ends) else { continue };
            if let Some(service) = state.services.get_mut(&ends.port()) {
                service.has_missed(now);
            }
            due.push(relayed);
        }
        let next = state.times.front().map(|(until, _)| *until);
        (due, next)
    }

    /// Takes out the clients of a host that has ended, and forgets its services.
    pub(super) fn forget_host(&self, host: u32) -> Vec<HeldClient> {
        let mut state = self.state();
        state.services.retain(|(of, _), _| *of != host);
        state.take_all(|ends, _| ends.host == host)
    }

    /// Takes out the clients of forwards.
    pub(super) fn of_forwards(&self, ids: &HashSet<u64>) -> Vec<HeldClient> {
        self.state().take_all(|_, forward| ids.contains(&forward))
    }

    /// Has the clients of forwards relayed at once.
    pub(super) fn hurry(&self, ids: &HashSet<u64>) {
        let mut state = self.state();
        let State { clients, urgent, .. } = &mut *state;
        urgent.extend(clients.iter().filter(|(_, held)| ids.contains(&held.forward)).map(|(ends, _)| *ends));
    }

    /// The forwards through which those came that were taken since it was asked last, by ID and place. `taken` is empty
    /// before.
    pub(super) fn taken(&self, taken: &mut Vec<(u64, usize)>) {
        std::mem::swap(&mut self.state().taken, taken);
    }
}

/// For whoever serves the programs of a host, with its serial number.
impl HeldClients {
    /// A program listens at a port, or is about to.
    pub(crate) fn listens(&self, host: u32, port: u16) {
        self.state().services.entry((host, port)).or_default().listens();
    }

    /// A thread asks for connections to a port. `false`: no client is held for it, nor may be for now, and what is there is
    /// left to the kernel. Until the thread has that, none is held.
    pub(crate) fn asks(&self, now: Instant, host: u32, who: Accepting) -> bool {
        let mut state = self.state();
        let port = (host, who.port);
        let is_held = state.counts.contains_key(&port);
        let service = state.services.entry(port).or_default();
        if service.asks(now, who.thread) || is_held {
            return true;
        }
        service.leave(now, who);
        false
    }

    /// The kernel serves a thread. Whether the packet loop has to look.
    pub(crate) fn waits(&self, now: Instant, host: u32, who: Accepting) -> bool {
        let mut state = self.state();
        let port = (host, who.port);
        state.services.entry(port).or_default().leave(now, who);
        if !state.counts.contains_key(&port) {
            return false;
        }
        let State { clients, urgent, .. } = &mut *state;
        urgent.extend(clients.keys().filter(|ends| ends.port() == port));
        true
    }

    /// Takes the client of a connection inside. One of the following says what becomes of it.
    pub(crate) fn take(&self, host: u32, client: SocketAddr, service: SocketAddr) -> Option<HeldClient> {
        self.state().clients.get_mut(&Inside { host, client, service })?.client.take()
    }

    /// A client that was taken is not the packet loop's any more. Gives our end of its connection inside.
    pub(crate) fn gone(&self, host: u32, client: &HeldClient) -> Option<OwnedFd> {
        let ends = Inside::of(host, client);
        let mut state = self.state();
        if let Some(service) = state.services.get_mut(&ends.port()) {
            service.has_taken();
        }
        state.taken.push((client.forward, client.place));
        state.remove(&ends)?.inside
    }

    /// A client that was taken can't be handed over, and is to be relayed: the packet loop has to look. It is the same with
    /// the next one, so that its service is not waited for for a while. Who is not held any more, because the forward or the
    /// host is gone, comes back.
    pub(crate) fn relay(&self, now: Instant, host: u32, client: HeldClient) -> Option<HeldClient> {
        let ends = Inside::of(host, &client);
        let mut state = self.state();
        let Some(held) = state.clients.get_mut(&ends) else { return Some(client) };
        held.client = Some(client);
        state.urgent.push(ends);
        if let Some(service) = state.services.get_mut(&ends.port()) {
            service.has_missed(now);
        }
        None
    }

    /// A client that was taken needs another connection inside.
    pub(crate) fn give_up(&self, host: u32, client: &HeldClient) {
        let held = self.state().remove(&Inside::of(host, client));
        // Closed without the lock.
        drop(held);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    fn remove(&mut self, ends: &Inside) -> Option<Held> {
        let held = self.clients.remove(ends)?;
        if let Entry::Occupied(mut count) = self.counts.entry(ends.port()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(held)
    }

    /// Takes a client out that is not being handed over.
    fn relay(&mut self, ends: Inside) -> Option<Relayed> {
        self.clients.get(&ends).filter(|held| held.client.is_some() && held.inside.is_some())?;
        let Held { client, inside, .. } = self.remove(&ends)?;
        Some(Relayed { host: ends.host, client: client?, inside: inside? })
    }

    /// Takes out clients by the ends of their connections and their forwards. Of those that are being handed over, nothing
    /// is known any more.
    fn take_all(&mut self, concerned: impl Fn(&Inside, u64) -> bool) -> Vec<HeldClient> {
        let of = |(ends, held): (&Inside, &Held)| concerned(ends, held.forward).then_some(*ends);
        let ends: Vec<Inside> = self.clients.iter().filter_map(of).collect();
        ends.iter().filter_map(|ends| self.remove(ends)?.client).collect()
    }
}

impl Inside {
    pub(super) fn of(host: u32, client: &HeldClient) -> Inside {
        Inside { host, client: client.address, service: client.service }
    }

    fn port(&self) -> (u32, u16) {
        (self.host, self.service.port())
    }
}

#[cfg(test)]
mod tests;
