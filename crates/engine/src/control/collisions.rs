//! What the machine has of the network's addresses: it was nothing when the subnet was chosen, but routes come and go.
//!
//! Hosts keep their addresses, so a collision is told and stays; a network without hosts gets others.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use minato_host::routes::Changes;
use minato_inspect::{Collision, Happening, SessionEvent};

use super::{Control, blocking, readable};
use crate::machine::Machine;

/// Changes come together, and on routers without end: after one, so long is waited before the next look.
const PAUSE: Duration = Duration::from_millis(250);
/// So long after a look that failed.
const RETRY: Duration = Duration::from_secs(1);

impl Control {
    /// Compares the machine's routes and addresses with the network's whenever they change, for as long as the engine runs.
    pub(crate) async fn watch_collisions(self: Arc<Self>) {
        if let Err(error) = self.follow_machine().await {
            tracing::warn!(%error, "can't follow the machine's routes");
        }
    }

    async fn follow_machine(self: &Arc<Self>) -> io::Result<()> {
        let changes = readable(Changes::follow()?)?;
        loop {
            // Also at first: nobody is kept waiting by it then, and there are machines without a free subnet.
            tokio::time::sleep(PAUSE).await;
            changes.get_ref().drain();
            match blocking(Machine::look).await {
                Ok(Ok(machine)) => self.compare(&machine).await,
                Ok(Err(error)) => {
                    // What was known before is the best guess.
                    tracing::warn!(%error, "can't read the machine's addresses and routes");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Err(_) => return Ok(()),
            }
            tokio::select! {
                readable = changes.readable() => readable?.clear_ready(),
                () = self.emptied.notified() => {}
            }
        }
    }

    /// Takes note of what the machine and the network both have, or gives the network other addresses.
    async fn compare(self: &Arc<Self>, machine: &Machine) {
        let collisions = || -> Vec<Collision> {
            let addresses = self.state().numbers.addresses;
            let mut collisions: Vec<Collision> = machine.collisions(addresses).collect();
            collisions.dedup();
            collisions
        };
        let mut now = collisions();
        if !now.is_empty() && self.renumber(&now).await {
            now = collisions();
        }
        self.note_collisions(now);
    }

    /// Takes note of what collides now, and tells what is new of it and what has ended.
    pub(super) fn note_collisions(&self, now: Vec<Collision>) {
        let before = std::mem::replace(&mut self.state().collisions, now.clone());
        for ended in before.iter().filter(|collision| !now.contains(collision)) {
            tracing::info!(hidden = ended.hidden, "the machine no longer has {}", ended.what);
            self.events.tell(|| Happening::CollisionEnded(ended.clone()));
        }
        let new: Vec<Collision> = now.into_iter().filter(|collision| !before.contains(collision)).collect();
        let (v6, v4): (Vec<&Collision>, Vec<&Collision>) = new.iter().partition(|new| new.hidden.contains(':'));
        let network = self.network();
        let fixed = self.state().numbers.fixed;
        let subnets = [(v4, Some(&network.subnet_v4)), (v6, network.subnet_v6.as_ref())];
        for (collisions, subnet) in subnets {
            if let Some(subnet) = subnet.filter(|_| !collisions.is_empty()) {
                self.warn_all(&warning(&self.name, subnet, &collisions, fixed));
            }
        }
        for collision in new {
            self.events.tell(|| Happening::Collision(collision));
        }
    }

    /// Tells everybody who runs something here.
    fn warn_all(&self, message: &str) {
        tracing::warn!("{message}");
        let state = self.state();
        let one_each = state.hosts.values().filter_map(|host| host.sessions.values().next());
        for session in one_each.chain(state.stays.values()) {
            let _ = session.send(SessionEvent::Warning { message: message.to_owned() });
        }
    }
}

/// What of one family is hidden, what is not, and how it ends.
fn warning(network: &str, subnet: &str, collisions: &[&Collision], fixed: bool) -> String {
    let all = |part: fn(&Collision) -> &str| {
        let mut words: Vec<&str> = collisions.iter().map(|collision| part(collision)).collect();
        words.dedup();
        words.join(" and ")
    };
    let (what, hidden) = (all(|collision| &collision.what), all(|collision| &collision.hidden));
    let end = if fixed {
        "The subnet stays, since it was asked for: begin the network anew with another one"
    } else {
        "The network gets another subnet when its last host has ended"
    };
    format!(
        "the machine has {what}, and network {network:?} has {subnet}: its hosts can't reach what is in {hidden} beyond it; \
         all else goes on. {end}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_everything_once() {
        let collision = |hidden: &str, what: &str| Collision { hidden: hidden.into(), what: what.into() };
        let (one, two) = (collision("10.77.0.0/24", "a route to 10.0.0.0/8 (tun0)"), collision("10.77.0.0/24", "this"));
        let said = warning("shop", "10.77.0.0/24", &[&one, &two], false);
        assert!(said.starts_with("the machine has a route to 10.0.0.0/8 (tun0) and this, and"), "{said}");
        assert!(said.contains("in 10.77.0.0/24 beyond") && said.ends_with("when its last host has ended"), "{said}");
        assert!(warning("shop", "10.77.0.0/24", &[&one], true).contains("The subnet stays"));
    }
}
