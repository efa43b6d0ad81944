//! How near a lone flow comes to what the link can carry.

use std::fmt::Write;

use minato_sim::{LinkConfig, Medium, seed};

use super::scenario::*;

/// Bits per second of the link.
const BANDWIDTH: f64 = 50e6;

/// Bytes that the link carries in 20 s.
const LENGTH: u64 = 125_000_000;

/// What one upload achieved.
struct Measurement {
    seconds: f64,
    /// Rate of the second half of the transfer, as a share of what the link can carry.
    steady: f64,
    /// What a perfect sender takes, as a share of the time from SYN to the end.
    whole: f64,
    retransmits: u64,
}

/// An upload over a link with a queue of one bandwidth-delay product, at least 64 kB.
fn measure(round_trip: f64) -> Measurement {
    let product = BANDWIDTH / 8.0 * round_trip;
    let delay = SECOND.mul_f64(round_trip / 2.0);
    let link = LinkConfig { queue: product.max(64e3) as usize, ..LinkConfig::new(BANDWIDTH as u64, delay) };
    let (report, _, _) = play(seed(3001), hosts(Medium::IP), &link, server(), &upload(LENGTH), &sink());
    let [sender, receiver] = &report.flows[..] else { panic!("{report}") };
    let seconds = sender.duration().as_secs_f64();
    let payload = sender.segment_size as f64;
    let finished = receiver.finished.unwrap();
    Measurement {
        seconds,
        steady: receiver.rate(finished / 2, finished) / (BANDWIDTH * payload / 1500.0),
        whole: perfect_seconds(round_trip, payload) / seconds,
        retransmits: sender.retransmits,
    }
}

/// A handshake, windows that double from ten segments (RFC 6928) until the link is full, the rest at full rate, and the last
/// acknowledgement.
fn perfect_seconds(round_trip: f64, payload: f64) -> f64 {
    let rate = BANDWIDTH / 8.0 * payload / 1500.0;
    let (mut sent, mut seconds, mut window) = (0.0, 2.0 * round_trip, 10.0 * payload);
    while window < rate * round_trip {
        sent += window;
        seconds += round_trip;
        window *= 2.0;
    }
    seconds + (LENGTH as f64 - sent) / rate
}

#[test]
fn cubic_fills_the_link_whatever_the_round_trip_time() {
    let mut table = "CUBIC alone at 50 Mbit/s, 125 MB   seconds   steady   whole   retransmits\n".to_owned();
    for milliseconds in [1, 10, 50, 100, 200] {
        let Measurement { seconds, steady, whole, retransmits } = measure(f64::from(milliseconds) / 1000.0);
        let name = format!("round trip {milliseconds} ms");
        writeln!(table, "{name:<33} {seconds:>8.2} {steady:>8.3} {whole:>7.3} {retransmits:>13}").unwrap();
        assert!(steady >= 0.95 && whole >= 0.95, "{table}");
    }
    insta::assert_snapshot!(table);
}
