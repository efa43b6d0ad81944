//! How near a lone flow comes to what the link can carry.

use std::fmt::Write;

use minato_sim::{LinkConfig, Medium, seed};
use minato_transport::tcp::CongestionControl;

use super::scenario::*;

/// An upload over a link that only its own speed limits.
struct Upload {
    bits_per_second: f64,
    round_trip: f64,
    /// Bytes of the link's queue.
    queue: f64,
    bytes: u64,
    congestion: CongestionControl,
    sack: bool,
}

/// What it achieved.
struct Measurement {
    seconds: f64,
    /// Rate of the second half of the transfer, as a share of what the link can carry.
    steady: f64,
    /// What a perfect sender takes, as a share of the time from SYN to the end.
    whole: f64,
    retransmits: u64,
}

impl Upload {
    fn measure(&self) -> Measurement {
        let delay = SECOND.mul_f64(self.round_trip / 2.0);
        let link = LinkConfig { queue: self.queue as usize, ..LinkConfig::new(self.bits_per_second as u64, delay) };
        let hosts = hosts(Medium::IP).map(|mut config| {
            config.tcp.options.congestion = self.congestion;
            config.tcp.sack = self.sack;
            config
        });
        let (report, _, _) = play(seed(3001), hosts, &link, server(), &upload(self.bytes), &sink());
        let [sender, receiver] = &report.flows[..] else { panic!("{report}") };
        let seconds = sender.duration().as_secs_f64();
        let payload = sender.segment_size as f64;
        let finished = receiver.finished.unwrap();
        Measurement {
            seconds,
            steady: receiver.rate(finished / 2, finished) / (self.bits_per_second * payload / 1500.0),
            whole: self.perfect_seconds(payload) / seconds,
            retransmits: sender.retransmits,
        }
    }

    /// A handshake, windows that double from ten segments (RFC 6928) until the link is full, the rest at full rate, and the
    /// last acknowledgement.
    fn perfect_seconds(&self, payload: f64) -> f64 {
        let rate = self.bits_per_second / 8.0 * payload / 1500.0;
        let (mut sent, mut seconds, mut window) = (0.0, 2.0 * self.round_trip, 10.0 * payload);
        while window < rate * self.round_trip {
            sent += window;
            seconds += self.round_trip;
            window *= 2.0;
        }
        seconds + (self.bytes as f64 - sent) / rate
    }
}

#[test]
fn cubic_fills_the_link_whatever_the_round_trip_time() {
    let mut table = "CUBIC alone at 50 Mbit/s, 125 MB   seconds   steady   whole   retransmits\n".to_owned();
    for milliseconds in [1, 10, 50, 100, 200] {
        let (bits_per_second, round_trip) = (50e6, f64::from(milliseconds) / 1000.0);
        // One bandwidth-delay product.
        let queue = f64::max(bits_per_second / 8.0 * round_trip, 64e3);
        let congestion = CongestionControl::Cubic;
        let upload = Upload { bits_per_second, round_trip, queue, bytes: 125_000_000, congestion, sack: true };
        let Measurement { seconds, steady, whole, retransmits } = upload.measure();
        let name = format!("round trip {milliseconds} ms");
        writeln!(table, "{name:<33} {seconds:>8.2} {steady:>8.3} {whole:>7.3} {retransmits:>13}").unwrap();
        assert!(steady >= 0.95 && whole >= 0.95, "{table}");
    }
    insta::assert_snapshot!(table);
}

/// A quarter of the bandwidth-delay product is less than any of them needs to fill the link between two losses.
#[test]
fn a_short_queue_costs_little() {
    let mut table = "4 Mbit/s, short queue, 20 MB   seconds   steady   whole   retransmits\n".to_owned();
    let kinds = [
        ("CUBIC", CongestionControl::Cubic, true, 0.85),
        ("NewReno", CongestionControl::NewReno, true, 0.75),
        ("NewReno, no SACK", CongestionControl::NewReno, false, 0.7),
    ];
    for (name, congestion, sack, least) in kinds {
        for milliseconds in [50, 275] {
            let (bits_per_second, round_trip) = (4e6, f64::from(milliseconds) / 1000.0);
            let queue = f64::max(bits_per_second / 32.0 * round_trip, 15e3);
            let upload = Upload { bits_per_second, round_trip, queue, bytes: 20_000_000, congestion, sack };
            let Measurement { seconds, steady, whole, retransmits } = upload.measure();
            let name = format!("{name}, {milliseconds} ms");
            writeln!(table, "{name:<29} {seconds:>8.2} {steady:>8.3} {whole:>7.3} {retransmits:>13}").unwrap();
            assert!(steady >= least, "{table}");
        }
    }
    insta::assert_snapshot!(table);
}
