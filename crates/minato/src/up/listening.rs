//! Who waits for ports to listen, and one look at the network's ports for all of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use minato_inspect::{Forward, ForwardState, PortRow};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::file::ReadyPort;
use crate::render;

/// Between two looks, at least.
const PAUSE: Duration = Duration::from_millis(30);

/// The ports that take connections, by host.
type Places = HashMap<String, HashSet<ReadyPort>>;

/// What listened when it was looked.
#[derive(Clone, Debug)]
struct Look {
    began: Instant,
    seen: Arc<Seen>,
}

/// What there was to be seen.
#[derive(Debug, Default)]
struct Seen {
    listening: Places,
    /// Forwards that refuse everybody, because their services are of the other family only.
    refusing: Vec<Forward>,
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
        let nothing = Look { began: Instant::now(), seen: Arc::default() };
        Listening { client, seen: watch::channel(nothing).0, wanted: Notify::new() }
    }

    /// Returns when all of these listen, and what leads to them from the machine is open, unless they listen in the other
    /// family only: nothing that is waited for would open that.
    pub(super) async fn wait(&self, host: &str, ports: &[ReadyPort]) {
        if ports.is_empty() {
            return;
        }
        let mut seen = self.seen.subscribe();
        self.wanted.notify_one();
        let since = Instant::now();
        let all = |look: &Look| {
            look.seen.listening.get(host).is_some_and(|listening| ports.iter().all(|port| listening.contains(port)))
        };
        // A look from before may have seen another host with this name. It can't fail: the sender is ours.
        let _ = seen.wait_for(|look| look.began >= since && all(look)).await;
    }

    /// Those of these ports that did not listen, or to which nothing leads yet, at the last look.
    pub(super) fn missing(&self, host: &str, ports: &[ReadyPort]) -> Vec<ReadyPort> {
        let look = self.seen.borrow();
        let listening = look.seen.listening.get(host);
        ports.iter().filter(|port| listening.is_none_or(|listening| !listening.contains(port))).copied().collect()
    }

    /// What to warn of when these listen: the forwards to the host that refuse everybody all the same. A program may bind one
    /// family a moment after the other, so another look is waited for where there is such a forward.
    pub(super) async fn warnings(&self, host: &str, ports: &[ReadyPort]) -> Vec<String> {
        if ports.is_empty() || self.seen.borrow().seen.warnings(host).is_empty() {
            return Vec::new();
        }
        self.wait(host, ports).await;
        self.seen.borrow().seen.warnings(host)
    }

    /// Looks, for as long as this is polled.
    pub(super) async fn look(&self) {
        loop {
            while self.seen.receiver_count() == 0 {
                self.wanted.notified().await;
            }
            let began = Instant::now();
            if let Some(seen) = self.once().await {
                self.seen.send_replace(Look { began, seen: Arc::new(seen) });
            }
            // A large network takes a while to look through; it shall not be kept busy with that.
            sleep(PAUSE.max(began.elapsed() * 2)).await;
        }
    }

    async fn once(&self) -> Option<Seen> {
        let rows = self.client.ports().await.ok()?;
        Some(Seen::of(rows, self.client.forwards().await.ok()?))
    }
}

impl Seen {
    fn of(rows: Vec<PortRow>, forwards: Vec<Forward>) -> Seen {
        let mut places = Places::new();
        for row in rows.into_iter().filter(|row| row.listening) {
            let Some(host) = row.host else { continue };
            places.entry(host).or_default().insert(ReadyPort { port: row.port, transport: row.transport });
        }
        for forward in forwards.iter().filter(|forward| forward.state == ForwardState::Held) {
            if let Some(listening) = places.get_mut(&forward.host) {
                listening.remove(&ReadyPort { port: forward.service_port, transport: forward.transport });
            }
        }
        let refuses = |forward: &Forward| forward.state == ForwardState::OtherFamily;
        Seen { listening: places, refusing: forwards.into_iter().filter(refuses).collect() }
    }

    fn warnings(&self, host: &str) -> Vec<String> {
        self.refusing.iter().filter(|forward| forward.host == host).map(refuses).collect()
    }
}

/// Says that a forward refuses everybody, and why.
fn refuses(forward: &Forward) -> String {
    let (family, other) = if forward.address.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
    let place = forward.place();
    let transport = render::transport(forward.transport);
    format!(
        "{}: {place}/{transport} refuses everybody: it leads {family} clients to port {}, where only {other} is listened to",
        forward.host, forward.service_port
    )
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::render::samples;

    fn seen(address: &str, state: ForwardState) -> Seen {
        let address: IpAddr = address.parse().expect("an address");
        let row = PortRow { host: Some("web".into()), port: 80, listening: true, ..samples::ports()[1].clone() };
        Seen::of(vec![row], vec![samples::forward(address, 18091, "web", 80, state)])
    }

    #[test]
    fn a_forward_to_the_other_family_is_warned_of_and_not_waited_for() {
        let place = ReadyPort { port: 80, transport: minato_inspect::Transport::Tcp };
        let is_ready = |seen: &Seen| seen.listening["web"].contains(&place);
        for (state, ready, warned) in
            [(ForwardState::Open, true, 0), (ForwardState::Held, false, 0), (ForwardState::OtherFamily, true, 1)]
        {
            let seen = seen("0.0.0.0", state);
            assert_eq!((is_ready(&seen), seen.warnings("web").len()), (ready, warned), "{state:?}");
            assert!(seen.warnings("db").is_empty());
        }
        let told = |address| seen(address, ForwardState::OtherFamily).warnings("web").concat();
        let v4 = told("0.0.0.0");
        assert!(v4.contains("0.0.0.0:18091/tcp refuses") && v4.contains("only IPv6 is listened to"), "{v4}");
        let v6 = told("::");
        assert!(v6.contains("[::]:18091/tcp refuses") && v6.contains("only IPv4 is listened to"), "{v6}");
    }
}
