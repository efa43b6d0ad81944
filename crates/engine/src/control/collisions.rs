//! What the machine has of the network's addresses: it was nothing when the subnet was chosen, but routes come and go.
//!
//! Hosts keep their addresses, so a collision is told and stays. The network's next beginning avoids it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use minato_host::routes::Changes;
use minato_inspect::{Collision, Happening, SessionEvent};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Control, blocking};
use crate::machine::Machine;

/// Changes come together, and on routers without end: after one, so long is waited before the next look.
const PAUSE: Duration = Duration::from_millis(250);

impl Control {
    /// Compares the machine's routes and addresses with the network's whenever they change, for as long as the engine runs.
    pub(crate) async fn watch_collisions(self: Arc<Self>) {
        if let Err(error) = self.follow_machine().await {
            tracing::warn!(%error, "can't follow the machine's routes");
        }
    }

    async fn follow_machine(&self) -> io::Result<()> {
        #[expect(
            deprecated,
            reason = "sound for what owns its descriptor as long as it lives; the successor is unsafe"
        )]
        let changes = AsyncFd::with_interest(Changes::follow()?, Interest::READABLE)?;
        loop {
            // Also at first: nobody is kept waiting by it then, and there are machines without a free subnet.
            tokio::time::sleep(PAUSE).await;
            changes.get_ref().drain();
            let Ok(machine) = blocking(Machine::look).await else { return Ok(()) };
            self.note_collisions(machine.collisions(self.addresses).collect());
            changes.readable().await?.clear_ready();
        }
    }

    /// Takes note of what collides now, and tells what is new of it and what has ended.
    fn note_collisions(&self, mut now: Vec<Collision>) {
        now.dedup();
        let before = std::mem::replace(&mut self.state().collisions, now.clone());
        for ended in before.iter().filter(|collision| !now.contains(collision)) {
            tracing::info!(hidden = ended.hidden, "the machine no longer has {}", ended.what);
            self.events.tell(|| Happening::CollisionEnded(ended.clone()));
        }
        let new: Vec<Collision> = now.into_iter().filter(|collision| !before.contains(collision)).collect();
        if new.is_empty() {
            return;
        }
        let message = self.warning(&new);
        tracing::warn!("{message}");
        for collision in new {
            self.events.tell(|| Happening::Collision(collision));
        }
        let state = self.state();
        let one_each = state.hosts.values().filter_map(|host| host.sessions.values().next());
        for session in one_each.chain(state.stays.values()) {
            let _ = session.send(SessionEvent::Warning { message: message.clone() });
        }
    }

    /// What is hidden, what is not, and how it ends.
    fn warning(&self, new: &[Collision]) -> String {
        let all = |part: fn(&Collision) -> &str| {
            let mut words: Vec<&str> = new.iter().map(part).collect();
            words.dedup();
            words.join(" and ")
        };
        let (what, hidden) = (all(|collision| &collision.what), all(|collision| &collision.hidden));
        format!(
            "the machine has {what}, and network {:?} has {}: its hosts can't reach what is in {hidden} beyond it; all else \
             goes on. The network has another subnet when it begins anew, after its last host, unless the subnet is fixed",
            self.network.name,
            if hidden.contains(':') { &self.network.subnet_v6 } else { &self.network.subnet_v4 },
        )
    }
}
