//! A host: a stack, and the ends of connections that play their scripts on it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use minato_transport::{ConnectionId, Event, ListenerId, Stack};

use super::{HostConfig, NodeId, Opening};
use crate::clock::Clock;
use crate::endpoint::{Endpoint, Ends, Step, Turn};
use crate::packet::Medium;
use crate::random::Random;

/// A host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) stack: Stack,
    pub(super) medium: Medium,
    pub(super) endpoints: Vec<Endpoint>,
    /// When the world wakes it next.
    pub(super) wake: Option<Duration>,
    node: NodeId,
    seed: u64,
    random: Random,
    listeners: BTreeMap<ListenerId, Rc<[Step]>>,
    /// Played on connections to any destination.
    incoming: Rc<[Step]>,
    /// Live connections; what the stack says about others no longer matters.
    by_id: BTreeMap<ConnectionId, usize>,
    /// What an endpoint opens when it is over.
    successors: BTreeMap<usize, Opening>,
    ready: Vec<usize>,
    sleepers: BTreeSet<(Duration, usize)>,
}

impl Host {
    pub(super) fn new(clock: Clock, config: &HostConfig, node: NodeId, seed: u64) -> Host {
        let mut random = Random::of_part(seed, u64::from(u32::MAX) + node.0 as u64);
        let mut key = [0; 16];
        key[..8].copy_from_slice(&random.bits().to_le_bytes());
        key[8..].copy_from_slice(&random.bits().to_le_bytes());
        Host {
            stack: Stack::new(clock.instant(), config.stack_config(key)),
            medium: config.medium,
            endpoints: Vec::new(),
            wake: None,
            node,
            seed,
            random,
            listeners: BTreeMap::new(),
            incoming: Rc::new([]),
            by_id: BTreeMap::new(),
            successors: BTreeMap::new(),
            ready: Vec::new(),
            sleepers: BTreeSet::new(),
        }
    }

    pub(super) fn listen(&mut self, local: std::net::SocketAddr, script: &[Step]) -> Result<(), String> {
        let listener = self.stack.listen(local, BACKLOG).map_err(|error| error.to_string())?;
        self.listeners.insert(listener, script.into());
        Ok(())
    }

    pub(super) fn accept_any(&mut self, script: &[Step]) {
        self.incoming = script.into();
    }

    pub(super) fn open(&mut self, clock: Clock, opening: Opening) -> Result<(), String> {
        let random = self.random.bits();
        let id = self
            .stack
            .connect(clock.instant(), opening.local, opening.remote, random)
            .map_err(|error| error.to_string())?;
        let index = self.add(clock, id, opening.script.clone())?;
        if let Some(repeat) = opening.repeat.checked_sub(1) {
            self.successors.insert(index, Opening { repeat, ..opening });
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, clock: Clock, mut frame: Vec<u8>) {
        self.stack.receive(clock.instant(), &mut frame);
    }

    /// Does what is due, and lets everybody act on it; gives the frames to send.
    ///
    /// # Errors
    /// What a script or the stack did wrong.
    pub(super) fn run(&mut self, clock: Clock) -> Result<Vec<Vec<u8>>, String> {
        if self.stack.poll_timeout().is_some_and(|due| due <= clock.instant()) {
            self.stack.handle_timeout(clock.instant());
        }
        while let Some((due, index)) = self.sleepers.first().copied().filter(|(due, _)| *due <= clock.now()) {
            self.sleepers.remove(&(due, index));
            self.ready.push(index);
        }
        let mut frames = Vec::new();
        loop {
            while let Some(event) = self.stack.poll_event() {
                self.handle(clock, &event)?;
            }
            let acted = !self.ready.is_empty();
            while let Some(index) = self.ready.pop() {
                self.advance(clock, index)?;
            }
            let before = frames.len();
            while let Some(transmit) = self.stack.poll_transmit(clock.instant()) {
                frames.push(transmit.to_vec());
            }
            if !acted && frames.len() == before {
                return Ok(frames);
            }
        }
    }

    /// When `run` must be called next if nothing arrives.
    pub(super) fn next_wake(&self, clock: Clock) -> Option<Duration> {
        let timer = self.stack.poll_timeout().map(|due| clock.since_start(due));
        let sleeper = self.sleepers.first().map(|(due, _)| *due);
        timer.into_iter().chain(sleeper).min()
    }

    /// The ends whose scripts are not over.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &Endpoint> {
        self.by_id.values().map(|index| &self.endpoints[*index])
    }

