//! Hostile and broken frames: whatever arrives, nothing panics, memory stays bounded, and connections come to an end.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Pair, Random, Trouble, config, far, host, start};
use minato_transport::{ConnectionId, Event, Stack, Unreachable};

/// Changes a frame in one of the ways that find bugs, and makes the IPv4 header checksum right again.
fn mutate(random: &mut Random, frame: &mut Vec<u8>, headers: usize) {
    for _ in 0..=random.below(3) {
        if frame.is_empty() {
            return;
        }
        let at = random.below(frame.len().min(headers + 100) as u64) as usize;
        match random.below(6) {
            0 => frame[at] ^= 1 << random.below(8),
            1 => frame[at] = random.next() as u8,
            2 => frame[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize],
            3 => frame.truncate(at),
            4 => {
                let extra = random.below(200) as usize;
                frame.extend((0..extra).map(|_| random.next() as u8));
            }
            _ => {
                // Sequence numbers, lengths and windows near the interesting places.
                let delta = [1_u32, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1460, 65_535][random.below(6) as usize];
                if let Some(word) = frame.get_mut(at..at + 4) {
                    let value = u32::from_be_bytes([word[0], word[1], word[2], word[3]]).wrapping_add(delta);
                    word.copy_from_slice(&value.to_be_bytes());
                }
            }
        }
    }
    fix_header_checksum(frame, headers);
}

