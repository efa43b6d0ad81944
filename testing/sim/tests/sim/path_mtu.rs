//! Paths whose largest packet changes while data flows.

use std::time::Duration;

use minato_sim::{HostConfig, LinkConfig, Medium, Opening, Report, Step, World, seed};

use super::scenario::*;

/// Plays `script` over a router whose link to the receiver shrinks after a second and is whole again after a minute.
fn play_over_shrinking_path(default_seed: u64, v6: bool, mtu: usize, silent: bool, script: &[Step]) -> Report {
    let mut world = World::new(seed(default_seed));
    let [one, two] = hosts(Medium::IP).map(|config: HostConfig| world.add_host(&config));
    let router = world.add_router(silent);
    world.join(one, router, LinkConfig::default(), LinkConfig::default());
    let [forth, back] = world.join(router, two, decent(), decent());
    for link in [forth, back] {
        world.change_link(SECOND, link, LinkConfig { mtu, ..decent() });
        world.change_link(60 * SECOND, link, decent());
    }
    let to = if v6 { server_v6() } else { server() };
    world.listen(two, to, &sink());
    world.open(Duration::ZERO, one, Opening::new(to, script));
    let report = world.run();
    report.assert_complete();
    report
}

#[test]
fn routers_tell_the_size_of_the_path() {
    for (index, (v6, mtu)) in (2001..).zip([(false, 1400), (false, 576), (true, 1400), (true, 1280)]) {
        let report = play_over_shrinking_path(index, v6, mtu, false, &upload(5_000_000));
        let sender = &report.flows[0];
        assert!(sender.segment_size < mtu, "{sender:?}");
        // 5 MB take 2.1 s at 20 Mbit/s.
        assert!(sender.duration() < 4 * SECOND, "MTU {mtu}: {report}");
    }
}

/// RFC 4821: a path that swallows large packets is found out by what is lost.
#[test]
fn silent_routers_are_found_out() {
    for (index, (v6, mtu, most)) in (2101..).zip([(false, 1400, 6), (true, 1280, 6), (false, 1000, 14)]) {
        let report = play_over_shrinking_path(index, v6, mtu, true, &upload(5_000_000));
        assert!(report.flows[0].segment_size < mtu, "{report}");
        assert!(report.flows[0].duration() < most * SECOND, "MTU {mtu}: {report}");
    }
}

/// RFC 1191 §6.3, RFC 8201 §5.3.
#[test]
fn after_ten_minutes_large_packets_are_tried_again() {
    for (index, silent) in (2201..).zip([false, true]) {
        let script = [&[Step::Send(4_000_000), Step::Pause(700 * SECOND)], &upload(100_000)[..]].concat();
        let report = play_over_shrinking_path(index, false, 1400, silent, &script);
        assert_eq!(report.flows[0].segment_size, 1448, "{report}");
    }
}
