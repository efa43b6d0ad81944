//! Connections whose other side is dead. They are reset, but not before their peers have what the dead had sent: a reset
//! that overtakes data destroys it, in our kernel (RFC 9293 §3.10.5) and in the peer's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use minato_host::sockets;
use minato_relay::FlowId;
use minato_transport::ConnectionId;

use super::Plane;
use super::sides::{Kind, Stage, reset_on_close};

/// How long a peer may take to acknowledge; then it is reset all the same.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at what was acknowledged.
const PAUSE: Duration = Duration::from_millis(10);

/// What waits for its reset.
#[derive(Debug)]
enum Remains {
    /// Its peer has not taken yet what the dead side had sent.
    Flow(FlowId),
    /// The guest has not acknowledged yet.
    Connection(ConnectionId),
    /// The peer has not acknowledged yet. It has one descriptor of the admission.
    Socket(OwnedFd),
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    /// Each with the end of its time.
    waiting: Vec<(Remains, Instant)>,
    next_look: Option<Instant>,
}

impl Lingering {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_look
    }

    fn add(&mut self, now: Instant, remains: Remains) {
        self.waiting.push((remains, now + PATIENCE));
        self.next_look.get_or_insert(now + PAUSE);
    }
}

impl Plane {
    /// Bounds the life of a flow of which one side is dead.
    pub(super) fn flow_is_dying(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.find_mut(id)
            && !std::mem::replace(&mut flow.sides.dying, true)
        {
            self.lingering.add(self.now, Remains::Flow(id));
        }
    }

    /// Removes a flow of which one side is dead, and resets the other one when it has what is on the way.
    pub(super) fn reset_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.find(id) else { return };
        match &flow.sides.kind {
            Kind::Outbound { socket, stage: Stage::Relayed { connection, .. } } => {
                let connection = *connection;
                let socket = reset_later(socket.as_fd());
                let remains = Remains::Connection(connection);
                if !self.has_finished(&remains, false) {
                    self.lingering.add(self.now, remains);
                }
                self.linger(socket);
            }
            Kind::Spliced(sides) => {
                for socket in [reset_later(sides.client.as_fd()), reset_later(sides.service.as_fd())] {
                    self.linger(socket);
                }
            }
            Kind::Outbound { .. } | Kind::Datagrams(_) | Kind::Forwarded(_) => {}
        }
        self.remove_flow(id);
    }

    fn linger(&mut self, socket: Option<OwnedFd>) {
        if let Some(socket) = socket {
            self.admission.record(1);
            self.lingering.add(self.now, Remains::Socket(socket));
        }
    }

    /// Resets those who have everything.
    pub(super) fn look_at_lingering(&mut self) {
        let now = self.now;
        if self.lingering.next_look.is_none_or(|at| at > now) {
            return;
        }
        for (remains, until) in std::mem::take(&mut self.lingering.waiting) {
            if !self.has_finished(&remains, until <= now) {
                self.lingering.waiting.push((remains, until));
            }
        }
        self.lingering.next_look = (!self.lingering.waiting.is_empty()).then(|| now + PAUSE);
    }

    /// Whether nothing is to be waited for any more.
    fn has_finished(&mut self, remains: &Remains, late: bool) -> bool {
        match remains {
            Remains::Flow(id) if self.flows.find(*id).is_none() => return true,
            Remains::Flow(id) if late => self.abort_flow(*id),
            Remains::Flow(id) => self.enqueue(*id),
            Remains::Connection(id) => {
                let Some(status) = self.stack.status(*id) else { return true };
                self.stack.consume(self.now, *id, status.readable);
                if late || status.queued == 0 {
                    self.stack.abort(self.now, *id);
                    return true;
                }
            }
            Remains::Socket(socket) => {
                sockets::discard(socket.as_fd());
                if late || !sockets::is_delivering(socket.as_fd()) {
                    reset_on_close(socket.as_fd());
                    self.admission.give_back(1);
                    return true;
                }
            }
        }
        late
    }
}

/// The socket, if it is to be reset later; it resets when it is closed if not.
fn reset_later(socket: BorrowedFd<'_>) -> Option<OwnedFd> {
    let kept = sockets::is_delivering(socket).then(|| socket.try_clone_to_owned().ok()).flatten();
    if kept.is_none() {
        reset_on_close(socket);
    }
    kept
}
