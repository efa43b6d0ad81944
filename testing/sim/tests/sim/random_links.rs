//! Links that nobody thought of.

use std::time::Duration;

use minato_sim::{Bounds, HostConfig, LinkConfig, Loss, Medium, Opening, Step, World};
use minato_transport::tcp::{self, CongestionControl, SocketOptions};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::scenario::*;

/// Not so bad that seven SYNs in a row get lost, after which it is right to give up.
fn loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::None),
        (0.0..0.15).prop_map(Loss::Independent),
        (0.0..0.1, 1.0..4.0).prop_map(|(share, length)| Loss::bursts(share, length)),
    ]
}

prop_compose! {
    fn link()(
        bandwidth in prop::option::of(100_000_u64..1_000_000_000),
        delay in 0_u64..300_000,
        jitter in prop_oneof![Just(0_u64), 0_u64..50_000],
        queue in 3_000_usize..500_000,
        ecn_threshold in prop::option::of(0_usize..100_000),
        loss in loss(),
        reorder in prop_oneof![Just(0.0), 0.0..0.3],
        reorder_delay in 0_u64..100_000,
        duplicate in prop_oneof![Just(0.0), 0.0..0.3],
        corrupt in prop_oneof![Just(0.0), 0.0..0.1],
    ) -> LinkConfig {
        LinkConfig {
            bandwidth,
            delay: Duration::from_micros(delay),
            jitter: Duration::from_micros(jitter),
            queue,
            ecn_threshold,
            loss,
            reorder,
            reorder_delay: Duration::from_micros(reorder_delay),
            duplicate,
            corrupt,
            ..LinkConfig::default()
        }
    }
}

prop_compose! {
    fn choices()(
        sack in any::<bool>(),
        timestamps in any::<bool>(),
        ecn in any::<bool>(),
        nagle in any::<bool>(),
        cubic in any::<bool>(),
        receive_buffer in 2_000_usize..100_000,
    ) -> tcp::Config {
        let congestion = if cubic { CongestionControl::Cubic } else { CongestionControl::NewReno };
        let options = SocketOptions { nagle, congestion, receive_buffer, ..SocketOptions::default() };
        tcp::Config { options, sack, timestamps, ecn, ..tcp::Config::default() }
    }
}

/// Which end asks, sends more, or closes first must not matter.
fn scripts() -> impl Strategy<Value = [Vec<Step>; 2]> {
    let length = || prop_oneof![0_u64..3, 0_u64..5_000, 0_u64..65_536];
    (length(), length(), 0_u64..2_000, 0..3).prop_map(|(there, back, pause, order)| {
        let pause = Step::Pause(Duration::from_millis(pause));
        let end = [Step::Shutdown, Step::ReceiveEnd];
        let both = |send, receive| [&[Step::Exchange { send, receive }][..], &end].concat();
        match order {
            0 => [both(there, back), both(back, there)],
            1 => [vec![Step::Send(there), Step::Shutdown, pause, Step::ReceiveEnd], {
                vec![Step::ReceiveEnd, Step::Send(back), Step::Shutdown]
            }],
            _ => [vec![Step::ReceiveEnd, Step::Send(there), Step::Shutdown], {
                vec![pause, Step::Send(back), Step::Shutdown, Step::ReceiveEnd]
            }],
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        rng_seed: RngSeed::Fixed(5001),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn small_transfers_survive_every_link(
        seed in any::<u64>(),
        link in link(),
        tcp in [choices(), choices()],
        [client, answer] in scripts(),
        v6 in any::<bool>(),
        ethernet in any::<bool>(),
        virtio in any::<bool>(),
    ) {
        let [one, two] = hosts(Medium { ethernet, virtio });
        // Nothing finds a flipped bit where nothing computes a checksum.
        let link = if virtio { LinkConfig { corrupt: 0.0, ..link } } else { link };
        // On Ethernet three lost questions after a neighbour make it unreachable, rightly.
        let link = if ethernet { LinkConfig { loss: Loss::None, corrupt: 0.0, ..link } } else { link };
        let [first, second] = tcp;
        let hosts = [HostConfig { tcp: first, ..one }, HostConfig { tcp: second, ..two }];
        let (mut world, [one, two], _) = World::pair(seed, hosts, &link);
        // The back-off ends at 120 s, and on the worst of these links several in a row are lost.
        world.set_bounds(Bounds { patience: 900 * SECOND, time: 36_000 * SECOND, ..Bounds::default() });
        let server = if v6 { server_v6() } else { server() };
        world.listen(two, server, &answer);
        world.open(Duration::ZERO, one, Opening::new(server, &client));
        world.run().assert_complete();
        world.settle();
    }
}
