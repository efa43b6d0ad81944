//! Data that is handed on with its memory instead of being copied.
#![allow(missing_docs)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::direct::{self, at, stack};
use common::{Delivery, Pair, Random, Trouble, config, far, host, pattern, start};
use minato_transport::{Bytes, ConnectionId, Event, Link, ReceiveError, ResetReason, Stack};

/// Two stacks on a link that takes whole packets, and a connection between them.
fn connected(now: std::time::Instant) -> ([Stack; 2], [ConnectionId; 2]) {
    let mut stacks = [stack(now, 1), stack(now, 2)];
    let ends = connect(now, &mut stacks);
    (stacks, ends)
}

/// A connection from the first to the second.
fn connect(now: std::time::Instant, stacks: &mut [Stack; 2]) -> [ConnectionId; 2] {
    let listener = stacks[1].listen(at(2, 80), 1).expect("free");
    let client = stacks[0].connect(now, None, at(2, 80), 7).expect("free");
    while hand_over(now, stacks) {}
    [client, stacks[1].accept(listener).expect("connected")]
}

/// Moves frames in parts, with the memory of what was sent; whether there were any.
fn hand_over(now: std::time::Instant, stacks: &mut [Stack; 2]) -> bool {
    let mut moved = false;
    let [mut one, mut other] = stacks.each_mut();
    for _ in 0..2 {
        while let Some(transmit) = one.poll_transmit(now) {
            other.receive_parts(now, transmit.head, &transmit.shared_body());
            moved = true;
        }
        std::mem::swap(&mut one, &mut other);
    }
    moved
}

#[test]
fn bytes_arrive_in_the_memory_that_they_were_sent_in() {
    let now = start();
    let (mut stacks, [client, server]) = connected(now);
    let data = Bytes::from((0..200_000).map(pattern).collect::<Vec<u8>>());
    let mut rest = data.clone();
    let mut arrived = Vec::new();
    let mut in_place = 0;
    while arrived.len() < data.len() {
        stacks[0].send_bytes(now, client, &mut rest);
        hand_over(now, &mut stacks);
        while let Ok(part) = stacks[1].receive_bytes(now, server) {
            // A short end of a window is copied.
            if part.as_ptr() == data[arrived.len()..].as_ptr() {
                in_place += part.len();
            }
            arrived.extend_from_slice(&part);
        }
    }
    assert!(arrived == data);
    assert!(in_place > data.len() * 9 / 10, "{in_place} bytes");
    assert_eq!(stacks[1].receive_bytes(now, server), Err(ReceiveError::WouldBlock));
    stacks[0].shutdown(now, client);
    while hand_over(now, &mut stacks) {}
    assert_eq!(stacks[1].receive_bytes(now, server), Ok(Bytes::new()));
    // What was acknowledged is not held any more.
    assert!(data.is_unique());
}

#[test]
fn small_pieces_fill_large_segments_as_far_as_they_go() {
    // A frame holds a few pieces of memory only, which together are less than a segment.
    const ROUNDS: usize = 100;
    for mtu in [9000, u16::MAX] {
        let now = start();
        let mut stacks = [1, 2].map(|number| {
            let mut config = direct::config(number);
            config.link = Link::Ip { mtu, virtio: true };
            Stack::new(now, config)
        });
        let [client, server] = connect(now, &mut stacks);
        for _ in 0..ROUNDS {
            assert_eq!(stacks[0].send(now, client, &[1; 9]), 9);
            assert_eq!(stacks[0].send_bytes(now, client, &mut Bytes::from(vec![2; 4096])), 4096);
        }
        let mut arrived = 0;
        while hand_over(now, &mut stacks) {
            while let Ok(part) = stacks[1].receive_bytes(now, server) {
                arrived += part.len();
            }
        }
        // Nothing waits for a timer.
        assert_eq!(arrived, ROUNDS * (9 + 4096), "with an MTU of {mtu}");
    }
}

#[test]
fn no_more_is_taken_than_there_is_room_for() {
    let now = start();
    let (mut stacks, [client, _]) = connected(now);
    let most = stacks[0].config().tcp.options.send_buffer_max;
    let mut data = Bytes::from(vec![1; most + 5000]);
    assert_eq!(stacks[0].send_bytes(now, client, &mut data), most);
    assert_eq!((data.len(), stacks[0].send_bytes(now, client, &mut data)), (5000, 0));
    stacks[0].abort(now, client);
    assert_eq!((stacks[0].send_bytes(now, client, &mut data), data.len()), (0, 5000));
    assert_eq!(stacks[0].receive_bytes(now, client), Err(ReceiveError::Gone));
}

