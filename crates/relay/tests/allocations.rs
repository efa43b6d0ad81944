//! What a packet costs in memory: nothing, once its connection is open. The shape is held here, the time is measured by
//! `cargo bench -p minato-relay`.
#![allow(missing_docs, unreachable_pub)]

mod world;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use world::World;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FLOWS: usize = 100;
const EXCHANGES: usize = 10_000;

/// One test, so that no other thread allocates meanwhile.
#[test]
fn packets_of_open_connections_take_no_allocation_and_idle_flows_little_memory() {
    let region = Region::new(ALLOCATOR);
    let mut world = World::new(20_000);
    let (held, flows) = (region.change(), 20_000);
    // Both ends of each connection are counted, ours and the guest's.
    let each = (held.bytes_allocated - held.bytes_deallocated) / flows / 2;
    eprintln!("{each} bytes for each end of an idle flow");
    assert!(each <= 2048, "{each} bytes for an idle flow");
    drop(std::mem::replace(&mut world, World::new(FLOWS)));

    for (request, answer) in [(64, 64), (1448, 0), (60_000, 100), (100, 60_000)] {
        let request = vec![1; request];
        for _ in 0..20 * FLOWS {
            world.exchange(&request, answer);
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..EXCHANGES {
            world.exchange(&request, answer);
        }
        let change = region.change();
        let count = change.allocations + change.reallocations;
        eprintln!("{} bytes and {answer} back: {count} allocations in {EXCHANGES} exchanges", request.len());
        // A list that still grows now and then is no cost of a packet.
        assert!(count * 100 <= EXCHANGES, "{count} allocations in {EXCHANGES} exchanges");
    }
    assert!(world.taken > 0);
}
