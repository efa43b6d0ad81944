//! The end of a host. What its programs had sent when they ended is still in its kernel, in the stack, or in sockets of
//! ours. On a machine the kernel would go on to deliver it, so it is delivered here before the host is removed.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use minato_host::sockets;
use minato_relay::{FlowId, Lifecycle, Side};
use tokio::sync::oneshot;

use super::sides::{Kind, Stage};
use super::{Flow, GivenBack, Plane};

/// How long that may take: a peer that does not read must not keep a host for ever.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// A host without programs that still sends.
#[derive(Debug)]
pub(super) struct Drain {
    addresses: Vec<IpAddr>,
    /// Flows whose guest's end was not passed on yet. None is added.
    flows: Vec<FlowId>,
    until: Instant,
    done: Option<oneshot::Sender<()>>,
}

impl Plane {
    /// Frees the host's forwards and turns away who waits. What is connected goes on.
    pub(super) fn close_host(&mut self, serial: u32) -> GivenBack {
        let Some(host) = self.hosts.get_mut(&serial) else { return GivenBack::new() };
        let waiting = std::mem::take(&mut host.waiting);
        self.resolver.zone.remove(&host.name, serial);
        let ids: Vec<u64> = host.forwards.iter().map(|place| self.forwards[*place].id).collect();
        waiting.into_iter().for_each(|client| self.turn_away(client));
        self.relay_held_of(&ids);
        // Datagrams go out of the forward's own socket.
        self.end_flows_of(|flow| matches!(flow.sides.kind, Kind::Forwarded(_)) && flow.sides.kind.leads_to(serial));
        self.detach_streams(|flow| flow.sides.kind.leads_to(serial));
        self.give_forwards_back(&ids)
    }

    /// Tells when everything that the programs of a host have sent is delivered, or time is up. They are gone, so there
    /// is nobody to begin anything.
    pub(super) fn drain_host(&mut self, serial: u32, done: oneshot::Sender<()>) {
        let Some((addresses, flows)) = self.undelivered(serial) else { return };
        self.drains.push(Drain { addresses, flows, until: self.now + DRAIN, done: Some(done) });
        self.look_at_drains();
    }

    /// Removes a host without programs at once, if nothing that they have sent is still to be delivered.
    pub(super) fn end_idle_host(&mut self, serial: u32) -> Option<GivenBack> {
        let is_idle = self.undelivered(serial).is_none_or(|(_, flows)| flows.is_empty());
        is_idle.then(|| {
            let given_back = self.close_host(serial);
            self.remove_host(serial);
            given_back
        })
    }

    /// The addresses of a host, and its flows that have something to deliver; `None` if there is no such host.
    fn undelivered(&self, serial: u32) -> Option<(Vec<IpAddr>, Vec<FlowId>)> {
        let addresses = self.hosts.get(&serial)?.addresses.clone();
        let concerned = |flow: &Flow| addresses.contains(&flow.client.ip()) || flow.sides.kind.leads_to(serial);
        let flows = self.flows.iter().filter(|(_, flow)| concerned(flow) && sends(flow)).map(|(id, _)| id).collect();
        Some((addresses, flows))
    }

    /// Tells who has finished. The addresses stay closed until the host is removed.
    pub(super) fn look_at_drains(&mut self) {
        for drain in self.drains.iter_mut().filter(|drain| drain.done.is_some()) {
            drain.flows.retain(|id| self.flows.find(*id).is_some_and(sends));
            if !drain.flows.is_empty() && drain.until <= self.now {
                tracing::info!(flows = drain.flows.len(), "a host ended before its peers had read what it sent");
                drain.flows.clear();
            }
            if let Some(done) = drain.done.take_if(|_| drain.flows.is_empty()) {
                let _ = done.send(());
            }
        }
    }

    pub(super) fn drain_deadline(&self) -> Option<Instant> {
        self.drains.iter().filter(|drain| drain.done.is_some()).map(|drain| drain.until).min()
    }

    /// Whether the host with this address has no programs any more.
    pub(super) fn is_draining(&self, address: IpAddr) -> bool {
        self.drains.iter().any(|drain| drain.addresses.contains(&address))
    }

    pub(super) fn drained(&mut self, addresses: &[IpAddr]) {
        self.drains.retain(|drain| drain.addresses != addresses);
    }

    /// Ends a flow of a host that is removed. The peer of one that has sent everything gets it and the end, whatever it
    /// sends itself; another one must not take the part for the whole.
    pub(super) fn end_drained(&mut self, id: FlowId) {
        let Some(flow) = self.flows.find(id) else { return };
        if !has_ended(flow) {
            return self.abort_flow(id);
        }
        match &flow.sides.kind {
            Kind::Outbound { socket, stage: Stage::Relayed { connection, .. } } => {
                sockets::discard(socket.as_fd());
                self.stack.abort(self.now, *connection);
            }
            Kind::Spliced(sides) => sockets::discard(sides.client.as_fd()),
            Kind::Outbound { .. } | Kind::Datagrams(_) | Kind::Forwarded(_) => {}
        }
        self.remove_flow(id);
    }
}

/// Whether the side inside the host may still have something to deliver: a connection that it has not ended.
fn sends(flow: &Flow) -> bool {
    let connected = matches!(flow.sides.kind, Kind::Outbound { stage: Stage::Relayed { .. }, .. } | Kind::Spliced(_));
    connected && !has_ended(flow)
}

/// Whether the end of the side inside the host was passed on, behind everything that it had sent.
fn has_ended(flow: &Flow) -> bool {
    let inside = match flow.sides.kind {
        Kind::Outbound { .. } | Kind::Datagrams(_) => Side::Initiating,
        Kind::Spliced(_) | Kind::Forwarded(_) => Side::Target,
    };
    match flow.lifecycle() {
        Lifecycle::HalfClosed(side) => side == inside,
        Lifecycle::Closing => true,
        Lifecycle::New | Lifecycle::Connecting | Lifecycle::Established => false,
    }
}
