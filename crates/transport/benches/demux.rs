//! The look-up of a segment's connection with many connections: `cargo bench -p minato-transport --bench demux`.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a program that measures")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use minato_transport::{Config, IpCidr, Link, Stack};

/// A stack with this many connections opened, and a duplicate SYN-ACK-less acknowledgement for each of some of them.
fn stack(connections: u32) -> (Stack, Vec<Vec<u8>>) {
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: true }, [3; 16]);
    config.addresses = vec![IpCidr::new([10, 0, 0, 1].into(), 8).expect("a prefix")];
    config.limits.connections = 4 << 20;
    let now = Instant::now();
    let mut stack = Stack::new(now, config);
    let mut frames = Vec::new();
    let step = (connections / 4096).max(1);
    for number in 0..connections {
        let remote = SocketAddr::from(([10, 1, (number >> 14) as u8, (number >> 6) as u8], 1 + (number & 63) as u16));
        let local = SocketAddr::from(([10, 9, 9, 9], 1 + (number % 60_000) as u16));
        stack.connect(now, Some(local), remote, 0).expect("free");
        let syn = stack.poll_transmit(now).expect("a SYN").to_vec();
        if number % step == 0 {
            // Back to the sender, with an acknowledgement that is ignored: a bare RST without ACK.
            let mut answer = syn[..50].to_vec();
            let (source, destination) = (syn[22..26].to_vec(), syn[26..30].to_vec());
            answer[22..26].copy_from_slice(&destination);
            answer[26..30].copy_from_slice(&source);
            answer[30..34].copy_from_slice(&[syn[32], syn[33], syn[30], syn[31]]);
            answer[12..14].copy_from_slice(&40_u16.to_be_bytes());
            answer[42] = 0x50;
            answer[43] = 0x04;
            let sum = {
                answer[20..22].fill(0);
                let sum: u32 =
                    answer[10..30].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
                let sum = (sum & 0xffff) + (sum >> 16);
                !((sum & 0xffff) + (sum >> 16)) as u16
            };
            answer[20..22].copy_from_slice(&sum.to_be_bytes());
            frames.push(answer);
        }
    }
    (stack, frames)
}

fn demux(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive a segment");
    for connections in [1_000, 10_000, 100_000, 1_000_000] {
        let (mut stack, mut frames) = stack(connections);
        let now = Instant::now();
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(connections), |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % frames.len();
                stack.receive(now, black_box(&mut frames[turn]));
                black_box(stack.poll_transmit(now).is_some())
            });
        });
        assert_eq!(stack.statistics().connections, connections as usize, "nothing was reset");
    }
    group.finish();
}

criterion_group!(benches, demux);
criterion_main!(benches);
