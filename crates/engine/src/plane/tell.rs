//! What the packet loop tells whoever wants to know.

use minato_inspect::{ForwardChange, Happening};
use minato_relay::{FlowId, Lifecycle};

use super::{Flow, Plane};
use crate::control::collapse;

impl Plane {
    /// A flow's two sides are connected, or its first datagram passes.
    pub(super) fn tell_of_start(&self, id: FlowId) {
        let Some(flow) = self.flows.find(id).filter(|_| self.events.wanted()) else { return };
        let flow = Box::new(self.flow_view(flow));
        self.events.tell(|| Happening::FlowStarted { id: name(id), flow });
    }

    /// A flow has ended. One that was never established was only an attempt.
    pub(super) fn tell_of_end(&self, id: FlowId, flow: &Flow) {
        if !self.events.wanted() || matches!(flow.lifecycle(), Lifecycle::New | Lifecycle::Connecting) {
            return;
        }
        let flow = Box::new(self.flow_view(flow));
        self.events.tell(|| Happening::FlowEnded { id: name(id), flow });
    }

    /// The forwards at these places have changed as `what` says.
    pub(super) fn tell_of_forwards(&self, host: u32, places: &[usize], what: impl FnOnce(ForwardChange) -> Happening) {
        let Some(host) = self.hosts.get(&host).filter(|_| !places.is_empty()) else { return };
        self.events.tell(|| {
            let forwards = places.iter().filter_map(|place| self.forwards.get(*place));
            let ends = forwards.map(|forward| (forward.address, forward.service_port, forward.socket.transport()));
            what(ForwardChange { host: host.name.clone(), forwards: collapse(ends.collect()) })
        });
    }
}

fn name(id: FlowId) -> String {
    format!("through-{}", id.to_bits())
}
