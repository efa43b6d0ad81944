//! Flows in general: who is pumped when, and how a flow ends.

use std::os::fd::AsFd;

use minato_relay::{FlowId, Lifecycle, Operation, Side, StackSide, Verdict};
use minato_transport::ConnectionId;

use super::far::FarSide;
use super::poller::Readiness;
use super::sides::{Kind, Stage, reset_on_close};
use super::{BUDGET, Flow, Plane, connection_place};

impl Plane {
    pub(super) fn flow_of(&self, connection: ConnectionId) -> Option<FlowId> {
        let id = (*self.by_connection.get(connection_place(connection))?)?;
        match &self.flows.find(id)?.sides.kind {
            Kind::Outbound { stage: Stage::Relayed { connection: current, .. }, .. } if *current == connection => {
                Some(id)
            }
            _ => None,
        }
    }

    pub(super) fn enqueue(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.find_mut(id)
            && !std::mem::replace(&mut flow.sides.queued, true)
        {
            self.queue.push_back(id);
        }
    }

    pub(super) fn flow_ready(&mut self, id: FlowId, side: Side, readiness: Readiness) {
        let Some(flow) = self.flows.find_mut(id) else { return };
        let (readable, writable, hung_up) = (readiness.readable, readiness.writable, readiness.hung_up);
        match &mut flow.sides.kind {
            Kind::Outbound { stage: Stage::Connecting { .. }, .. } => self.target_decided(id, readiness),
            Kind::Outbound { stage: Stage::Relayed { coupling, .. }, .. } => {
                coupling.far_ready(readable, writable, hung_up);
                self.enqueue(id);
            }
            Kind::Spliced(sides) => {
                sides.splice.ready(side, readable, writable, hung_up);
                self.enqueue(id);
            }
            Kind::Datagrams(sides) => {
                sides.failed |= hung_up;
                self.enqueue(id);
            }
            Kind::Forwarded(_) => self.inside_datagrams_ready(id),
        }
    }

    /// Pumps every flow that was in the queue when the turn began, once.
    pub(super) fn pump_queue(&mut self) {
        for _ in 0..self.queue.len() {
            let Some(id) = self.queue.pop_front() else { return };
            let Some(flow) = self.flows.find_mut(id) else { continue };
            flow.sides.queued = false;
            match flow.sides.kind {
                Kind::Outbound { .. } => self.pump_outbound(id),
                Kind::Spliced(_) => self.pump_spliced(id),
                Kind::Datagrams(_) => self.pump_datagrams(id),
                Kind::Forwarded(_) => self.inside_datagrams_ready(id),
            }
        }
    }

    fn pump_outbound(&mut self, id: FlowId) {
        let Some(flow) = self.flows.find_mut(id) else { return };
        let Kind::Outbound { socket, stage: Stage::Relayed { connection, coupling } } = &mut flow.sides.kind else {
            return;
        };
        let connection = *connection;
        let mut near = StackSide::new(&mut self.stack, self.now, connection);
        let progress = coupling.pump(&mut near, &mut FarSide(socket.as_fd()), BUDGET);
        let dying = coupling.is_dying();
        flow.counters.to_target += progress.to_far as u64;
        flow.counters.to_initiating += progress.to_near as u64;
        flow.last_used = self.now;
        self.end_passed_on |= progress.far_ended;
        for (ended, side) in [(progress.near_ended, Side::Initiating), (progress.far_ended, Side::Target)] {
            if ended {
                let _ = flow.apply(Operation::End(side));
            }
        }
        match progress.verdict {
            Verdict::Wait => {}
            Verdict::Again => self.enqueue(id),
            Verdict::Finished => {
                self.stack.close(self.now, connection);
                self.remove_flow(id);
            }
            Verdict::Reset => return self.reset_flow(id),
        }
        if dying {
            self.flow_is_dying(id);
        }
    }

    /// The guest reset the connection, or it timed out: so is the machine's socket.
    pub(super) fn guest_reset(&mut self, connection: ConnectionId) {
        let Some(id) = self.flow_of(connection) else { return };
        self.reset_flow(id);
    }

    /// Takes a flow out of every index and closes its sockets.
    pub(super) fn remove_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.remove(id) else { return };
        self.tell_of_end(id, &flow);
        let has_finished = flow.lifecycle() == Lifecycle::Closing;
        self.admission.give_back(flow.sides.kind.descriptors());
        if let Kind::Outbound { .. } | Kind::Datagrams(_) = flow.sides.kind {
            self.policies.flow_ends(self.now, flow.client.ip(), flow.server.ip());
        }
        match flow.sides.kind {
            Kind::Outbound { stage: Stage::Connecting { incoming, .. }, .. } => {
                self.by_incoming.remove(&incoming);
            }
            Kind::Outbound { stage: Stage::Relayed { connection, .. }, socket } => {
                if let Some(entry) = self.by_connection.get_mut(connection_place(connection)) {
                    *entry = None;
                }
                if has_finished {
                    self.close_later(socket);
                }
            }
            Kind::Spliced(sides) => self.spliced_removed(*sides),
            Kind::Datagrams(_) => self.datagrams.remove_outbound(flow.client, flow.server),
            Kind::Forwarded(sides) => self.forwarded_removed(&sides, flow.forward, flow.client),
        }
    }

    /// Aborts every flow that the predicate names.
    pub(super) fn end_flows_of(&mut self, concerned: impl Fn(&Flow) -> bool) {
        let ended: Vec<FlowId> = self.flows.iter().filter(|(_, flow)| concerned(flow)).map(|(id, _)| id).collect();
        for id in ended {
            self.abort_flow(id);
        }
    }

    /// Resets both sides of a flow and removes it.
    pub(super) fn abort_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.find(id) else { return };
        match &flow.sides.kind {
            Kind::Outbound { stage: Stage::Connecting { incoming, .. }, .. } => {
                self.stack.refuse_incoming(self.now, *incoming);
            }
            Kind::Outbound { socket, stage: Stage::Relayed { connection, .. } } => {
                reset_on_close(socket.as_fd());
                self.stack.abort(self.now, *connection);
            }
            Kind::Spliced(sides) => {
                reset_on_close(sides.client.as_fd());
                reset_on_close(sides.service.as_fd());
            }
            Kind::Datagrams(_) | Kind::Forwarded(_) => {}
        }
        self.remove_flow(id);
    }
}
