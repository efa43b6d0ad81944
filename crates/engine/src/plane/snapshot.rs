//! What the packet loop shows of its flows: it copies what it has, and whoever asked finds the names.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use minato_inspect as inspect;
use minato_ports::Transport;
use minato_relay::{Counters, Lifecycle};

use super::sides::{Kind, Stage};
use super::{Flow, Plane};
use crate::convert;

/// A flow, and what is needed to find its hosts and processes.
#[derive(Clone, Debug)]
pub(crate) struct FlowSnapshot {
    transport: Transport,
    client: SocketAddr,
    server: SocketAddr,
    /// The name that led an outbound flow's host to the server.
    server_name: Option<Arc<str>>,
    /// The client's address as the service sees it, when that is another one.
    pub(crate) seen_as: Option<SocketAddr>,
    /// Serial number of the host that an inbound flow's service is in.
    service_host: Option<u32>,
    pub(crate) forward: Option<u64>,
    lifecycle: Lifecycle,
    age: Duration,
    counters: Counters,
    retransmits: Option<u64>,
    round_trip: Option<Duration>,
}

impl FlowSnapshot {
    /// The flow as the API shows it, without processes; `name_at` and `name_of` name hosts by address and serial number.
    pub(crate) fn view(
        &self,
        name_at: impl Fn(IpAddr) -> Option<String>,
        name_of: impl Fn(u32) -> Option<String>,
    ) -> inspect::Flow {
        let endpoint = |host: Option<String>, address: SocketAddr| inspect::Endpoint {
            host,
            address: address.ip(),
            port: address.port(),
            process: None,
            process_unknown: None,
            name: None,
        };
        let server = match self.service_host {
            // It may be at the loopback of its host.
            Some(serial) => name_of(serial),
            None => name_at(self.server.ip()),
        };
        let name = self.server_name.as_deref().map(str::to_owned);
        inspect::Flow {
            transport: convert::to_inspect(self.transport),
            client: endpoint(name_at(self.client.ip()), self.client),
            server: inspect::Endpoint { name, ..endpoint(server, self.server) },
            forward: self.forward,
            via: None,
            direct: false,
            seen_as: self.seen_as,
            state: state(self.lifecycle),
            age_seconds: Some(self.age.as_secs_f64()),
            bytes_in: Some(self.counters.to_target),
            bytes_out: Some(self.counters.to_initiating),
            retransmits: self.retransmits,
            rtt_micros: self.round_trip.map(|time| time.as_micros() as u64),
        }
    }
}

impl Plane {
    pub(super) fn flow_snapshots(&self) -> Vec<FlowSnapshot> {
        self.flows.iter().map(|(_, flow)| self.flow_snapshot(flow)).collect()
    }

    /// One flow as the API shows it.
    pub(super) fn flow_view(&self, flow: &Flow) -> inspect::Flow {
        let name = |serial: u32| self.hosts.get(&serial).map(|host| host.name.clone());
        let view = self.flow_snapshot(flow).view(|address| name(self.host_at(address)?), name);
        inspect::Flow { via: self.entrance(flow), ..view }
    }

    /// The machine's port through which a flow came in.
    fn entrance(&self, flow: &Flow) -> Option<SocketAddr> {
        let (id, origin) = (flow.forward?, flow.sides.kind.origin()?);
        let places = &self.hosts.get(&origin.host)?.forwards;
        let mut forwards = places.iter().filter_map(|place| self.forwards.get(*place));
        forwards.find(|forward| forward.id == id).map(|forward| forward.address)
    }

    fn flow_snapshot(&self, flow: &Flow) -> FlowSnapshot {
        let origin = flow.sides.kind.origin();
        let status = match &flow.sides.kind {
            Kind::Outbound { stage: Stage::Relayed { connection, .. }, .. } => self.stack.status(*connection),
            _ => None,
        };
        let host = if origin.is_none() { self.host_at(flow.client.ip()) } else { None };
        FlowSnapshot {
            transport: flow.transport,
            client: flow.client,
            server: flow.server,
            server_name: host.and_then(|host| self.resolver.told.name(host, flow.server.ip())),
            seen_as: origin.map(|origin| origin.seen_as).filter(|seen| *seen != flow.client),
            service_host: origin.map(|origin| origin.host),
            forward: flow.forward,
            lifecycle: flow.lifecycle(),
            age: self.now.saturating_duration_since(flow.started),
            counters: flow.counters,
            retransmits: status.as_ref().map(|status| status.retransmits),
            round_trip: status.and_then(|status| status.round_trip),
        }
    }
}

fn state(lifecycle: Lifecycle) -> inspect::FlowState {
    match lifecycle {
        Lifecycle::New | Lifecycle::Connecting => inspect::FlowState::Connecting,
        Lifecycle::Established => inspect::FlowState::Established,
        Lifecycle::HalfClosed(_) => inspect::FlowState::HalfClosed,
        Lifecycle::Closing => inspect::FlowState::Closing,
    }
}
