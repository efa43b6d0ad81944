//! Transfers whose every byte is compared, over every kind of link.

use std::time::Duration;

use minato_sim::{HostConfig, LinkConfig, Medium, Opening, Step, Trace, World};
use minato_transport::tcp::CongestionControl;

use super::scenario::*;

const LENGTH: u64 = 1_000_000;

#[test]
fn uploads_arrive_whole_over_every_link() {
    for (seed, link) in seeded_links(1) {
        play(seed, hosts(Medium::IP), &link, server(), &upload(LENGTH), &sink());
    }
}

#[test]
fn both_directions_at_once_over_every_link_by_ipv6() {
    for (seed, link) in seeded_links(101) {
        play(seed, hosts(Medium::ETHERNET), &link, server_v6(), &exchange(LENGTH / 2), &exchange(LENGTH / 2));
    }
}

/// A stack without SACK, timestamps and CUBIC must survive the same, and so must one that talks to it.
#[test]
fn without_options_over_every_link() {
    let plain = |mut config: HostConfig| {
        config.tcp.sack = false;
        config.tcp.timestamps = false;
        config.tcp.options.congestion = CongestionControl::NewReno;
        config.tcp.ecn = false;
        config
    };
    for (seed, link) in seeded_links(201) {
        let [one, two] = hosts(Medium::IP);
        play(seed, [plain(one), two], &link, server(), &upload(LENGTH / 2), &sink());
        let [one, two] = hosts(Medium::IP);
        play(seed, [plain(one), plain(two)], &link, server(), &upload(LENGTH / 2), &sink());
    }
}

/// Segments larger than the MTU, with checksums left to the far end.
#[test]
fn transfers_with_offloads() {
    for ethernet in [false, true] {
        for (seed, link) in seeded_links(301) {
            // Nothing finds a flipped bit where nothing computes a checksum.
            if link.corrupt == 0.0 {
                let link = LinkConfig { queue: link.queue.max(150_000), ..link };
                let medium = Medium { ethernet, virtio: true };
                play(seed, hosts(medium), &link, server(), &exchange(LENGTH), &exchange(LENGTH));
            }
        }
    }
}

#[test]
fn requests_and_responses_over_every_link() {
    let ask: Vec<_> = [Step::Send(200), Step::Receive(3_000)].repeat(50);
    let answer: Vec<_> = [Step::Receive(200), Step::Send(3_000)].repeat(50);
    let end = [Step::Shutdown, Step::ReceiveEnd];
    for (seed, link) in seeded_links(401) {
        let (ask, answer) = ([&ask[..], &end].concat(), [&answer[..], &end].concat());
        play(seed, hosts(Medium::IP), &link, server(), &ask, &answer);
    }
}

/// The engine's way to take connections.
#[test]
fn transfers_to_any_destination() {
    for (seed, link) in seeded_links(501) {
        let [one, mut two] = hosts(Medium::ETHERNET);
        two.any_destination = true;
        let (mut world, [one, two], _) = World::pair(minato_sim::seed(seed), [one, two], &link);
        world.accept_any(two, &exchange(LENGTH / 4));
        world.open(Duration::ZERO, one, Opening::new(server(), &exchange(LENGTH / 4)));
        world.run().assert_complete();
        world.settle();
    }
}

#[test]
fn the_same_seed_gives_the_same_run_to_the_last_packet() {
    let (_, link) = links().pop().unwrap();
    let trace = |seed| {
        let (mut world, [one, two], _) = World::pair(seed, hosts(Medium::ETHERNET), &link);
        world.set_trace(Trace::Lines(Vec::new()));
        world.listen(two, server(), &exchange(50_000));
        world.open(Duration::ZERO, one, Opening::new(server(), &exchange(50_000)));
        world.run();
        world.trace().clone()
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

/// Everybody talks to everybody through two switches, which at first know nobody.
#[test]
fn four_hosts_behind_two_switches() {
    let mut world = World::new(minato_sim::seed(601));
    let numbers = [1, 2, 3, 4];
    let hosts = numbers.map(|number| world.add_host(&HostConfig::new(number, Medium::ETHERNET)));
    let switches = [(); 2].map(|()| world.add_switch());
    for (host, switch) in hosts.into_iter().zip([switches[0], switches[0], switches[1], switches[1]]) {
        world.join(host, switch, LinkConfig::default(), LinkConfig::default());
    }
    world.join(switches[0], switches[1], decent(), decent());
    for (host, number) in hosts.into_iter().zip(numbers) {
        for address in [format!("10.0.0.{number}:80"), format!("[fd00::{number}]:80")] {
            let to = address.parse().unwrap();
            world.listen(host, to, &exchange(LENGTH / 10));
            for other in hosts.into_iter().filter(|other| *other != host) {
                world.open(Duration::ZERO, other, Opening::new(to, &exchange(LENGTH / 10)));
            }
        }
    }
    let report = world.run();
    report.assert_complete();
    assert_eq!(report.flows.len(), 2 * 2 * 4 * 3);
    world.settle();
}
