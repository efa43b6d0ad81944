//! What both benchmarks use: random numbers, destinations, and allocators filled to a degree.
#![allow(dead_code, reason = "each benchmark uses its part")]

use std::net::{Ipv4Addr, SocketAddr};

use minato_ports::{EphemeralAllocator, Port, PortRange};

/// Degrees of fill, in ten-thousandths of the range.
pub(crate) const FILLS: [(&str, u32); 5] =
    [("0 %", 0), ("50 %", 5000), ("99 %", 9900), ("99.9 %", 9990), ("99.99 %", 9999)];

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

pub(crate) fn destinations(number: u32) -> Vec<SocketAddr> {
    (0..number).map(|index| (Ipv4Addr::from(0x0a00_0000 + index), 443).into()).collect()
}

/// How many ports are taken at a fill; at least one is left.
pub(crate) fn taken(range: PortRange, per_myriad: u32) -> u32 {
    (range.length() * per_myriad / 10_000).min(range.length() - 1)
}

/// Fills all to the same degree, and tells the ports that were taken last, [`LATE`] per destination, if so many are.
pub(crate) fn fill(
    allocator: &mut EphemeralAllocator,
    destinations: &[SocketAddr],
    per_myriad: u32,
    random: &mut Random,
) -> Vec<Port> {
    let used = taken(allocator.range(), per_myriad);
    let mut late = Vec::new();
    for destination in destinations {
        for number in 0..used {
            let port = allocator.allocate(*destination, random.next()).expect("a port is free");
            if used >= LATE && number >= used - LATE {
                late.push(port);
            }
        }
        // The allocator takes several to hand at once, but not towards all destinations at the same time.
        for _ in 0..random.next() % 64 {
            let port = allocator.allocate(*destination, random.next()).expect("a port is free");
            allocator.release(*destination, port);
        }
    }
    late
}

/// How many later ports are taken before one is given back that is in use for long.
pub(crate) const LATE: u32 = 64;
