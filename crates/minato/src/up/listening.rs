//! Who waits for ports to listen, and one look at the network's ports for all of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use minato_inspect::ForwardState;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::file::ReadyPort;

/// Between two looks, at least.
const PAUSE: Duration = Duration::from_millis(30);

/// The ports that take connections, by host.
type Places = HashMap<String, HashSet<ReadyPort>>;

/// What listened when it was looked.
#[derive(Clone, Debug)]
struct Look {
    began: Instant,
    listening: Arc<Places>,
}

/// Which ports listen, looked at for as long as somebody waits.
#[derive(Debug)]
pub(super) struct Listening {
    client: Client,
    seen: watch::Sender<Look>,
    wanted: Notify,
}

impl Listening {
    pub(super) fn new(client: Client) -> Listening {
        let nothing = Look { began: Instant::now(), listening: Arc::default() };
        Listening { client, seen: watch::channel(nothing).0, wanted: Notify::new() }
    }

    /// Returns when all of these listen, and what leads to them from the machine is open.
    pub(super) async fn wait(&self, host: &str, ports: &[ReadyPort]) {
        if ports.is_empty() {
            return;
        }
        let mut seen = self.seen.subscribe();
        self.wanted.notify_one();
        let since = Instant::now();
        let all = |look: &Look| {
            look.listening.get(host).is_some_and(|listening| ports.iter().all(|port| listening.contains(port)))
        };
        // A look from before may have seen another host with this name. It can't fail: the sender is ours.
        let _ = seen.wait_for(|look| look.began >= since && all(look)).await;
    }

    /// Those of these ports that did not listen, or to which nothing leads yet, at the last look.
    pub(super) fn missing(&self, host: &str, ports: &[ReadyPort]) -> Vec<ReadyPort> {
        let look = self.seen.borrow();
        let listening = look.listening.get(host);
        ports.iter().filter(|port| listening.is_none_or(|listening| !listening.contains(port))).copied().collect()
    }

    /// Looks, for as long as this is polled.
    pub(super) async fn look(&self) {
        loop {
            while self.seen.receiver_count() == 0 {
                self.wanted.notified().await;
            }
            let began = Instant::now();
            if let Some(listening) = self.listening().await {
                self.seen.send_replace(Look { began, listening: Arc::new(listening) });
            }
            // A large network takes a while to look through; it shall not be kept busy with that.
            sleep(PAUSE.max(began.elapsed() * 2)).await;
        }
    }

    async fn listening(&self) -> Option<Places> {
        let rows = self.client.ports().await.ok()?;
        let forwards = self.client.forwards().await.ok()?;
        let mut places = Places::new();
        for row in rows.into_iter().filter(|row| row.listening) {
            let Some(host) = row.host else { continue };
            places.entry(host).or_default().insert(ReadyPort { port: row.port, transport: row.transport });
        }
        for forward in forwards.into_iter().filter(|forward| forward.state == ForwardState::Held) {
            if let Some(listening) = places.get_mut(&forward.host) {
                listening.remove(&ReadyPort { port: forward.service_port, transport: forward.transport });
            }
        }
        Some(places)
    }
}
