//! Loss: RFC 6298, RFC 5681, RFC 6582, RFC 6675 and RFC 8985.

use minato_transport::tcp::CongestionControl;

use super::script::Script;

/// A round-trip time of 100 ms, and segments that were sent just that long ago.
fn sending(options: &str, segments: u32) -> Script {
    let mut script = Script::new(|config| config.tcp.sack = true);
    script.send(&format!("S 0 <mss=1000{options}>"));
    script.take("S.");
    script.quiet(100);
    script.send(". 1 ack 1");
    script.accept();
    script.write(segments as usize * 1000);
    for number in 0..segments {
        script.take(if number + 1 == segments { "P." } else { "." });
    }
    script.quiet(100);
    script
}

#[test]
fn the_timeout_follows_the_round_trip_and_backs_off() {
    let mut script = Script::established("", |_| {});
    script.write(1);
    script.expect("P. 1:2 ack 1");
    script.quiet(100);
    script.send(". 1 ack 2");
    script.write(10);
    script.expect("P. 2:12 ack 1");
    // SRTT of the handshake (0) and one of 100 ms: 12.5 ms and a margin of four times 25 ms, at least 200 ms.
    script.expect_after(212, "P. 2:12 ack 1");
    script.expect_after(425, "P. 2:12 ack 1");
    script.expect_after(850, "P. 2:12 ack 1");
    // RFC 6298 §5 and Karn: repeated data measures nothing, and until something is measured the timer stays backed off.
    script.send(". 1 ack 12");
    script.write(10);
    script.expect("P. 12:22 ack 1");
    script.quiet(100);
    script.send(". 1 ack 22");
    script.write(10);
    script.expect("P. 22:32 ack 1");
    // Another one of 100 ms: 23 ms, and four times 41 ms are less than 200.
    script.expect_after(223, "P. 22:32 ack 1");
    script.expect_after(446, "P. 22:32 ack 1");
    script.send(". 1 ack 32");
    script.write(10);
    script.expect("P. 32:42 ack 1");
    script.expect_after(893, "P. 32:42 ack 1");
}

#[test]
fn a_path_that_became_slow_is_measured_in_the_end() {
    let mut script = Script::established("", |_| {});
    script.write(1);
    script.expect("P. 1:2 ack 1");
    script.quiet(100);
    script.send(". 1 ack 2");
    let id = script.id();
    // From now on answers take a second, and there is one segment under way at a time.
    for from in (2..52).step_by(10) {
        script.write(10);
        script.expect(&format!("P. {from}:{} ack 1", from + 10));
        script.pass(1000);
        script.send(&format!(". 1 ack {}", from + 10));
    }
    let status = script.stack.status(id).expect("alive");
    assert_eq!(status.retransmits, 3, "two of the first, after 212 and 637 ms, and one of the second, after 850 ms");
    assert!(status.round_trip > Some(std::time::Duration::from_millis(100)), "{status:?}");
}

#[test]
fn after_a_timeout_one_segment_goes_and_slow_start_begins() {
    let mut script = sending("", 8);
    script.expect_after(200, ". 1:1001 ack 1");
    script.nothing();
    script.send(". 1 ack 1001");
    script.expect(". 1001:2001 ack 1");
    script.expect(". 2001:3001 ack 1");
    script.nothing();
    let id = script.id();
    assert_eq!(script.stack.status(id).map(|status| status.retransmits), Some(3));
}

#[test]
fn three_duplicates_repeat_the_first_segment() {
    let mut script = sending("", 8);
    script.send(". 1 ack 1");
    script.send(". 1 ack 1");
    script.nothing();
    script.send(". 1 ack 1");
    script.expect(". 1:1001 ack 1");
    script.nothing();
    // RFC 6582: a partial acknowledgement repeats the next.
    script.send(". 1 ack 3001");
    script.expect(". 3001:4001 ack 1");
    script.send(". 1 ack 8001");
    script.nothing();
}

#[test]
fn acknowledgements_that_change_the_window_are_no_duplicates() {
    let mut script = sending("", 8);
    for window in [60_000, 60_001, 60_002, 60_003] {
        script.send(&format!(". 1 ack 1 win {window}"));
    }
    script.nothing();
}

#[test]
fn three_selective_acknowledgements_repeat_the_gap() {
    let mut script = sending(",sackOK", 8);
    script.send(". 1 ack 1 <sack=1001-2001>");
    script.send(". 1 ack 1 <sack=1001-3001>");
    script.nothing();
    script.send(". 1 ack 1 <sack=1001-4001>");
    script.expect(". 1:1001 ack 1");
    script.nothing();
    script.send(". 1 ack 4001");
    script.nothing();
    let id = script.id();
    assert_eq!(script.stack.status(id).map(|status| status.retransmits), Some(1));
}

#[test]
fn several_gaps_are_repaired_within_one_round_trip() {
    let mut script = sending(",sackOK", 10);
    script.send(". 1 ack 1 <sack=1001-2001>");
    script.send(". 1 ack 1 <sack=3001-4001,nop>");
    script.send(". 1 ack 1 <sack=5001-10001>");
    script.expect(". 1:1001 ack 1");
    script.expect(". 2001:3001 ack 1");
    script.expect(". 4001:5001 ack 1");
    script.nothing();
}