#[test]
fn a_stream_is_whole_however_its_frames_are_handed_over() {
    let trouble = Trouble { delay: Duration::from_millis(3), loss: 20, reorder: 50, duplicate: 20 };
    for virtio in [false, true] {
        for (delivery, seed) in [(Delivery::Shared, 1), (Delivery::Parts, 2), (Delivery::Parts, 3)] {
            let mut pair = Pair::warmed(virtio, trouble, seed);
            pair.delivery = delivery;
            let (client, server) = pair.connect(far(80));
            exchange_bytes(&mut pair, client, server);
        }
    }
}

/// A megabyte in pieces of all sizes, and the FIN after it.
fn exchange_bytes(pair: &mut Pair, client: ConnectionId, server: ConnectionId) {
    const TOTAL: usize = 1 << 20;
    let mut sizes = Random(9);
    let (mut queued, mut got) = (0, 0);
    let mut piece = Bytes::new();
    pair.run_until(Duration::from_secs(600), |pair| {
        while queued < TOTAL {
            if piece.is_empty() {
                let bits = 1 + sizes.below(17);
                let size = (sizes.below(1 << bits) as usize + 1).min(TOTAL - queued);
                piece = (queued..queued + size).map(pattern).collect::<Vec<u8>>().into();
            }
            let count = pair.stacks[0].send_bytes(pair.now, client, &mut piece);
            queued += count;
            if count == 0 {
                break;
            }
        }
        if queued == TOTAL {
            pair.stacks[0].shutdown(pair.now, client);
        }
        while let Ok(part) = pair.stacks[1].receive_bytes(pair.now, server) {
            if part.is_empty() {
                break;
            }
            assert!(part.iter().enumerate().all(|(offset, byte)| *byte == pattern(got + offset)), "after byte {got}");
            got += part.len();
        }
        pair.collect();
        got == TOTAL && pair.stacks[1].is_finished(server)
    });
}

#[test]
fn what_is_for_no_connection_is_joined() {
    for delivery in [Delivery::Shared, Delivery::Parts] {
        let mut pair = Pair::new(false, Trouble::NONE, 4);
        pair.delivery = delivery;
        let source = SocketAddr::new(host(), 9);
        for length in [0, 1, 1000, 5000] {
            let payload: Vec<u8> = (0..length).map(pattern).collect();
            pair.stacks[0].send_datagram(pair.now, source, far(9), &payload).expect("room");
            pair.run_for(Duration::from_millis(1));
            assert_eq!(pair.stacks[1].poll_datagram().expect("it arrived").payload, payload);
        }
        // Data for a connection that its peer has forgotten is reset.
        let (client, server) = pair.connect(far(80));
        pair.stacks[1].abort(pair.now, server);
        while pair.stacks[1].poll_transmit(pair.now).is_some() {}
        assert_eq!(pair.stacks[0].send(pair.now, client, &[1; 1000]), 1000);
        pair.run_for(Duration::from_millis(1));
        assert!(pair.events[0].contains(&Event::Reset(client, ResetReason::ByPeer)));
    }
}

#[test]
fn random_cuts_of_random_frames_do_no_harm() {
    let mut random = Random(11);
    let now = start();
    for virtio in [false, true] {
        let mut stack = Stack::new(now, config(2, virtio));
        for _ in 0..50_000 {
            let mut frame: Vec<u8> = (0..random.below(120)).map(|_| random.next() as u8).collect();
            let base = if virtio { 10 } else { 0 };
            if frame.len() > base + 34 {
                frame[..base].fill(0);
                frame[base..base + 14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00]);
                let ipv6 = random.chance(500);
                frame[base + 13] = if ipv6 { 0xdd } else { 0 };
                frame[base + 12] = if ipv6 { 0x86 } else { 8 };
                frame[base + 14] = if ipv6 { 0x60 } else { 0x45 };
                let length = (frame.len() - base - 14) as u16;
                let (at, length) = if ipv6 { (18, length.saturating_sub(40)) } else { (16, length) };
                frame[base + at..base + at + 2].copy_from_slice(&length.to_be_bytes());
            }
            let cut = random.below(frame.len() as u64 + 1) as usize;
            let mut body = Bytes::from(frame.split_off(cut));
            let second = body.split_off(random.below(body.len() as u64 + 1) as usize);
            stack.receive_parts(now, &frame, &[body, second]);
            while stack.poll_event().is_some() {}
            while stack.poll_datagram().is_some() {}
            while stack.poll_transmit(now).is_some() {}
        }
    }
}
