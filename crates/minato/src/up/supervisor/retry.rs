//! Forwards of a changed file that could not be had are tried again, for as long as the file says so.

use std::time::Duration;

use minato_inspect::ForwardSpec;
use tokio::time::Instant;

use super::Supervisor;
use crate::file::Forward;
use crate::flags::Name;
use crate::up::board::State;

/// The pause before the next try: this, twice as long each time, at most so long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A host that has the forwards that it had before.
pub(super) struct Retry {
    name: Name,
    gone: Vec<ForwardSpec>,
    come: Vec<ForwardSpec>,
    /// What the file says.
    wanted: Vec<Forward>,
    pause: Duration,
    at: Instant,
}

impl Retry {
    pub(super) fn new(name: Name, gone: Vec<ForwardSpec>, come: Vec<ForwardSpec>, wanted: Vec<Forward>) -> Retry {
        Retry { name, gone, come, wanted, pause: FIRST_PAUSE, at: Instant::now() + FIRST_PAUSE }
    }
}

impl Supervisor {
    /// When the next one is due.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.iter().map(|retry| retry.at).min()
    }

    /// Tries those that are due. What comes is there before what goes is gone: a try in vain changes nothing.
    pub(super) async fn retry(&mut self) {
        let now = Instant::now();
        for mut retry in std::mem::take(&mut self.retries) {
            let is_ready = self.context.board.state(&retry.name) == Some(State::Ready);
            if retry.at > now || !is_ready || self.add_forwards(&retry.name, &retry.come).await.is_err() {
                if retry.at <= now {
                    retry.pause = LONGEST_PAUSE.min(retry.pause * 2);
                    retry.at = now + retry.pause;
                }
                self.retries.push(retry);
                continue;
            }
            // Those that are gone already need not be removed.
            let _ = self.remove_forwards(&retry.name, &retry.gone).await;
            self.context.say(&format!("the forwards of {} are changed", retry.name));
            if let Some(host) = self.plan.hosts.iter_mut().find(|host| host.name == retry.name) {
                host.forwards = retry.wanted;
            }
        }
    }
}
