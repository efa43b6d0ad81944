//! Stack to stack in memory on one core, ours and smoltcp's in the same run, with ratios:
//! `cargo bench -p minato-transport --bench compare`.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures and prints"
)]

mod ours;
mod theirs;

use std::time::{Duration, Instant};

use ours::Ours;
use theirs::Theirs;

const BULK: usize = 256 << 20;
const SOCKETS: u64 = 10_000;

/// Sizes of the bulk rows' buffers: which is best depends on the processor's caches, and each stack has its own.
const BUFFERS: [usize; 4] = [64 << 10, 128 << 10, 256 << 10, 1 << 20];

/// How much an application writes at once.
pub(crate) const PIECE: usize = 64 << 10;

/// The rest of the rows have buffers that are never full.
const BUFFER: usize = 1 << 20;

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Units per second: the best of some rounds of `act`, which does `units`.
fn rate(units: f64, mut act: impl FnMut(u8)) -> f64 {
    let mut best: f64 = 0.0;
    let begin = now();
    let mut rounds: u8 = 0;
    while rounds < 3 || (begin.elapsed() < Duration::from_secs(1) && rounds < 50) {
        let start = now();
        act(rounds);
        best = best.max(units / start.elapsed().as_secs_f64());
        rounds += 1;
    }
    best
}

/// The best rate with any size of buffers.
fn best(act: impl FnMut(usize) -> f64) -> f64 {
    BUFFERS.into_iter().map(act).fold(0.0, f64::max)
}

fn print(what: &str, unit: &str, ours: f64, theirs: f64) {
    println!("{what:44} {ours:12.2} {theirs:12.2}  {unit:14} {:7.1}×", ours / theirs);
}

/// Whether all bytes have this value: what an application does that looks at each.
pub(crate) fn is_all(bytes: &[u8], value: u8) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let whole = u64::from_ne_bytes([value; 8]);
    let differences = words.iter().fold(0, |sum, word| sum | (u64::from_ne_bytes(*word) ^ whole));
    differences == 0 && rest.iter().all(|byte| *byte == value)
}

fn main() {
    if let Some(what) = std::env::var_os("MINATO_PROFILE") {
        return profile(&what.to_string_lossy());
    }
    println!("{:44} {:>12} {:>12}", "", "minato", "smoltcp");
    let bytes = BULK as f64 / 1e9;
    for (name, offload) in [("checksums in software", false), ("offloads", true)] {
        let their_rate = best(|buffer| {
            let mut theirs = Theirs::new(offload, buffer);
            let pair = theirs.connect();
            rate(bytes, |turn| theirs.bulk(pair, BULK, turn))
        });
        for (way, shares) in [("copied", false), ("not copied", true)] {
            let our_rate = best(|buffer| {
                let mut ours = Ours::new(offload, buffer, shares);
                let pair = ours.connect(1);
                rate(bytes, |turn| ours.bulk(pair, BULK, turn))
            });
            print(&format!("bulk, MTU 1500, {name}, {way}"), "GB/s", our_rate, their_rate);
        }
    }
    let (mut ours, mut theirs) = (Ours::new(false, BUFFER, false), Theirs::new(false, 8192));
    let (our_pair, their_pair) = (ours.connect(1), theirs.connect());
    let repeat = |act: &mut dyn FnMut()| (0..10_000).for_each(|_| act());
    let our_rate = rate(10_000.0, |_| repeat(&mut || ours.message(our_pair)));
    let their_rate = rate(10_000.0, |_| repeat(&mut || theirs.message(their_pair)));
    print("64-byte messages there and back", "/s", our_rate, their_rate);

    let (mut ours, mut theirs) = (Ours::new(false, BUFFER, false), Theirs::new(false, 8192));
    let mut number = 0;
    let our_rate = rate(10_000.0, |_| {
        repeat(&mut || {
            number = (number + 1) % 60_000;
            ours.short(number);
        });
    });
    assert!(ours.is_empty(), "every connection ended in order");
    let their_rate = rate(10_000.0, |_| repeat(&mut || theirs.short()));
    print("connect, message each way, close", "/s", our_rate, their_rate);

    let (mut ours, mut theirs) = (Ours::new(false, BUFFER, false), Theirs::new(false, 256));
    let pairs: Vec<_> = (0..SOCKETS).map(|number| ours.connect(number)).collect();
    let mut turn = 0;
    let our_rate = rate(10_000.0, |_| {
        repeat(&mut || {
            turn = (turn + 7919) % pairs.len();
            ours.message(pairs[turn]);
        });
    });
    let pairs: Vec<_> = (0..SOCKETS).map(|_| theirs.connect()).collect();
    let their_rate = rate(20.0, |_| {
        for _ in 0..20 {
            turn = (turn + 7919) % pairs.len();
            theirs.message(pairs[turn]);
        }
    });
    print("the same with 10,000 connections open", "/s", our_rate, their_rate);
    println!("bytes per idle connection: {}", idle_bytes());
}

/// One side of one row so many times, for a profiler: `MINATO_PROFILE=ours:messages:10000`. With `valgrind --tool=callgrind`
/// the difference between two counts is exact, also on a busy machine.
fn profile(what: &str) {
    let mut parts = what.split(':');
    let (side, row) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let rounds = parts.next().and_then(|count| count.parse().ok()).unwrap_or(1000);
    let offload = row.starts_with("offload");
    let shares = row.ends_with("-shared");
    if side == "theirs" {
        let mut theirs = Theirs::new(offload, if row == "messages" || row == "short" { 8192 } else { 1 << 20 });
        let pair = theirs.connect();
        (0..rounds).for_each(|_| match row {
            "messages" => theirs.message(pair),
            "short" => theirs.short(),
            _ => theirs.bulk(pair, 1 << 20, 1),
        });
    } else {
        let mut ours = Ours::new(offload, BUFFER, shares);
        let pair = ours.connect(1);
        (0..rounds).for_each(|round| match row {
            "messages" => ours.message(pair),
            "short" => ours.short(10 + round % 60_000),
            _ => ours.bulk(pair, 1 << 20, 1),
        });
    }
}

/// What 20,000 more idle connections add to the resident memory, per end of a connection.
fn idle_bytes() -> usize {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        status.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
    };
    let mut ours = Ours::new(false, BUFFER, false);
    let first = ours.connect(0);
    ours.message(first);
    let before = resident();
    for number in 1..=20_000 {
        let pair = ours.connect(number);
        ours.message(pair);
    }
    ours.rest();
    (resident() - before) / 40_000
}
