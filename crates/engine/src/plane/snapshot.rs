//! What the packet loop shows of itself.

use std::net::{IpAddr, SocketAddr};

use minato_inspect as inspect;
use minato_relay::Lifecycle;

use super::command::FlowSnapshot;
use super::sides::{Kind, Stage};
use super::{Flow, Plane};
use crate::convert;

impl Plane {
    pub(super) fn flow_snapshots(&mut self) -> Vec<FlowSnapshot> {
        self.flows.iter().map(|(_, flow)| self.flow_snapshot(flow)).collect()
    }

    pub(super) fn flow_snapshot(&self, flow: &Flow) -> FlowSnapshot {
        let seen_as = flow.sides.kind.origin().map(|origin| origin.seen_as).filter(|seen| *seen != flow.client);
        let status = match &flow.sides.kind {
            Kind::Outbound { stage: Stage::Relayed { connection, .. }, .. } => self.stack.status(*connection),
            _ => None,
        };
        let flow = inspect::Flow {
            transport: convert::to_inspect(flow.transport),
            client: self.endpoint(flow.client),
            server: match flow.sides.kind.origin() {
                // It may be at the loopback of its host.
                Some(origin) => {
                    let host = self.hosts.get(&origin.host).map(|host| host.name.clone());
                    inspect::Endpoint { host, ..self.endpoint(flow.server) }
                }
                None => self.endpoint(flow.server),
            },
            forward: flow.forward,
            state: state(flow.lifecycle()),
            age_seconds: Some(self.now.saturating_duration_since(flow.started).as_secs_f64()),
            bytes_in: Some(flow.counters.to_target),
            bytes_out: Some(flow.counters.to_initiating),
            retransmits: status.as_ref().map(|status| status.retransmits),
            rtt_micros: status.and_then(|status| status.round_trip).map(|time| time.as_micros() as u64),
        };
        FlowSnapshot { flow, seen_as }
    }

    fn endpoint(&self, address: SocketAddr) -> inspect::Endpoint {
        inspect::Endpoint {
            host: self.host_at(address.ip()),
            address: address.ip(),
            port: address.port(),
            process: None,
            name: None,
        }
    }

    fn host_at(&self, address: IpAddr) -> Option<String> {
        self.hosts.values().find(|host| host.addresses.contains(&address)).map(|host| host.name.clone())
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
