//! Each host's own address on the machine's loopback: every port on which the host's services listen, from the machine's
//! first unprivileged one on, is reachable there under its own number, as long as the service is there.
//!
//! These are forwards like others, but nobody asked for them. So a port that is taken is a warning, a forward that somebody
//! asks for goes first, and what another program of the machine has is left to it until the service begins anew.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use minato_host::sockets::first_unprivileged_port;
use minato_inspect::{Problem, SessionEvent, Unknown};
use minato_ports::{Port, Transport};
use tokio::sync::mpsc::UnboundedReceiver;

use super::forwards::{Holding, Taken, Wanted, refuse};
use super::{Control, HostRecord, State, blocking};
use crate::plane::{Command, ServicesChanged};

/// Most ports of one host that get a forward of their own number. Whoever listens on more is hardly a service on each.
const MAX_PORTS: usize = 1024;
/// Most refusals that are told one by one.
const MAX_TOLD: usize = 3;

/// A port of a host's service, which is the machine's port at the host's loopback address too.
pub(super) type End = (Transport, u16);

/// A host's own address on the machine, and what is held there.
#[derive(Debug)]
pub(super) struct Loopback {
    pub(super) address: Ipv4Addr,
    /// What listens in the host, as far as it is to be reachable here.
    services: HashSet<End>,
    /// The forwards, by ID.
    held: HashMap<End, u64>,
    /// What somebody else had, for as long as the service stays; with whether that was a forward of ours.
    refused: HashMap<End, bool>,
}

impl Loopback {
    /// The loopback address, in the network's block, of a host with this address.
    pub(super) fn new(block: Ipv4Addr, address: Ipv4Addr) -> Loopback {
        let [a, b, c, _] = block.octets();
        let address = Ipv4Addr::new(a, b, c, address.octets()[3]);
        Loopback { address, services: HashSet::new(), held: HashMap::new(), refused: HashMap::new() }
    }
}

impl Control {
    /// Lets the hosts' own forwards follow their services.
    pub(crate) async fn follow_services(self: Arc<Self>, mut changes: UnboundedReceiver<ServicesChanged>) {
        while let Some(ServicesChanged { host, ports, services }) = changes.recv().await {
            let name = {
                let mut state = self.state();
                let Some((name, record)) = state.hosts.iter_mut().find(|(_, record)| record.serial == host) else {
                    continue;
                };
                record.services = services;
                record.tell_offers();
                self.names.send_replace(());
                if !record.note_services(&ports) {
                    continue;
                }
                name.clone()
            };
            self.follow_host(&name).await;
        }
    }

    /// Holds and releases ports until they are those of the host's services.
    async fn follow_host(self: &Arc<Self>, name: &str) {
        let _turn = self.loopback_turn.lock().await;
        let Some((serial, superfluous, missing)) = self.state().pending(name) else { return };
        if !superfluous.is_empty() {
            let _ = self.give_back(&superfluous, Command::ReleaseForwards).await;
        }
        if missing.is_empty() {
            return;
        }
        let (control, owned) = (Arc::clone(self), name.to_owned());
        let Ok((holding, refusals)) = blocking(move || control.hold_own(&owned, missing)).await else { return };
        let ends: Vec<End> = holding.wanted().map(|wanted| (wanted.transport, wanted.service_port)).collect();
        // It fails when the host has begun to end: then it needs none of them.
        let Ok((ids, _)) = self.hand_over(serial, name, holding).await else { return };
        let mut state = self.state();
        let Some(record) = state.hosts.get_mut(name).filter(|record| record.serial == serial) else { return };
        if let Some(loopback) = &mut record.loopback {
            loopback.held.extend(ends.into_iter().zip(ids));
            loopback.refused.extend(refusals.iter().map(|refusal| (refusal.end, refusal.by_forward)));
        }
        record.warn_of(name, &refusals);
    }

    /// Holds what can be had of these, and tells what can't.
    fn hold_own(&self, host: &str, missing: Vec<Wanted>) -> (Holding, Vec<Refusal>) {
        let (mut holding, mut refusals) = (Holding::default(), Vec::new());
        for wanted in missing {
            let end = (wanted.transport, wanted.service_port);
            match self.take_port(host, wanted) {
                Ok(held) => holding.add(held),
                Err(Taken::ByForward(owner)) if owner == host => {
                    refusals.push(Refusal { end, by_forward: true, why: None });
                }
                Err(Taken::ByForward(owner)) => {
                    let why = Some(refuse::held_by_forward(wanted, &owner, None));
                    refusals.push(Refusal { end, by_forward: true, why });
                }
                Err(Taken::ByMachine(error)) => {
                    let why = Some(refuse::by_machine(wanted, error));
                    refusals.push(Refusal { end, by_forward: false, why });
                }
            }
        }
        (holding, refusals)
    }

    /// Gives up those own ports of hosts that are in the way of what somebody asks for, and says which: they are to be
    /// taken again with [`Control::retake`] when nothing comes of it.
    pub(super) async fn make_way(&self, wanted: &[Wanted]) -> HashSet<End> {
        // Most ask for 127.0.0.1 and ::1, where no host's own address is.
        if !wanted.iter().any(|one| may_be_own(one.address.ip())) {
            return HashSet::new();
        }
        let _turn = self.loopback_turn.lock().await;
        let (ends, ids) = self.state().give_way(wanted);
        if !ids.is_empty() {
            let _ = self.give_back(&ids, Command::ReleaseForwards).await;
        }
        ends
    }

    /// Takes ports again that a forward, which is no more, was in the way of. Not for whoever has the turn: each host
    /// waits for it.
    pub(super) async fn retake(self: &Arc<Self>, ends: &HashSet<End>) {
        let concerned = if ends.is_empty() { Vec::new() } else { self.state().forgive(ends) };
        for name in concerned {
            self.follow_host(&name).await;
        }
    }
}