#[test]
fn a_little_reordering_repeats_nothing() {
    let mut script = sending(",sackOK", 3);
    // A quarter of the round-trip time is waited.
    script.send(". 1 ack 1 <sack=1001-2001>");
    script.nothing();
    script.send(". 1 ack 2001");
    script.send(". 1 ack 3001");
    script.quiet(5_000);
}

#[test]
fn a_single_gap_counts_as_loss_after_the_reordering_window() {
    let mut script = sending(",sackOK", 2);
    script.send(". 1 ack 1 <sack=1001-2001>");
    // RFC 8985 §6.2 step 4: a quarter of the least round-trip time.
    script.expect_after(25, ". 1:1001 ack 1");
}

#[test]
fn a_lost_tail_is_probed_before_the_timeout() {
    let mut script = sending(",sackOK", 3);
    // RFC 8985 §7.2: two round-trip times after the last segment.
    script.expect_after(100, "P. 2001:3001 ack 1");
    script.quiet(100);
    // The probe shows that the others are lost: they go without waiting for the timeout, one for each that arrives (RFC 9937
    // §5), of which nothing more may be under way than was.
    script.send(". 1 ack 1 <sack=2001-3001>");
    script.expect(". 1:1001 ack 1");
    script.nothing();
    script.send(". 1 ack 1001 <sack=2001-3001>");
    script.expect(". 1001:2001 ack 1");
}

#[test]
fn in_recovery_half_as_much_is_sent_as_arrives() {
    let mut script = sending(",sackOK", 10);
    let id = script.id();
    script.stack.set_options(script.now, id, |options| options.congestion = CongestionControl::NewReno);
    script.write(20_000);
    script.nothing();
    let mut sent = Vec::new();
    for number in 2..11 {
        script.send(&format!(". 1 ack 1 <sack=1001-{}>", number * 1000 + 1));
        let mut now = 0;
        while script.next_packet().is_some() {
            now += 1;
        }
        sent.push(now);
    }
    // The first retransmission goes at once, and then the window shrinks over a round trip instead of in one step.
    assert!(sent.iter().all(|now| *now <= 1), "{sent:?}");
    assert!((5..=6).contains(&sent.iter().sum::<usize>()), "{sent:?}");
    // In the end it is half of what was under way.
    script.send(". 1 ack 10001");
    assert!(script.stack.status(id).expect("alive").congestion_window <= 6500);
}

#[test]
fn a_lone_segment_gives_the_peers_acknowledgement_time() {
    let mut script = sending(",sackOK", 1);
    // No probe: the timeout of 300 ms comes before two round-trip times and 200 ms.
    script.expect_after(200, "P. 1:1001 ack 1");
}

#[test]
fn what_was_selectively_acknowledged_is_not_trusted_after_a_timeout() {
    let mut script = sending(",sackOK", 4);
    script.expect_after(100, "P. 3001:4001 ack 1");
    script.send(". 1 ack 1 <sack=3001-4001>");
    script.pass(700);
    // RFC 2018 §8: all of it may have to be sent again, also what was reported.
    script.send(". 1 ack 3001");
    script.expect("P. 3001:4001 ack 1");
    script.send(". 1 ack 4001");
    script.quiet(10_000);
}

#[test]
fn what_was_selectively_acknowledged_before_a_timeout_is_no_late_delivery() {
    let mut script = sending(",sackOK", 4);
    script.send(". 1 ack 1 <sack=1001-2001>");
    script.send(". 1 ack 1 <sack=3001-4001+1001-2001>");
    // What is missing is sent again, is lost again, and time runs out.
    script.pass(2000);
    let id = script.id();
    let round_trip = |script: &Script| script.stack.status(id).and_then(|status| status.round_trip);
    let before = round_trip(&script);
    script.send(". 1 ack 1 <sack=1001-2001>");
    assert_eq!(round_trip(&script), before, "it did not arrive just now");
    script.send(". 1 ack 2001");
    script.expect(". 2001:3001 ack 1");
    script.send(". 1 ack 4001");
    script.pass(0);
    script.write(4000);
    for flags in [".", ".", ".", "P."] {
        script.take(flags);
    }
    script.quiet(100);
    script.send(". 1 ack 4001 <sack=5001-6001>");
    script.send(". 1 ack 4001 <sack=5001-7001>");
    script.nothing();
    // RFC 8985 §6.2 step 4: no reordering was seen, so three segments are proof enough.
    script.send(". 1 ack 4001 <sack=5001-8001>");
    script.expect(". 4001:5001 ack 1");
}

#[test]
fn nonsense_in_selective_acknowledgements_is_ignored() {
    let mut script = sending(",sackOK", 4);
    script.send(". 1 ack 1 <sack=5001-9001>");
    script.send(". 1 ack 1 <sack=3001-2001>");
    script.send(". 1 ack 1 <sack=4000000-5000000>");
    script.nothing();
    script.send(". 1 ack 4001");
    script.quiet(5_000);
}
