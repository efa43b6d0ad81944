//! What is known about every host: one map that everybody who waits for something watches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::progress::Row;
use crate::flags::Name;

/// | state | what comes next |
/// |---|---|
/// | `Waiting` | `Starting` when the others are ready |
/// | `Starting` | `Ready` when its ports listen; `Failed` when a program ends before |
/// | `Ready` | `Ended` when its last program has ended; `Restarting` when one has failed that is started again |
/// | `Restarting` | `Ready` when all of them run and its ports listen |
/// | `Stopping` | gone |
/// | `Failed`, `Ended` | nothing, unless the file changes |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(crate) enum State {
    /// Until these hosts are ready.
    Waiting {
        /// Their names.
        hosts: Vec<String>,
    },
    /// Its programs have been started, or are about to be.
    Starting,
    /// It does what it is for.
    Ready,
    /// It was ready, and one of its programs has failed since and is being started again.
    Restarting,
    /// It is being ended.
    Stopping,
    /// It was not made, or did not become ready.
    Failed,
    /// All its programs have ended; whether all with 0.
    Ended {
        /// Whether each of them ended with 0.
        well: bool,
    },
}

impl State {
    /// Whether those who depend on it may start: also when it was ready and has ended well since.
    pub(super) fn lets_others_start(&self) -> bool {
        matches!(self, State::Ready | State::Ended { well: true })
    }
}

/// A state and when it began.
#[derive(Clone, Debug)]
struct Entry {
    state: State,
    since: Instant,
    /// When the host's turn came.
    begun: Instant,
}

/// The map.
#[derive(Debug)]
pub(super) struct Board(watch::Sender<BTreeMap<Name, Entry>>);

impl Board {
    pub(super) fn new() -> Board {
        Board(watch::channel(BTreeMap::new()).0)
    }

    /// Notes a host's state.
    pub(super) fn set(&self, host: &Name, state: State) {
        let now = Instant::now();
        self.0.send_modify(|map| {
            let begun = match map.get(host) {
                Some(entry) if !matches!(state, State::Waiting { .. } | State::Starting | State::Restarting) => {
                    entry.begun
                }
                _ => now,
            };
            map.insert(host.clone(), Entry { state, since: now, begun });
        });
    }

    /// Forgets a host.
    pub(super) fn remove(&self, host: &Name) {
        self.0.send_modify(|map| {
            map.remove(host);
        });
    }

    /// What is known now, by host.
    pub(super) fn states(&self) -> BTreeMap<Name, State> {
        self.0.borrow().iter().map(|(name, entry)| (name.clone(), entry.state.clone())).collect()
    }

    /// The same as it is shown, in this order of hosts.
    pub(super) fn rows(&self, order: &[Name]) -> Vec<Row> {
        let map = self.0.borrow();
        let row = |host: &Name| {
            let Entry { state, since, begun } = map.get(host)?.clone();
            let until = if matches!(state, State::Starting | State::Restarting) { Instant::now() } else { since };
            Some(Row { host: host.to_string(), state, seconds: (until - begun).as_secs_f64() })
        };
        order.iter().filter_map(row).collect()
    }

    /// A host's state; `None` if it is not known.
    pub(super) fn state(&self, host: &Name) -> Option<State> {
        self.0.borrow().get(host).map(|entry| entry.state.clone())
    }

    /// Waits until all of these let others start. Never returns when one of them does not.
    pub(super) fn wait_for(&self, hosts: Vec<Name>) -> impl Future<Output = ()> + use<> {
        let mut map = self.0.subscribe();
        async move {
            let ready = |map: &BTreeMap<Name, Entry>| {
                hosts.iter().all(|host| map.get(host).is_some_and(|entry| entry.state.lets_others_start()))
            };
            // It can't fail: the board outlives those who wait.
            let _ = map.wait_for(ready).await;
        }
    }

    /// Tells of changes from now on.
    pub(super) fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }
}

/// What has changed on the board.
#[derive(Debug)]
pub(super) struct Changes(watch::Receiver<BTreeMap<Name, Entry>>);

impl Changes {
    /// Waits for the next change. May be cancelled and called again.
    pub(super) async fn next(&mut self) {
        // It can't fail: the board outlives those who watch it.
        let _ = self.0.changed().await;
    }
}