    /// Whether an end has got nowhere for longer than `patience`; with `None` all of them begin anew.
    pub(super) fn is_stuck(&mut self, clock: Clock, patience: Option<Duration>) -> bool {
        let mut stuck = false;
        for index in self.by_id.values() {
            let endpoint = &mut self.endpoints[*index];
            endpoint.look_for_progress(clock.now(), &self.stack);
            match patience {
                Some(patience) => stuck |= clock.now() - endpoint.last_progress > patience,
                None => endpoint.last_progress = clock.now(),
            }
        }
        stuck
    }

    fn add(&mut self, clock: Clock, id: ConnectionId, script: Rc<[Step]>) -> Result<usize, String> {
        let status = self.stack.status(id).ok_or("the stack does not know a connection that it just made")?;
        let ends = Ends { seed: self.seed, host: self.node, local: status.local, remote: status.remote };
        let index = self.endpoints.len();
        self.endpoints.push(Endpoint::new(clock.now(), id, ends, script));
        if self.by_id.insert(id, index).is_some() {
            return Err(format!("{id:?} is given away twice"));
        }
        Ok(index)
    }

    fn handle(&mut self, clock: Clock, event: &Event) -> Result<(), String> {
        match event {
            Event::Incoming(incoming) => {
                if let Ok(id) = self.stack.accept_incoming(clock.instant(), incoming.id) {
                    self.add(clock, id, self.incoming.clone())?;
                }
            }
            Event::Acceptable(listener) => {
                while let Some(id) = self.stack.accept(*listener) {
                    let script = self.listeners.get(listener).ok_or("Acceptable for no listener")?.clone();
                    let index = self.add(clock, id, script)?;
                    self.endpoints[index].flow.connected = Some(clock.now());
                    self.ready.push(index);
                }
            }
            Event::Connected(id) => {
                if let Some(&index) = self.by_id.get(id) {
                    self.endpoints[index].flow.connected = Some(clock.now());
                    self.ready.push(index);
                }
            }
            Event::Readable(id) | Event::Writable(id) | Event::PeerClosed(id) | Event::Closed(id) => {
                self.ready.extend(self.by_id.get(id).filter(|index| self.endpoints[**index].flow.connected.is_some()));
            }
            Event::Reset(id, reason) => {
                if let Some(index) = self.by_id.remove(id) {
                    self.endpoints[index].reset(clock.now(), *reason);
                    self.open_successor(clock, index)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn advance(&mut self, clock: Clock, index: usize) -> Result<(), String> {
        let endpoint = &mut self.endpoints[index];
        if endpoint.is_over() {
            return Ok(());
        }
        let (local, remote) = (endpoint.flow.local, endpoint.flow.remote);
        match endpoint.advance(clock, &mut self.stack) {
            Turn::Waits => Ok(()),
            Turn::Sleeps(until) => {
                self.sleepers.insert((until, index));
                Ok(())
            }
            Turn::Finished => {
                self.by_id.remove(&self.endpoints[index].id);
                self.open_successor(clock, index)
            }
            Turn::WrongByte(position) => {
                Err(format!("{remote} > {local} delivered a wrong byte at position {position}"))
            }
            Turn::EndedEarly(count) => Err(format!("{remote} > {local} ended after {count} bytes, too early")),
        }
    }

    fn open_successor(&mut self, clock: Clock, index: usize) -> Result<(), String> {
        match self.successors.remove(&index) {
            Some(opening) => self.open(clock, opening),
            None => Ok(()),
        }
    }
}

/// Connections that may wait for `accept`, which every host does at once.
const BACKLOG: usize = 1024;
