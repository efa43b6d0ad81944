//! What a flow achieves over every kind of link.

use std::fmt::Write;

use minato_sim::{LinkConfig, Medium};

use super::scenario::*;

const LENGTH: u64 = 4_000_000;

#[test]
fn rates_over_every_link() {
    let mut table = "upload of 4 MB at 20 Mbit/s, round trip 20 ms   seconds   Mbit/s   retransmits\n".to_owned();
    for ((name, _), (seed, link)) in links().into_iter().zip(seeded_links(6001)) {
        let (report, _, _) = play(seed, hosts(Medium::IP), &link, server(), &upload(LENGTH), &sink());
        let sender = &report.flows[0];
        let seconds = sender.duration().as_secs_f64();
        let rate = LENGTH as f64 * 8.0 / 1e6 / seconds;
        writeln!(table, "{name:<46} {seconds:>8.2} {rate:>8.2} {:>13}", sender.retransmits).unwrap();
    }
    insta::assert_snapshot!(table);
}

/// What RACK takes for lost and duplicate SACKs show to be late is taken back (RFC 9438 §4.9).
#[test]
fn late_packets_are_not_lost_ones() {
    let mut table = "upload of 4 MB at 20 Mbit/s, round trip 20 ms   Mbit/s of five seeds\n".to_owned();
    for (share, milliseconds) in [(0.001, 5), (0.01, 5), (0.05, 5), (0.01, 20), (0.05, 20)] {
        let link = LinkConfig { reorder: share, reorder_delay: MILLISECOND * milliseconds, ..decent() };
        let rates = (6101..6106).map(|seed| {
            let (report, _, _) = play(seed, hosts(Medium::IP), &link, server(), &upload(LENGTH), &sink());
            LENGTH as f64 * 8.0 / 1e6 / report.flows[0].duration().as_secs_f64()
        });
        let rates: Vec<f64> = rates.collect();
        write!(table, "{:<46}", format!("{} % late by up to {milliseconds} ms", share * 100.0)).unwrap();
        rates.iter().for_each(|rate| write!(table, "{rate:>7.2}").unwrap());
        table.push('\n');
        assert!(rates.iter().sum::<f64>() / 5.0 > 13.0, "{table}");
    }
    insta::assert_snapshot!(table);
}
