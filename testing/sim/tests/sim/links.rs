//! What a flow achieves over every kind of link.

use std::fmt::Write;

use minato_sim::Medium;

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
