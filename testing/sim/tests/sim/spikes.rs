//! Paths that hold everything up for a while and lose nothing, as where a radio changes its cell or a machine is paused.

use std::fmt::Write;
use std::time::Duration;

use minato_sim::{LinkConfig, Medium, Opening, World, seed};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::scenario::*;

const LENGTH: u64 = 4_000_000;

/// What an upload showed: how long it took, and how many segments were sent again of which the link lost none.
struct Upload {
    duration: Duration,
    needless: u64,
}

/// An upload over `link` on which, from each of these times on, nothing arrives for so long.
fn upload_through(link: &LinkConfig, spikes: &[(Duration, Duration)], sack: bool, timestamps: bool) -> Upload {
    let hosts = hosts(Medium::IP).map(|mut config| {
        (config.tcp.sack, config.tcp.timestamps) = (sack, timestamps);
        config
    });
    let (mut world, [one, two], [forth, _]) = World::pair(seed(6201), hosts, link);
    for (at, length) in spikes {
        // Order is kept, so what is sent later is as late.
        world.change_link(*at, forth, LinkConfig { delay: link.delay + *length, ..link.clone() });
        world.change_link(*at + 2 * MILLISECOND, forth, link.clone());
    }
    world.listen(two, server(), &sink());
    world.open(Duration::ZERO, one, Opening::new(server(), &upload(LENGTH)));
    let report = world.run();
    report.assert_complete();
    world.settle();
    let (sender, link) = (&report.flows[0], world.link_statistics(forth));
    Upload { duration: sender.duration(), needless: sender.retransmits - link.overflowed }
}

#[test]
fn what_is_late_is_not_sent_again() {
    let mut table =
        "upload of 4 MB at 20 Mbit/s, round trip 20 ms   seconds (segments needlessly sent again)\n".to_owned();
    table += "all late by SACK and timestamps     SACK    timestamps      neither\n";
    for milliseconds in [300, 500, 1000, 3000] {
        write!(table, "{:<12}", format!("{milliseconds} ms")).unwrap();
        let spike = (700 * MILLISECOND, milliseconds * MILLISECOND);
        for (sack, timestamps) in [(true, true), (true, false), (false, true), (false, false)] {
            let Upload { duration, needless } = upload_through(&decent(), &[spike], sack, timestamps);
            write!(table, "{:>14}", format!("{:.2} ({needless})", duration.as_secs_f64())).unwrap();
        }
        table.push('\n');
    }
    insta::assert_snapshot!(table);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(6202),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_timeout_costs_more_than_a_segment(
        first in 20_u64..1_000,
        spikes in prop::collection::vec((10_u64..3_000, 50_u64..1_500), 1..4),
        bandwidth in 2_000_000_u64..50_000_000,
        delay in 1_u32..100,
        sack in any::<bool>(),
    ) {
        // No queue overflows, so that nothing is ever lost.
        let link = LinkConfig { queue: 10_000_000, ..LinkConfig::new(bandwidth, delay * MILLISECOND) };
        let mut at = Duration::from_millis(first);
        // Time runs out at most after 200, 600, 1,400 and 3,000 ms, and the tail is probed once before.
        let mut most = 0;
        let spikes: Vec<_> = spikes.into_iter().map(|(length, pause)| {
            let begin = at;
            let length = Duration::from_millis(length);
            at += length + Duration::from_millis(pause);
            most += 1 + [200, 600, 1400].into_iter().filter(|after| length > *after * MILLISECOND).count() as u64;
            (begin, length)
        }).collect();
        let Upload { needless, .. } = upload_through(&link, &spikes, sack, true);
        prop_assert!(needless <= most, "{needless} > {most}");
    }
}