fn fix_header_checksum(frame: &mut [u8], headers: usize) {
    let Some(ip) = frame.get_mut(headers..headers + 20).filter(|ip| ip[0] == 0x45) else { return };
    ip[10..12].fill(0);
    let mut sum: u32 = ip.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    let sum = !(sum as u16);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Reads, writes, ends connections at random, as a careless caller would.
fn act(pair: &mut Pair, side: usize, alive: &mut Vec<(usize, ConnectionId)>) {
    for event in std::mem::take(&mut pair.events[side]) {
        match event {
            Event::Incoming(incoming) => match pair.random.below(8) {
                0 => pair.stacks[side].refuse_incoming(pair.now, incoming.id),
                1 => pair.stacks[side].unreachable_incoming(pair.now, incoming.id, Unreachable::Host),
                2 => pair.stacks[side].ignore_incoming(incoming.id),
                _ => alive.extend(pair.stacks[side].accept_incoming(pair.now, incoming.id).map(|id| (side, id))),
            },
            Event::Closed(id) => pair.stacks[side].close(pair.now, id),
            Event::Acceptable(listener) => {
                alive.extend(pair.stacks[side].accept(listener).map(|id| (side, id)));
            }
            Event::Echo(request) => pair.stacks[side].echo_unreachable(pair.now, &request, Unreachable::Host),
            _ => {}
        }
    }
    while pair.stacks[side].poll_datagram().is_some() {}
    alive.retain(|(side, id)| pair.stacks[*side].status(*id).is_some());
    for (side, id) in alive.iter().copied() {
        let stack = &mut pair.stacks[side];
        match pair.random.below(40) {
            0 => stack.shutdown(pair.now, id),
            1 if pair.random.below(10) == 0 => stack.close(pair.now, id),
            2 if pair.random.below(20) == 0 => stack.abort(pair.now, id),
            3..20 => {
                let mut buffer = [0; 5000];
                let _ = stack.receive_into(pair.now, id, &mut buffer);
            }
            20..30 => {
                let size = pair.random.below(5000) as usize;
                stack.send(pair.now, id, &vec![1; size]);
            }
            30..33 => {
                let length = stack.send_space(id, 3000).len();
                stack.commit(pair.now, id, length.min(pair.random.below(4000) as usize));
            }
            _ => {}
        }
    }
}

#[test]
fn mutated_frames_do_no_harm() {
    let seeds = std::env::var("MINATO_SEEDS").map_or(40, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        if std::env::var_os("MINATO_VERBOSE").is_some() {
            eprintln!("seed {seed}");
        }
        // With the virtio-net header checksums are trusted, so mutations reach the deepest code.
        let mut pair = Pair::warmed(true, Trouble { loss: 5, ..Trouble::NONE }, seed);
        pair.mutation = Some(|random, frame| mutate(random, frame, 24));
        let listener = pair.stacks[0].listen(SocketAddr::new(host(), 22), 4).expect("free");
        let mut alive = Vec::new();
        for round in 0..300_u16 {
            if round % 10 == 0 {
                let random = pair.random.next();
                alive.extend(pair.stacks[0].connect(pair.now, None, far(80 + round % 3), random).map(|id| (0, id)));
                let v6 = "[2001:db8::1]:443".parse().expect("ok");
                alive.extend(pair.stacks[0].connect(pair.now, None, v6, random).map(|id| (0, id)));
                let source = far(3000 + round);
                let to = SocketAddr::new(host(), 22);
                alive.extend(pair.stacks[1].connect(pair.now, Some(source), to, random).map(|id| (1, id)));
                let size = pair.random.below(8000) as usize;
                let from = SocketAddr::new(host(), 5);
                for _ in 0..=pair.random.below(4) {
                    let _ = pair.stacks[0].send_datagram(pair.now, from, far(5), &vec![0; size]);
                }
            }
            act(&mut pair, 0, &mut alive);
            act(&mut pair, 1, &mut alive);
            let time = Duration::from_micros(50 << pair.random.below(12));
            pair.run_for(time);
        }
        // Peace: everything that is left must come to an end.
        pair.mutation = None;
        pair.trouble = Trouble::NONE;
        for (side, id) in alive {
            pair.stacks[side].close(pair.now, id);
        }
        pair.stacks[0].unlisten(pair.now, listener);
        for _ in 0..30 {
            pair.run_for(Duration::from_secs(60));
            for side in 0..2 {
                act(&mut pair, side, &mut Vec::new());
                let left: Vec<ConnectionId> = pair.stacks[side].connections().collect();
                for id in left {
                    pair.stacks[side].close(pair.now, id);
                }
            }
        }
        for stack in &pair.stacks {
            let statistics = stack.statistics();
            let left = (statistics.connections, statistics.time_wait, statistics.incoming);
            assert_eq!(left, (0, 0, 0), "seed {seed}: {stack:#?}");
        }
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let mut random = Random(5);
    let now = start();
    for virtio in [false, true] {
        let mut stack = Stack::new(now, config(2, virtio));
        for round in 0..200_000_u64 {
            let mut frame: Vec<u8> = (0..random.below(120)).map(|_| random.next() as u8).collect();
            let base = if virtio { 10 } else { 0 };
            // Enough truth to come past the first checks.
            if round % 4 > 0 && frame.len() > base + 34 {
                if virtio {
                    frame[0] = 1;
                    frame[1] = [0, 5][random.below(2) as usize];
                    frame[5] = 0;
                }
                frame[base..base + 6].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
                let kind = [[0x08, 0x00], [0x08, 0x06], [0x86, 0xdd]][random.below(3) as usize];
                frame[base + 12..base + 14].copy_from_slice(&kind);
                let length = (frame.len() - base - 14) as u16;
                if kind == [0x08, 0x00] {
                    frame[base + 14] = 0x45;
                    frame[base + 16..base + 18].copy_from_slice(&length.to_be_bytes());
                    frame[base + 23] = [1, 6, 17][random.below(3) as usize];
                    fix_header_checksum(&mut frame, base + 14);
                } else if kind == [0x86, 0xdd] {
                    frame[base + 14] = 0x60;
                    frame[base + 18..base + 20].copy_from_slice(&length.saturating_sub(40).to_be_bytes());
                    frame[base + 20] = [0, 6, 17, 43, 44, 58, 60][random.below(7) as usize];
                }
            }
            stack.receive(now, &mut frame);
            while stack.poll_event().is_some() {}
            while stack.poll_datagram().is_some() {}
            while stack.poll_transmit(now).is_some() {}
        }
        let statistics = stack.statistics();
        assert!(statistics.incoming <= 16 << 10, "{statistics:?}");
    }
}
