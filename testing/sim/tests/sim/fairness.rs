//! Flows that share a bottleneck.

use std::fmt::Write;
use std::time::Duration;

use minato_sim::{HostConfig, LinkConfig, Medium, Opening, Step, World, jain, seed};
use minato_transport::tcp::CongestionControl;

use super::scenario::*;

/// Shares of two flows, the second of which begins later, between 20 s and 60 s.
struct Shares {
    rates: [f64; 2],
    jain: f64,
    /// Both together, of what the link can carry.
    utilization: f64,
}

const BANDWIDTH: u64 = 10_000_000;

fn measure(congestion: CongestionControl, ecn: bool) -> Shares {
    let mut world = World::new(seed(4001));
    let hosts = [1, 2, 3, 4].map(|number| {
        let mut config = HostConfig::new(number, Medium::IP);
        config.tcp.options.congestion = congestion;
        config.tcp.ecn = ecn;
        config
    });
    let bottleneck = LinkConfig {
        queue: 60_000,
        ecn_threshold: ecn.then_some(20_000),
        jitter: Duration::from_micros(100),
        ..LinkConfig::new(BANDWIDTH, 20 * MILLISECOND)
    };
    let (senders, receivers, _) = dumbbell(&mut world, hosts, &bottleneck);
    let begins = [Duration::ZERO, 3 * SECOND];
    for ((sender, receiver), (at, number)) in senders.into_iter().zip(receivers).zip(begins.into_iter().zip([3, 4])) {
        let to = format!("10.0.0.{number}:80").parse().unwrap();
        world.listen(receiver, to, &sink());
        world.open(at, sender, Opening::new(to, &[Step::Send(u64::MAX / 2)]));
    }
    let report = world.run_until(60 * SECOND);
    let rates = receivers.map(|host| report.of_host(host).next().unwrap().rate(20 * SECOND, 60 * SECOND));
    let ideal = BANDWIDTH as f64 * report.flows[0].segment_size as f64 / 1500.0;
    Shares { rates, jain: jain(&rates), utilization: rates.iter().sum::<f64>() / ideal }
}

#[test]
fn two_flows_share_a_bottleneck() {
    let mut table = "two flows at 10 Mbit/s, round trip 40 ms   Mbit/s           Jain   utilization\n".to_owned();
    for congestion in [CongestionControl::Cubic, CongestionControl::NewReno] {
        for ecn in [false, true] {
            let Shares { rates: [one, other], jain, utilization } = measure(congestion, ecn);
            let name = format!("{congestion:?}{}", if ecn { ", ECN" } else { "" });
            let [one, other] = [one, other].map(|rate| rate / 1e6);
            writeln!(table, "{name:<41} {one:>7.2} {other:>7.2} {jain:>7.3} {utilization:>13.3}").unwrap();
            assert!(jain >= 0.95 && utilization > 0.9, "{table}");
        }
    }
    insta::assert_snapshot!(table);
}
