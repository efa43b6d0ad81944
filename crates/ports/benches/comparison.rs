//! The ephemeral allocator beside the kernel's `bind` to port 0 and beside a probing one (RFC 6056 §3.3.1, algorithm 1),
//! at the same degrees of fill, in one run. Prints nanoseconds for taking a port and giving it back, and ratios.
#![allow(clippy::print_stdout, reason = "its output is the result")]
#![allow(clippy::disallowed_methods, reason = "it measures time, and the kernel's sockets")]

mod workload;

#[path = "../tests/differential/namespace.rs"]
mod namespace;

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use minato_ports::{EphemeralAllocator, PortRange};
use rustix::net::{AddressFamily, SocketType, bind};
use siphasher::sip::SipHasher13;
use workload::{FILLS, Random, destinations, fill, taken};

/// Batches per figure; the fastest counts, since everything else on the machine only adds.
const BATCHES: usize = 30;

fn main() {
    // Before any thread exists; in a namespace of its own, which has the kernel's ports all to itself.
    let range = PortRange::DYNAMIC;
    let kernel = namespace::prepare().and_then(|_| namespace::enter()).is_ok() && set_kernel_range(range).is_ok();
    println!("taking a port of {range} and giving it back, ns; in brackets: times as long as ours");
    println!("{:>8} {:>8} {:>10} {:>18} {:>18}", "fill", "ours", "ours/10000", "probing", "kernel bind(0)");
    let floor = random_line();
    for (name, per_myriad) in FILLS {
        let ours = allocator(range, 1, per_myriad);
        let many = allocator(range, 10_000, per_myriad);
        let probing = probing(range, per_myriad);
        let bind = kernel.then(|| kernel_bind(range, per_myriad)).flatten();
        let ratio = |other: f64| format!("{other:.0} ({:.1})", other / ours);
        let bind = bind.map_or("–".to_owned(), ratio);
        println!("{name:>8} {ours:8.0} {many:10.0} {:>18} {bind:>18}", ratio(probing));
    }
    println!(
        "10,000 bitmaps take 20 MB; reading one line anywhere in so much memory takes {floor:.0} ns on this machine"
    );
    if !kernel {
        println!("the kernel's figures need a network namespace; run it as root");
    }
}

/// The fastest batch of `step`, in nanoseconds per call.
fn measure(calls: u32, mut step: impl FnMut()) -> f64 {
    let batch = |step: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..calls).for_each(|_| step());
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    (0..BATCHES).map(|_| batch(&mut step)).fold(f64::INFINITY, f64::min)
}

fn allocator(range: PortRange, number: u32, per_myriad: u32) -> f64 {
    let mut random = Random::new(1);
    let mut allocator = EphemeralAllocator::new(range, [7; 16]);
    let destinations = destinations(number);
    fill(&mut allocator, &destinations, per_myriad, &mut random);
    let mut turn = 0;
    measure(20_000, || {
        turn = if turn + 1 == destinations.len() { 0 } else { turn + 1 };
        let port = allocator.allocate(destinations[turn], random.next()).expect("a port is free");
        black_box(allocator.release(destinations[turn], port));
    })
}

/// What a choice among 10,000 busy destinations can't do without: reading one cache line anywhere in their bitmaps. Each
/// address depends on what was read before, as a port's does.
fn random_line() -> f64 {
    const LINE: usize = 64;
    let memory = vec![1_u8; 10_000 * 16_384 / 8];
    let mut random = Random::new(1);
    let mut place = 0;
    measure(20_000, || {
        let line = (random.next() as usize + place) % (memory.len() / LINE);
        place = usize::from(black_box(memory[line * LINE]));
    })
}

/// RFC 6056 §3.3.1: a random port, then one after the other until the table of connections, hashed with the same keyed
/// function, has none with it.
fn probing(range: PortRange, per_myriad: u32) -> f64 {
    let mut random = Random::new(1);
    let destination = destinations(1)[0];
    let mut connections = HashSet::with_hasher(Keyed(SipHasher13::new_with_key(&[7; 16])));
    let mut take = |connections: &mut HashSet<(SocketAddr, u32), Keyed>| {
        let mut candidate = (random.next() % u64::from(range.length())) as u32;
        while !connections.insert((destination, candidate)) {
            candidate = (candidate + 1) % range.length();
        }
        candidate
    };
    (0..taken(range, per_myriad)).for_each(|_| _ = take(&mut connections));
    measure(500, || {
        let port = take(&mut connections);
        connections.remove(&(destination, port));
    })
}

#[derive(Clone)]
struct Keyed(SipHasher13);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        self.0
    }
}

/// `bind(2)` to port 0 and `close(2)`; the sockets are made outside of the measured time.
fn kernel_bind(range: PortRange, per_myriad: u32) -> Option<f64> {
    const CALLS: usize = 20;
    const BATCHES: usize = 3;
    let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let new = || rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).ok();
    // Filled by explicit ports, chosen as we choose: the kernel's own choice takes minutes.
    let mut chosen = EphemeralAllocator::new(range, [7; 16]);
    let mut random = Random::new(1);
    let held: Vec<_> = (0..taken(range, per_myriad)).map(|_| new()).collect::<Option<_>>()?;
    for socket in &held {
        let port = chosen.allocate(any, random.next()).ok()?;
        bind(socket, &SocketAddr::new(any.ip(), port.value())).ok()?;
    }
    let batch = || {
        let sockets: Vec<_> = (0..CALLS).map(|_| new()).collect::<Option<_>>()?;
        let start = Instant::now();
        for socket in sockets {
            bind(&socket, &any).ok()?;
        }
        Some(start.elapsed().as_nanos() as f64 / CALLS as f64)
    };
    (0..BATCHES).map(|_| batch()).try_fold(f64::INFINITY, |fastest, batch| Some(fastest.min(batch?)))
}

/// Makes the kernel take from the same range.
fn set_kernel_range(range: PortRange) -> std::io::Result<()> {
    let text = format!("{} {}", range.first(), range.last());
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", text)
}
