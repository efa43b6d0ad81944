//! Who waits for ports to listen, and one look at the network's ports for all of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use minato_inspect::ForwardState;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::file::ReadyPort;

/// Between two looks, at least.
const PAUSE: Duration = Duration::from_millis(30);

/// A port of a host that takes connections.
type Place = (String, ReadyPort);

/// What listened when it was looked.
#[derive(Clone, Debug)]
struct Look {
    began: Instant,
    listening: Arc<HashSet<Place>>,
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
        let all = |look: &Look| ports.iter().all(|port| look.listening.contains(&(host.to_owned(), *port)));
        // A look from before may have seen another host with this name. It can't fail: the sender is ours.
        let _ = seen.wait_for(|look| look.began >= since && all(look)).await;
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

    async fn listening(&self) -> Option<HashSet<Place>> {
        let rows = self.client.ports().await.ok()?;
        let forwards = self.client.forwards().await.ok()?;
        let shut: HashSet<Place> = forwards
            .into_iter()
            .filter(|forward| forward.state == ForwardState::Held)
            .map(|forward| (forward.host, ReadyPort { port: forward.service_port, transport: forward.transport }))
            .collect();
        let listening = rows.into_iter().filter(|row| row.listening);
        let places =
            listening.filter_map(|row| Some((row.host?, ReadyPort { port: row.port, transport: row.transport })));
        Some(places.filter(|place| !shut.contains(place)).collect())
    }
}
