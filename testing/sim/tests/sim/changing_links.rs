//! Paths that change while data flows: slower and faster, longer and shorter, larger and smaller packets, outages.

use std::time::Duration;

use minato_sim::{Bounds, HostConfig, LinkConfig, Loss, Medium, Opening, Step, World};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::scenario::*;

/// A path as it is from some time on.
#[derive(Clone, Debug)]
struct Change {
    at: Duration,
    forth: bool,
    link: LinkConfig,
}

prop_compose! {
    fn change()(
        at in 0_u64..4_000,
        forth in any::<bool>(),
        bandwidth in 500_000_u64..50_000_000,
        delay in 0_u64..150,
        queue in 6_000_usize..200_000,
        ecn_threshold in prop::option::of(0_usize..100_000),
        loss in prop_oneof![Just(0.0), 0.0..0.03],
        outage in prop::bool::weighted(0.1),
        // No link of IPv6 carries less (RFC 8200 §5).
        mtu in prop_oneof![Just(1500_usize), 1280_usize..1500],
    ) -> Change {
        let loss = Loss::Independent(if outage { 1.0 } else { loss });
        let link = LinkConfig {
            queue, ecn_threshold, loss, mtu, ..LinkConfig::new(bandwidth, Duration::from_millis(delay))
        };
        Change { at: Duration::from_millis(at), forth, link }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        rng_seed: RngSeed::Fixed(5002),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn transfers_survive_what_happens_to_their_path(
        seed in any::<u64>(),
        changes in prop::collection::vec(change(), 0..12),
        v6 in any::<bool>(),
        sack in any::<bool>(),
        timestamps in any::<bool>(),
        there in 0_u64..1_000_000,
        back in 0_u64..1_000_000,
    ) {
        let mut world = World::new(seed);
        let [one, two] = hosts(Medium::IP).map(|mut config: HostConfig| {
            config.tcp.sack = sack;
            config.tcp.timestamps = timestamps;
            world.add_host(&config)
        });
        let router = world.add_router(false);
        world.join(one, router, LinkConfig::default(), LinkConfig::default());
        let links = world.join(router, two, decent(), decent());
        for Change { at, forth, link } in changes {
            world.change_link(at, links[usize::from(forth)], link);
        }
        // In the end every path is whole again.
        for link in links {
            world.change_link(5 * SECOND, link, decent());
        }
        world.set_bounds(Bounds { patience: 300 * SECOND, ..Bounds::default() });
        let server = if v6 { server_v6() } else { server() };
        let [client, answer] = [(there, back), (back, there)].map(|(send, receive)| {
            [Step::Exchange { send, receive }, Step::Shutdown, Step::ReceiveEnd]
        });
        world.listen(two, server, &answer);
        world.open(Duration::ZERO, one, Opening::new(server, &client));
        world.run().assert_complete();
        world.settle();
    }
}
