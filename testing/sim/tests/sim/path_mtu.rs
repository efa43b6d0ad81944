//! Paths whose largest packet changes while data flows.

use std::time::Duration;

use minato_sim::{Bounds, HostConfig, LinkConfig, Medium, Opening, Outcome, Report, Step, World, seed};
use minato_transport::ResetReason;
use minato_transport::tcp::PathMtu;

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

/// RFC 4821: a path that swallows large packets is found out by what is lost, and what it takes by probes.
#[test]
fn silent_routers_are_found_out() {
    for (index, (v6, mtu, most)) in
        (2101..).zip([(false, 1400, 10), (true, 1280, 10), (false, 1000, 18), (true, 1450, 10)])
    {
        let report = play_over_shrinking_path(index, v6, mtu, true, &upload(15_000_000));
        assert_near(report.flows[0].segment_size, best(mtu, v6), &report);
        assert!(report.flows[0].duration() < most * SECOND, "MTU {mtu}: {report}");
    }
}

/// What a segment carries on a path, with timestamps.
fn best(mtu: usize, v6: bool) -> usize {
    mtu - if v6 { 60 } else { 40 } - 12
}

#[track_caller]
fn assert_near(segment_size: usize, best: usize, report: &Report) {
    assert!((best - 16..=best).contains(&segment_size), "{segment_size} of {best}: {report}");
}

/// Plays an upload over a router that keeps silent, on a path of `mtu` from the beginning, with this choice of probing.
fn play_over_silent_path(default_seed: u64, mtu: usize, path_mtu: PathMtu, sack: bool) -> Report {
    let mut world = World::new(seed(default_seed));
    let [one, two] = hosts(Medium::IP).map(|mut config: HostConfig| {
        config.tcp.options.path_mtu = path_mtu;
        config.tcp.sack = sack;
        world.add_host(&config)
    });
    let router = world.add_router(true);
    world.join(one, router, LinkConfig::default(), LinkConfig::default());
    world.join(router, two, LinkConfig { mtu, ..decent() }, LinkConfig { mtu, ..decent() });
    world.listen(two, server(), &sink());
    world.open(Duration::ZERO, one, Opening::new(server(), &upload(20_000_000)));
    let report = world.run();
    report.assert_complete();
    report
}

/// RFC 4821 §7: who always probes never waits for a timer, and loses next to nothing: a probe that is lost is sent again, and
/// the congestion window stays.
#[test]
fn probes_find_the_paths_size_without_a_timeout() {
    for (index, mtu) in (2301..).zip([1500, 1499, 1400, 1280, 1064]) {
        let report = play_over_silent_path(index, mtu, PathMtu::Always, true);
        let sender = &report.flows[0];
        assert_near(sender.segment_size, best(mtu, false), &report);
        // 20 MB take 8.4 s at 20 Mbit/s: no timeout is in it, and next to nothing is sent again.
        assert!(sender.duration() < Duration::from_millis(9000), "MTU {mtu}: {report}");
        assert!(sender.retransmits <= 64, "MTU {mtu}: {report}");
    }
    let report = play_over_silent_path(2310, 1400, PathMtu::Always, false);
    assert_near(report.flows[0].segment_size, best(1400, false), &report);
    assert!(report.flows[0].duration() < Duration::from_millis(9000), "{report}");
}

/// With ICMP alone a path that swallows large packets is never found out.
#[test]
fn without_probing_a_silent_router_stops_everything() {
    let mut world = World::new(seed(2401));
    let [one, two] = hosts(Medium::IP).map(|mut config: HostConfig| {
        config.tcp.options.path_mtu = PathMtu::Icmp;
        config.tcp.options.user_timeout = 60 * SECOND;
        world.add_host(&config)
    });
    let router = world.add_router(true);
    world.join(one, router, LinkConfig::default(), LinkConfig::default());
    world.join(router, two, LinkConfig { mtu: 1400, ..decent() }, decent());
    world.set_bounds(Bounds { patience: 1_000 * SECOND, ..Bounds::default() });
    world.listen(two, server(), &[Step::AwaitReset]);
    world.open(Duration::ZERO, one, Opening::new(server(), &[Step::Send(100_000), Step::AwaitReset]));
    let report = world.run();
    assert_eq!(report.flows[0].outcome, Outcome::Reset(ResetReason::TimedOut), "{report}");
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
