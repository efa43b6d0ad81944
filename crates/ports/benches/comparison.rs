//! The ephemeral allocator beside the kernel's `bind` to port 0 and beside a probing one (RFC 6056 §3.3.1, algorithm 1),
//! at the same degrees of fill, in one run. Prints nanoseconds for taking a port, for giving it back, and ratios.
#![allow(clippy::print_stdout, reason = "its output is the result")]
#![allow(clippy::disallowed_methods, reason = "it measures time, and the kernel's sockets")]

mod workload;

#[path = "../tests/differential/namespace.rs"]
mod namespace;

use std::collections::HashSet;
use std::fmt;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use minato_ports::{EphemeralAllocator, PortRange};
use rustix::net::{AddressFamily, SocketType, bind};
use siphasher::sip::SipHasher13;
use workload::{FILLS, LATE, Random, destinations, fill, taken};

/// Batches per figure; the fastest counts, since everything else on the machine only adds.
const BATCHES: usize = 10;
/// Ports taken from each destination in a batch: more than the allocator takes to hand at once, so that each batch has
/// all kinds of work in it.
const ROUNDS: usize = 192;

fn main() {
    // Before any thread exists; in a namespace of its own, which has the kernel's ports all to itself.
    let range = PortRange::DYNAMIC;
    let kernel = namespace::prepare().and_then(|_| namespace::enter()).is_ok() && set_kernel_range(range).is_ok();
    println!(
        "ours, ns: allocate + release each by itself = as a pair, then as a pair whose port is taken {LATE} ports ago"
    );
    println!("{:>8} {:>28} {:>28} {:>12}", "fill", "1 destination", "10,000 destinations", "long-lived");
    let mut pairs = Vec::new();
    for (name, per_myriad) in FILLS {
        let [one, many] = [1, 10_000].map(|number| Ours::measure(range, number, per_myriad));
        let long_lived = many.long_lived.map_or("–".to_owned(), |time| format!("{time:.0}"));
        println!("{name:>8} {one:>28} {many:>28} {long_lived:>12}");
        pairs.push(one.pair);
    }
    println!(
        "a bitmap of each of 10,000 destinations takes 20 MB; a read anywhere in so much takes {:.0} ns here",
        random_line()
    );
    println!(
        "taking a port of {range} and giving it back, ns; in brackets: times as long as ours with one destination"
    );
    println!("{:>8} {:>18} {:>18}", "fill", "probing", "kernel bind(0)");
    for ((name, per_myriad), ours) in FILLS.into_iter().zip(pairs) {
        let probing = probing(range, per_myriad);
        let bind = kernel.then(|| kernel_bind(range, per_myriad)).flatten();
        let ratio = |other: f64| format!("{other:.0} ({:.1})", other / ours);
        println!("{name:>8} {:>18} {:>18}", ratio(probing), bind.map_or("–".to_owned(), ratio));
    }
    if !kernel {
        println!("the kernel's figures need a network namespace; run it as root");
    }
}

/// What our allocator takes, in nanoseconds.
struct Ours {
    allocate: f64,
    release: f64,
    pair: f64,
    /// When the port that is given back was taken long ago; `None` where too few are in use.
    long_lived: Option<f64>,
}

impl Ours {
    fn measure(range: PortRange, number: u32, per_myriad: u32) -> Ours {
        let mut random = Random::new(1);
        let mut allocator = EphemeralAllocator::new(range, [7; 16]);
        let destinations = destinations(number);
        let mut late = fill(&mut allocator, &destinations, per_myriad, &mut random);
        let mut turns = (0..destinations.len()).cycle();
        let calls = (ROUNDS * destinations.len()).max(20_000) as u32;
        let pair = fastest(calls, || {
            let destination = destinations[turns.next().expect("it has no end")];
            let port = allocator.allocate(destination, random.next()).expect("a port is free");
            black_box(allocator.release(destination, port));
        });
        // As many at a time as are free, and enough for a time to be read.
        let free = range.length() - taken(range, per_myriad);
        let at_once: Vec<_> =
            destinations.iter().cycle().take(destinations.len().max(free.min(1000) as usize)).collect();
        let [allocate, release] = phases(&mut allocator, &at_once, &mut random);
        let mut places = (0..late.len()).step_by(LATE as usize).cycle();
        let mut round = 0;
        let long_lived = (!late.is_empty()).then(|| {
            fastest(calls, || {
                let place = places.next().expect("it has no end");
                round += usize::from(place == 0);
                let destination = destinations[place / LATE as usize];
                let port = allocator.allocate(destination, random.next()).expect("a port is free");
                let before = std::mem::replace(&mut late[place + round % LATE as usize], port);
                assert!(allocator.release(destination, before));
            })
        });
        Ours { allocate, release, pair, long_lived }
    }
}

impl fmt::Display for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.0} + {:.0} = {:.0}", self.allocate, self.release, self.pair))
    }
}

/// All allocations in a row, then all releases: nanoseconds for one of each, without what reading the time takes.
fn phases(allocator: &mut EphemeralAllocator, at_once: &[&SocketAddr], random: &mut Random) -> [f64; 2] {
    let reading = fastest(20_000, || _ = black_box(Instant::now()));
    let rounds = ROUNDS.max(20_000 / at_once.len());
    let mut ports = Vec::with_capacity(at_once.len());
    let mut batch = || {
        let mut times = [0.0; 2];
        for _ in 0..rounds {
            let start = Instant::now();
            ports.extend(at_once.iter().map(|to| allocator.allocate(**to, random.next()).expect("a port is free")));
            let middle = Instant::now();
            for (to, port) in at_once.iter().zip(ports.drain(..)) {
                black_box(allocator.release(**to, port));
            }
            times[0] += (middle - start).as_nanos() as f64 - reading;
            times[1] += middle.elapsed().as_nanos() as f64 - reading;
        }
        times.map(|time| time / (rounds * at_once.len()) as f64)
    };
    (0..BATCHES)
        .map(|_| batch())
        .fold([f64::INFINITY; 2], |[allocate, release], [one, other]| [allocate.min(one), release.min(other)])
}

/// The fastest batch of `step`, in nanoseconds per call.
fn fastest(calls: u32, mut step: impl FnMut()) -> f64 {
    let batch = |step: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..calls).for_each(|_| step());
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    (0..BATCHES).map(|_| batch(&mut step)).fold(f64::INFINITY, f64::min)
}

/// Reading one cache line anywhere in the bitmaps of 10,000 busy destinations. Each address depends on what was read
/// before: so long would a choice take that reads the bitmap for each port.
fn random_line() -> f64 {
    const LINE: usize = 64;
    let memory = vec![1_u8; 10_000 * 16_384 / 8];
    let mut random = Random::new(1);
    let mut place = 0;
    fastest(20_000, || {
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
    fastest(500, || {
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
