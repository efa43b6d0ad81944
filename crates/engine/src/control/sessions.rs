//! Sessions: as long as one is open, its host stays; and the network, for one that has no host.

use std::sync::Arc;
use std::time::Duration;

use minato_inspect::{Problem, ProblemKind, SessionEnd, SessionEvent, SessionId};
use tokio::sync::{mpsc, oneshot};

use super::ending::GRACE;
use super::{Control, Phase, State, no_such_host};
use crate::problem::{ending, problem};

/// An open session, with what is to be told to its client. It ends when this is dropped.
pub(crate) struct Session {
    id: SessionId,
    /// Weak, so that the stream of events ends when the host's record of the session does.
    sender: mpsc::WeakUnboundedSender<SessionEvent>,
    pub(crate) events: mpsc::UnboundedReceiver<SessionEvent>,
    closed: mpsc::UnboundedSender<SessionId>,
}

impl Session {
    /// Tells the client something that its user should read.
    pub(crate) fn warn(&self, message: String) {
        if let Some(sender) = self.sender.upgrade() {
            let _ = sender.send(SessionEvent::Warning { message });
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.closed.send(self.id);
    }
}

impl Control {
    /// Opens another session in a host that runs.
    pub(crate) fn join_host(&self, name: &str) -> Result<Session, Problem> {
        let mut state = self.state();
        if state.stopping.is_some() {
            return Err(ending());
        }
        self.open_session_in(&mut state, name)
    }

    /// Opens a session without a host, for which the network stays, if it has the subnet that is wanted.
    pub(crate) async fn stay(&self, subnet: Option<&str>) -> Result<Session, Problem> {
        self.check_subnet(subnet).await.inspect_err(|_| self.stop_if_empty())?;
        let mut state = self.state();
        if state.stopping.is_some() {
            return Err(ending());
        }
        let id = state.next_session();
        let (sender, session) = self.new_session(id, SessionEvent::Staying { session: id });
        state.stays.insert(id, sender);
        Ok(session)
    }

    pub(super) fn open_session_in(&self, state: &mut State, name: &str) -> Result<Session, Problem> {
        let id = state.next_session();
        let enter = state.running(name)?.1.enter.clone();
        let opened = SessionEvent::Opened { session: id, host: Box::new(state.show(name)?), enter };
        let (sender, session) = self.new_session(id, opened);
        let record = state.hosts.get_mut(name).ok_or_else(|| no_such_host(name))?;
        record.sessions.insert(id, sender);
        record.programs.begin(id);
        Ok(session)
    }

    /// A session with its first event, and the sender that keeps its stream open.
    fn new_session(&self, id: SessionId, first: SessionEvent) -> (mpsc::UnboundedSender<SessionEvent>, Session) {
        let (sender, events) = mpsc::unbounded_channel();
        let _ = sender.send(first);
        let session = Session { id, sender: sender.downgrade(), events, closed: self.closed.clone() };
        (sender, session)
    }

    /// Ends a session on request; returns when its host is gone, if it was the last one.
    pub(crate) async fn end_session(self: &Arc<Self>, id: SessionId) -> Result<SessionEnd, Problem> {
        let Some(taken) = self.take_session(id) else {
            return Err(problem(ProblemKind::NotFound, format!("there is no session {}", id.0)));
        };
        Ok(self.after_session(taken, GRACE).await)
    }

    /// Ends those sessions whose connection has closed, as it happens.
    pub(crate) async fn reap(self: Arc<Self>, mut closed: mpsc::UnboundedReceiver<SessionId>) {
        while let Some(id) = closed.recv().await {
            if let Some(taken) = self.take_session(id) {
                let (control, grace) = (Arc::clone(&self), taken.grace());
                tokio::spawn(async move { control.after_session(taken, grace).await });
            }
        }
    }

    /// Takes a session out of its host, which begins to end with its last one.
    fn take_session(&self, id: SessionId) -> Option<Taken> {
        let mut state = self.state();
        if state.stays.remove(&id).is_some() {
            self.stop_in_if_empty(&mut state);
            return Some(Taken::Stay);
        }
        let (name, host) = state.hosts.iter_mut().find(|(_, host)| host.sessions.contains_key(&id))?;
        host.sessions.remove(&id);
        let last = host.sessions.is_empty() && host.phase == Phase::Running && !host.is_awaited;
        if last {
            host.phase = Phase::Ending;
        }
        Some(Taken::Of { host: name.clone(), last, grace: host.grace })
    }

    async fn after_session(self: &Arc<Self>, taken: Taken, grace: Duration) -> SessionEnd {
        match taken {
            Taken::Stay | Taken::Of { last: false, .. } => SessionEnd::default(),
            Taken::Of { host, .. } => {
                // Also when the client that asked for it goes away meanwhile, the host ends.
                let (tell, told) = oneshot::channel();
                let control = Arc::clone(self);
                tokio::spawn(async move { control.end_host(&host, grace, tell).await });
                told.await.unwrap_or_default()
            }
        }
    }
}

/// A session that was taken out of the books.
enum Taken {
    /// It had no host.
    Stay,
    /// It was this host's.
    Of { host: String, last: bool, grace: Duration },
}

impl Taken {
    /// How long its programs may take to end, since nobody has ended them.
    fn grace(&self) -> Duration {
        match self {
            Taken::Stay => Duration::ZERO,
            Taken::Of { grace, .. } => *grace,
        }
    }
}