/// A port that a host does not get.
struct Refusal {
    end: End,
    /// Whether a forward of ours has it, and not another program.
    by_forward: bool,
    /// `None` when a forward that somebody asked for leads there anyway.
    why: Option<Problem>,
}

/// The port at which a forward that somebody asked for may have been in the way of a host's own.
pub(super) fn contested(transport: Transport, address: SocketAddr) -> Option<End> {
    may_be_own(address.ip()).then_some((transport, address.port()))
}

/// Whether a forward that somebody asks for at this address may meet a host's own.
fn may_be_own(address: IpAddr) -> bool {
    address.is_ipv4() && (address.is_unspecified() || address.is_loopback()) && address != Ipv4Addr::LOCALHOST
}

impl HostRecord {
    /// Takes note of what listens in the host. False if nothing follows from that.
    fn note_services(&mut self, ports: &[End]) -> bool {
        let (first, ephemeral) = (first_unprivileged_port(), self.ephemeral_range);
        let Some(loopback) = &mut self.loopback else { return false };
        // A UDP socket with an ephemeral port is a client's.
        let is_client = |transport, port| transport == Transport::Udp && (ephemeral.0..=ephemeral.1).contains(&port);
        let wanted = |(transport, port): &&End| *port >= first && !is_client(*transport, *port);
        loopback.services = ports.iter().filter(wanted).copied().collect();
        loopback.refused.retain(|end, _| loopback.services.contains(end));
        true
    }

    /// Tells the first one who runs something in the host.
    fn warn_of(&self, name: &str, refusals: &[Refusal]) {
        let Some((_, session)) = self.sessions.iter().min_by_key(|(id, _)| **id) else { return };
        let Some(loopback) = &self.loopback else { return };
        let reasons: Vec<String> = refusals.iter().filter_map(Refusal::reason).collect();
        for reason in reasons.iter().take(MAX_TOLD) {
            let message = format!("host '{name}' is not reachable at its own address {}: {reason}", loopback.address);
            let _ = session.send(SessionEvent::Warning { message });
        }
        if let Some(more @ 1..) = reasons.len().checked_sub(MAX_TOLD) {
            let message = format!("{more} more ports of host '{name}' are not reachable at {}", loopback.address);
            let _ = session.send(SessionEvent::Warning { message });
        }
    }
}

impl Refusal {
    /// One sentence, with who has the port.
    fn reason(&self) -> Option<String> {
        let why = self.why.as_ref()?;
        let holder = why.holder.iter().flat_map(|holder| &holder.processes).next();
        let is_hidden = why.holder.as_ref().is_some_and(|holder| holder.unknown == Some(Unknown::NoPermission));
        let by = match holder {
            Some(process) => format!(" by {} (pid {})", process.name, process.pid),
            None if is_hidden => " by a process that you have no permission to see".into(),
            None => String::new(),
        };
        Some(format!("{}{by}", why.title))
    }
}

impl State {
    /// The host's serial number, forwards that are too many, and ports that it lacks.
    fn pending(&mut self, name: &str) -> Option<(u32, Vec<u64>, Vec<Wanted>)> {
        let room = (self.max_forwards / 2).saturating_sub(self.forwards.len());
        let record = self.hosts.get_mut(name).filter(|record| !record.phase.is_ending())?;
        let loopback = record.loopback.as_mut()?;
        let superfluous =
            loopback.held.extract_if(|end, _| !loopback.services.contains(end)).map(|(_, id)| id).collect();
        let lacks = |end: &&End| !loopback.held.contains_key(end) && !loopback.refused.contains_key(end);
        let mut missing: Vec<End> = loopback.services.iter().filter(lacks).copied().collect();
        missing.sort_unstable_by_key(|(transport, port)| (*port, *transport == Transport::Udp));
        missing.truncate(MAX_PORTS.saturating_sub(loopback.held.len()).min(room));
        let address = loopback.address;
        let wanted = |(transport, number): End| {
            let (address, port) = (SocketAddr::new(address.into(), number), Port::new(number)?);
            Some(Wanted { address, port, service_port: number, transport, is_default: false, automatic: true })
        };
        Some((record.serial, superfluous, missing.into_iter().filter_map(wanted).collect()))
    }

    /// The forwards that are in the way of these, with their ports. Their hosts do without them from now on.
    fn give_way(&mut self, wanted: &[Wanted]) -> (HashSet<End>, Vec<u64>) {
        let (mut ends, mut ids) = (HashSet::new(), Vec::new());
        for loopback in self.hosts.values_mut().filter_map(|record| record.loopback.as_mut()) {
            let own = IpAddr::V4(loopback.address);
            for one in wanted.iter().filter(|one| may_be_own(one.address.ip())) {
                let address = one.address.ip();
                let end = (one.transport, one.port.value());
                if (address.is_unspecified() || address == own)
                    && let Some(id) = loopback.held.remove(&end)
                {
                    loopback.refused.insert(end, true);
                    ends.insert(end);
                    ids.push(id);
                }
            }
        }
        (ends, ids)
    }

    /// Lets hosts try those of these ports again that a forward had; returns which hosts have reason to.
    fn forgive(&mut self, ends: &HashSet<End>) -> Vec<String> {
        let mut concerned = Vec::new();
        for (name, record) in &mut self.hosts {
            let Some(loopback) = &mut record.loopback else { continue };
            let before = loopback.refused.len();
            loopback.refused.retain(|end, by_forward| !(*by_forward && ends.contains(end)));
            if loopback.refused.len() != before {
                concerned.push(name.clone());
            }
        }
        concerned
    }
}
