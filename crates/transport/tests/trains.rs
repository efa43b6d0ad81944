//! Datagrams that go over the link as one frame, and come out of it as they went in.

mod common;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::{Delivery, Pair, Trouble, config, far, host};
use minato_transport::Stack;
use proptest::prelude::*;

const V6: &str = "[fd00::2]:9";
const V6_FAR: &str = "[2001:db8::7]:9";

fn warmed(segmentation: bool) -> Pair {
    let mut configs = [config(1, true), config(2, true)];
    configs.iter_mut().for_each(|config| config.datagram_segmentation = segmentation);
    let [one, other] = configs;
    let mut pair = Pair::with(one, other, Trouble::NONE, 1);
    for (source, destination) in [(SocketAddr::new(host(), 9), far(9)), (parse(V6), parse(V6_FAR))] {
        pair.stacks[0].send_datagram(pair.now, source, destination, b"who is there").expect("room");
    }
    pair.run_for(Duration::from_millis(1));
    assert!(all(&mut pair.stacks[1]).len() == 2);
    pair.frames = [0; 2];
    pair
}

fn parse(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn all(stack: &mut Stack) -> Vec<(SocketAddr, Vec<u8>)> {
    let next = || stack.poll_datagram().map(|datagram| (datagram.source, datagram.payload.to_vec()));
    std::iter::from_fn(next).collect()
}

fn send(pair: &mut Pair, payload: &[u8]) {
    pair.stacks[0].send_datagram(pair.now, SocketAddr::new(host(), 9), far(9), payload).expect("room");
}

fn arrive(pair: &mut Pair) -> Vec<usize> {
    pair.run_for(Duration::from_millis(1));
    all(&mut pair.stacks[1]).into_iter().map(|(_, payload)| payload.len()).collect()
}

#[test]
fn equal_datagrams_share_a_frame_where_the_link_cuts_them() {
    for (segmentation, frames) in [(true, 3), (false, 101)] {
        let mut pair = warmed(segmentation);
        (0..100).for_each(|_| send(&mut pair, &[7; 1400]));
        send(&mut pair, &[7; 3]);
        let mut expected = vec![1400; 100];
        expected.push(3);
        assert_eq!(arrive(&mut pair), expected);
        assert_eq!(pair.frames[0], frames, "64 KiB each at most");
    }
}

#[test]
fn empty_and_fragmented_datagrams_keep_their_place() {
    let mut pair = warmed(true);
    let sizes = [5, 5, 0, 0, 5, 4000, 5, 5, 4000, 4000, 1472, 1472, 1473, 1, 65_507, 5];
    sizes.iter().for_each(|size| send(&mut pair, &vec![1; *size]));
    let arrived = arrive(&mut pair);
    // One in fragments is complete only when its last one is there, but none overtakes it.
    assert_eq!(arrived, sizes);
}

#[test]
fn a_frame_of_datagrams_is_cut_also_for_bound_sockets_and_in_parts() {
    for delivery in [Delivery::Lent, Delivery::Shared, Delivery::Parts] {
        let mut pair = warmed(true);
        pair.delivery = delivery;
        let own = SocketAddr::new(common::router(), 53);
        let socket = pair.stacks[1].bind_datagram(own, 0).expect("free");
        (0..10).for_each(|_| {
            pair.stacks[0].send_datagram(pair.now, SocketAddr::new(host(), 9), own, &[7; 1000]).expect("room");
        });
        pair.run_for(Duration::from_millis(1));
        let mut count = 0;
        while let Some(datagram) = pair.stacks[1].receive_bound(socket) {
            assert_eq!(datagram.payload, [7; 1000]);
            count += 1;
        }
        assert_eq!((count, pair.frames[0]), (10, 1), "{delivery:?}");
    }
}

#[test]
fn nothing_is_put_together_beyond_the_limit() {
    let mut config = config(1, true);
    config.limits.outgoing_bytes = 20_000;
    let mut pair = Pair::with(config, common::config(2, true), Trouble::NONE, 1);
    send(&mut pair, &[]);
    pair.run_for(Duration::from_millis(1));
    let sent =
        |_: &usize| pair.stacks[0].send_datagram(pair.now, SocketAddr::new(host(), 9), far(9), &[1; 1000]).is_ok();
    let count = (0..100).filter(sent).count();
    assert!((18..20).contains(&count), "{count} of 1,000 bytes");
    assert_eq!(pair.stacks[0].statistics().limited, 100 - count as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn each_flow_arrives_in_order_and_whole(
        datagrams in proptest::collection::vec(
            (0_u16..4, prop_oneof![Just(0), Just(1200_usize), Just(1400), 0..100_usize, 1400..3000_usize]), 1..300),
    ) {
        let mut pair = warmed(true);
        let mut sent: HashMap<SocketAddr, Vec<Vec<u8>>> = HashMap::new();
        for (number, (flow, size)) in datagrams.iter().enumerate() {
            let (source, destination) = match flow {
                0 => (parse(V6), parse(V6_FAR)),
                _ => (SocketAddr::new(host(), 100 + flow), far(9)),
            };
            let payload = vec![number as u8; *size];
            pair.stacks[0].send_datagram(pair.now, source, destination, &payload).expect("room");
            sent.entry(source).or_default().push(payload);
        }
        pair.run_for(Duration::from_millis(1));
        let mut arrived: HashMap<SocketAddr, Vec<Vec<u8>>> = HashMap::new();
        for (source, payload) in all(&mut pair.stacks[1]) {
            arrived.entry(source).or_default().push(payload);
        }
        prop_assert_eq!(arrived, sent);
    }
}
