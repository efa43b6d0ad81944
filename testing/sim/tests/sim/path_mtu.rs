//! Paths whose largest packet changes while data flows.

use std::time::Duration;

use minato_sim::{HostConfig, LinkConfig, Medium, Opening, Report, World, seed};

use super::scenario::*;

/// Uploads over a router whose link to the receiver shrinks after a second.
fn upload_over_shrinking_path(default_seed: u64, v6: bool, mtu: usize, silent: bool) -> Report {
    let mut world = World::new(seed(default_seed));
    let [one, two] = hosts(Medium::IP).map(|config: HostConfig| world.add_host(&config));
    let router = world.add_router(silent);
    world.join(one, router, LinkConfig::default(), LinkConfig::default());
    let [forth, back] = world.join(router, two, decent(), decent());
    for link in [forth, back] {
        world.change_link(SECOND, link, LinkConfig { mtu, ..decent() });
    }
    let to = if v6 { server_v6() } else { server() };
    world.listen(two, to, &sink());
    world.open(Duration::ZERO, one, Opening::new(to, &upload(5_000_000)));
    let report = world.run();
    report.assert_complete();
    report
}

#[test]
fn routers_tell_the_size_of_the_path() {
    for (index, (v6, mtu)) in (2001..).zip([(false, 1400), (false, 576), (true, 1400), (true, 1280)]) {
        let report = upload_over_shrinking_path(index, v6, mtu, false);
        let sender = &report.flows[0];
        assert!(sender.segment_size < mtu, "{sender:?}");
        // 5 MB take 2.1 s at 20 Mbit/s.
        assert!(sender.duration() < 4 * SECOND, "MTU {mtu}: {report}");
    }
}
