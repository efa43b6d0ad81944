//! What a packet costs with few and with many open flows: `cargo bench -p minato-relay --bench flows`.
//!
//! One exchange is a request of 64 bytes and an answer of 64: four packets for the relay, and four for the guest's stack,
//! which is counted with it.
#![allow(missing_docs, unreachable_pub, reason = "a program that measures")]

#[path = "../tests/world/mod.rs"]
mod world;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use world::World;

fn exchanges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("an exchange with open flows");
    for flows in [10, 10_000, 100_000] {
        let mut world = World::new(flows);
        // Each connection's first bytes are a special case.
        for _ in 0..2 * flows {
            world.exchange(&[1; 64], 64);
        }
        group.bench_function(BenchmarkId::from_parameter(flows), |bencher| {
            bencher.iter(|| world.exchange(&[1; 64], 64));
        });
    }
    group.finish();
}

criterion_group!(benches, exchanges);
criterion_main!(benches);
