//! What the tests share: hosts, addresses, scripts and kinds of links.

use std::net::SocketAddr;
use std::time::Duration;

use minato_sim::{HostConfig, LinkConfig, LinkId, Loss, Medium, NodeId, Opening, Report, Step, World, seed};

pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Where host 2 listens.
pub(crate) fn server() -> SocketAddr {
    "10.0.0.2:80".parse().unwrap()
}

/// The same host by its IPv6 address.
pub(crate) fn server_v6() -> SocketAddr {
    "[fd00::2]:80".parse().unwrap()
}

/// Sends and waits for the end of the answer, which may be empty.
pub(crate) fn upload(bytes: u64) -> Vec<Step> {
    vec![Step::Send(bytes), Step::Shutdown, Step::ReceiveEnd]
}

/// Reads to the end, then ends.
pub(crate) fn sink() -> Vec<Step> {
    vec![Step::ReceiveEnd, Step::Shutdown]
}

/// As much both ways at once.
pub(crate) fn exchange(bytes: u64) -> Vec<Step> {
    vec![Step::Exchange { send: bytes, receive: bytes }, Step::Shutdown, Step::ReceiveEnd]
}

/// Hosts 1 and 2.
pub(crate) fn hosts(medium: Medium) -> [HostConfig; 2] {
    [1, 2].map(|number| HostConfig::new(number, medium))
}

/// 20 Mbit/s with a round trip of 20 ms and a queue of 100 ms.
pub(crate) fn decent() -> LinkConfig {
    LinkConfig::new(20_000_000, 10 * MILLISECOND)
}

/// Every kind of link that transfers must survive, by name.
pub(crate) fn links() -> Vec<(&'static str, LinkConfig)> {
    let lossy = |probability| LinkConfig { loss: Loss::Independent(probability), ..decent() };
    vec![
        ("clean", decent()),
        ("loss 0.1 %", lossy(0.001)),
        ("loss 1 %", lossy(0.01)),
        ("loss 5 %", lossy(0.05)),
        ("bursts of 8, 1 %", LinkConfig { loss: Loss::bursts(0.01, 8.0), ..decent() }),
        ("jitter 5 ms", LinkConfig { jitter: 5 * MILLISECOND, ..decent() }),
        ("reorder 5 %", LinkConfig { reorder: 0.05, reorder_delay: 5 * MILLISECOND, ..decent() }),
        ("duplicate 5 %", LinkConfig { duplicate: 0.05, reorder_delay: 5 * MILLISECOND, ..decent() }),
        ("corrupt 1 %", LinkConfig { corrupt: 0.01, ..decent() }),
        ("queue of 15 kB", LinkConfig { queue: 15_000, ..decent() }),
        ("ECN at 30 kB", LinkConfig { ecn_threshold: Some(30_000), ..decent() }),
        ("all at once", everything()),
    ]
}

/// The same with a seed for each; the last name that is printed is the one that fails.
pub(crate) fn seeded_links(first: u64) -> impl Iterator<Item = (u64, LinkConfig)> {
    (first..).zip(links()).map(|(seed, (name, link))| {
        eprintln!("link: {name}");
        (seed, link)
    })
}

fn everything() -> LinkConfig {
    LinkConfig {
        loss: Loss::bursts(0.01, 3.0),
        jitter: 2 * MILLISECOND,
        reorder: 0.02,
        reorder_delay: 5 * MILLISECOND,
        duplicate: 0.02,
        corrupt: 0.005,
        queue: 60_000,
        ecn_threshold: Some(30_000),
        ..decent()
    }
}

/// One connection from host 1 to `server` on host 2, played to its end and until every trace of it is gone.
pub(crate) fn play(
    default_seed: u64,
    hosts: [HostConfig; 2],
    link: &LinkConfig,
    server: SocketAddr,
    client: &[Step],
    answer: &[Step],
) -> (Report, [LinkId; 2], World) {
    let (mut world, [one, two], links) = World::pair(seed(default_seed), hosts, link);
    world.listen(two, server, answer);
    world.open(Duration::ZERO, one, Opening::new(server, client));
    let report = world.run();
    report.assert_complete();
    world.settle();
    (report, links, world)
}

/// Two pairs of hosts, 1 and 2 to 3 and 4, whose paths share the link from one router to another. Gives senders,
/// receivers and the shared link forth.
pub(crate) fn dumbbell(
    world: &mut World,
    hosts: [HostConfig; 4],
    bottleneck: &LinkConfig,
) -> ([NodeId; 2], [NodeId; 2], LinkId) {
    let [a, b, c, d] = hosts.map(|config| world.add_host(&config));
    let [left, right] = [(); 2].map(|()| world.add_router(false));
    for (host, router) in [(a, left), (b, left), (c, right), (d, right)] {
        world.join(host, router, LinkConfig::default(), LinkConfig::default());
    }
    // Back the queue is of no account: there are only acknowledgements.
    let [forth, _] = world.join(left, right, bottleneck.clone(), LinkConfig { loss: Loss::None, ..bottleneck.clone() });
    ([a, b], [c, d], forth)
}
