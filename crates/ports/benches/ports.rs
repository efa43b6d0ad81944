//! What the crate's operations take: the ephemeral allocator by fill and by number of destinations, the port table, the
//! registry. `benches/comparison.rs` sets the allocator beside the kernel's and beside a probing one.

mod workload;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use minato_ports::{BindRequest, EphemeralAllocator, Port, PortRange, PortTable, Selection, Transport, registry};
use workload::{FILLS, Random, destinations, fill};

fn allocator(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("allocate+release");
    for (selection, number) in [(Selection::Uniform, 1), (Selection::Uniform, 10_000), (Selection::Keyed, 1)] {
        for (name, per_myriad) in FILLS {
            let mut random = Random::new(1);
            let mut allocator = EphemeralAllocator::new(PortRange::DYNAMIC, [7; 16]).with_selection(selection);
            let destinations = destinations(number);
            fill(&mut allocator, &destinations, per_myriad, &mut random);
            let mut turn = 0;
            let id = BenchmarkId::new(format!("{selection:?}, destinations: {number}"), name);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    turn = if turn + 1 == destinations.len() { 0 } else { turn + 1 };
                    let destination = destinations[turn];
                    let port = allocator.allocate(destination, random.next()).expect("a port is free");
                    black_box(allocator.release(destination, port));
                });
            });
        }
    }
}

fn table(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bind+release");
    for held in [0, 10_000] {
        let mut table: PortTable<u32> = PortTable::new();
        let request = |port| BindRequest::new(Transport::Tcp, "127.0.0.1".parse().expect("an address"), port);
        let free = Port::new(80).expect("not 0");
        for port in PortRange::DYNAMIC.iter().take(held) {
            let _held = table.reserve(request(port), 1).expect("free");
        }
        group.bench_function(BenchmarkId::from_parameter(format!("{held} others")), |bencher| {
            bencher.iter(|| {
                let reservation = table.reserve(request(free), 2).expect("free");
                table.release(reservation)
            });
        });
    }
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry");
    let mut random = Random::new(1);
    group.bench_function("by number", |bencher| {
        bencher.iter(|| registry::lookup(random.next() as u16, Transport::Tcp));
    });
    let names: Vec<_> = registry::services().map(|service| service.name()).collect();
    group.bench_function("by name", |bencher| {
        bencher.iter(|| registry::lookup_name(names[random.next() as usize % names.len()]).next());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600));
    targets = allocator, table, lookup
}
criterion_main!(benches);
