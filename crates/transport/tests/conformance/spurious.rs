//! Timeouts of what was late and not lost: RFC 5682, RFC 3522, RFC 4015.

use minato_transport::tcp::{Config, Status};
use smoltcp::wire::{TcpOption, TcpPacket};

use super::script::Script;

/// Ten segments of `size` bytes under way and as many waiting, after a round trip of 100 ms.
fn sending(options: &str, size: u32, change: impl FnOnce(&mut Config)) -> Script {
    let mut script = Script::new(|config| change(&mut config.tcp));
    script.send(&format!("S 0 <mss=1000{options}>"));
    script.take("S.");
    script.quiet(100);
    script.send(&if options.contains("ts=") { ". 1 ack 1 <ts=100/0>".to_owned() } else { ". 1 ack 1".to_owned() });
    script.accept();
    script.write(20 * size as usize);
    for number in 0..10 {
        script.expect(&format!(". {}:{} ack 1", number * size + 1, (number + 1) * size + 1));
    }
    script
}

fn plain() -> Script {
    let mut script = sending("", 1000, |_| {});
    script.expect_after(300, ". 1:1001 ack 1");
    script
}

/// With SACK the tail is probed first, with new data.
fn selective() -> Script {
    let mut script = sending(",sackOK", 1000, |config| config.sack = true);
    script.expect_after(200, ". 10001:11001 ack 1");
    script.expect_after(300, ". 1:1001 ack 1");
    script
}

fn status(script: &Script) -> Status {
    script.stack.status(script.id()).expect("alive")
}

#[test]
fn late_segments_are_not_sent_again() {
    let mut script = plain();
    script.nothing();
    // RFC 5682 §2.1 (2b): two new segments.
    script.send(". 1 ack 1001");
    script.expect(". 10001:11001 ack 1");
    script.expect(". 11001:12001 ack 1");
    script.nothing();
    // (3b), RFC 4015 §3.2 (5): what arrives lets as much out.
    script.send(". 1 ack 2001");
    script.expect(". 12001:13001 ack 1");
    script.nothing();
    assert_eq!(status(&script).congestion_window, 11_000);
    // In slow start up to where it was.
    script.send(". 1 ack 3001");
    script.expect(". 13001:14001 ack 1");
    script.expect(". 14001:15001 ack 1");
    script.nothing();
    // The second first segment arrives, a duplicate.
    script.send(". 1 ack 15001");
    script.send(". 1 ack 15001");
    for start in (15_001..20_001).step_by(1000) {
        script.take(if start == 19_001 { "P." } else { "." });
    }
    script.send(". 1 ack 20001");
    script.quiet(10_000);
    assert_eq!(status(&script).retransmits, 1);
}

#[test]
fn late_segments_are_not_sent_again_with_sack() {
    let mut script = selective();
    script.send(". 1 ack 1001");
    script.expect(". 11001:12001 ack 1");
    script.expect(". 12001:13001 ack 1");
    script.nothing();
    script.send(". 1 ack 2001");
    script.expect(". 13001:14001 ack 1");
    script.send(". 1 ack 3001");
    script.expect(". 14001:15001 ack 1");
    script.expect(". 15001:16001 ack 1");
    script.nothing();
    script.send(". 1 ack 16001 <sack=1-1001>");
    script.take(".");
    script.take(".");
    script.take(".");
    script.take("P.");
    script.send(". 1 ack 20001");
    script.quiet(10_000);
    assert_eq!(status(&script).retransmits, 1);
}

#[test]
fn a_late_segment_behind_a_gap_is_as_good_a_proof() {
    let mut script = selective();
    // So late that it could answer the second transmission.
    script.quiet(150);
    script.send(". 1 ack 1001");
    script.take(".");
    script.take(".");
    // RFC 5682 §3.1 (3b).
    script.send(". 1 ack 1001 <sack=2001-3001>");
    script.expect(". 13001:14001 ack 1");
    // What was sent before the one that arrived may be lost, but not all that was sent before the timeout.
    script.expect_after(25, ". 1001:2001 ack 1");
    script.send(". 1 ack 5001");
    script.take(".");
    assert_eq!(status(&script).retransmits, 2);
}

#[test]
fn further_timeouts_of_the_first_segment_are_no_proof_of_loss() {
    for mut script in [plain(), selective()] {
        for timeout in 1..4 {
            script.expect_after(300 << timeout, ". 1:1001 ack 1");
        }
        // Large segments are suspected to be what does not pass, wrongly.
        script.expect_after(300 << 4, ". 1:537 ack 1");
        script.send(". 1 ack 1001");
        script.take(".");
        script.take(".");
        script.send(". 1 ack 2001");
        script.take(".");
        script.nothing();
        script.send(". 1 ack 10001");
        script.poll();
        assert_eq!(status(&script).retransmits, 5);
    }
}

#[test]
fn lost_segments_are_sent_again() {
    let mut script = plain();
    script.send(". 1 ack 4001");
    script.expect(". 10001:11001 ack 1");
    script.expect(". 11001:12001 ack 1");
    // RFC 5682 §2.1 (3a): the new segments arrive behind a gap.
    script.send(". 1 ack 4001");
    script.expect(". 4001:5001 ack 1");
    script.nothing();
    assert_eq!(status(&script).congestion_window, 3000);
    script.send(". 1 ack 4001");
    script.send(". 1 ack 5001");
    script.expect(". 5001:6001 ack 1");
    script.expect(". 6001:7001 ack 1");
}

#[test]
fn lost_segments_are_sent_again_with_sack() {
    let mut script = selective();
    script.send(". 1 ack 4001");
    script.expect(". 11001:12001 ack 1");
    script.expect(". 12001:13001 ack 1");
    // RFC 5682 §3.1 (3a): more than was sent before the timeout.
    script.send(". 1 ack 4001 <sack=11001-12001>");
    script.expect(". 4001:5001 ack 1");
    script.expect(". 5001:6001 ack 1");
    script.nothing();
    assert_eq!(status(&script).congestion_window, 3000);
}

#[test]
fn a_duplicate_first_is_a_loss() {
    for (mut script, duplicate) in [(plain(), ". 1 ack 1"), (selective(), ". 1 ack 1 <sack=1001-2001>")] {
        script.send(duplicate);
        script.nothing();
        script.send(". 1 ack 2001");
        // RFC 5682 §2.1 (2a).
        script.expect(". 2001:3001 ack 1");
    }
}

#[test]
fn where_nothing_new_may_go_the_old_does() {
    let mut script = sending("", 1000, |_| {});
    script.send(". 1 ack 1 win 10000");
    script.expect_after(300, ". 1:1001 ack 1");
    script.send(". 1 ack 1001 win 9000");
    script.expect(". 1001:2001 ack 1");
    script.expect(". 2001:3001 ack 1");
    script.nothing();
}

#[test]
fn a_timeout_of_a_recovery_is_a_loss() {
    let mut script = sending("", 1000, |_| {});
    for _ in 0..3 {
        script.send(". 1 ack 1");
    }
    script.expect(". 1:1001 ack 1");
    script.nothing();
    script.expect_after(300, ". 1:1001 ack 1");
    script.send(". 1 ack 1001");
    script.expect(". 1001:2001 ack 1");
}

#[test]
fn congestion_that_is_told_meanwhile_counts() {
    let mut script = Script::new(|config| config.tcp.ecn = true);
    script.send("SEW 0 <mss=1000>");
    script.take("SE.");
    script.send(". 1 ack 1");
    script.accept();
    script.write(20_000);
    for _ in 0..10 {
        script.take(".");
    }
    script.expect_after(200, ". 1:1001 ack 1");
    script.send(". 1 ack 1001");
    script.take("W.");
    script.take(".");
    // RFC 4015 §3.2 (5): it is not sent again, but the window stays small.
    script.send("E. 1 ack 2001");
    script.nothing();
    assert!(status(&script).congestion_window <= 2000, "{:?}", status(&script));
    script.send(". 1 ack 12001");
    script.take(".");
    assert_eq!(status(&script).retransmits, 1);
}

/// With timestamps: what our clock showed when the first segments were sent, and when the first was sent again.
fn stamped(segments: u32) -> (Script, u32, u32) {
    let mut script = Script::new(|config| config.tcp.timestamps = true);
    script.send("S 0 <mss=1000,ts=100/0>");
    script.take("S.");
    script.send(". 1 ack 1 <ts=100/0>");
    script.accept();
    script.write(988 * segments as usize);
    let sent = clock(&script.next_packet().expect("the first"));
    for _ in 1..segments {
        script.next_packet().expect("the others");
    }
    script.quiet(199);
    let mut again = None;
    while again.is_none() {
        script.now = script.stack.poll_timeout().expect("the timer runs").max(script.now);
        script.stack.handle_timeout(script.now);
        again = script.next_packet();
    }
    let again = clock(&again.expect("it goes again"));
    (script, sent, again)
}

/// TSval of a packet.
fn clock(packet: &[u8]) -> u32 {
    let mut rest = TcpPacket::new_unchecked(&packet[20..]).options();
    loop {
        match TcpOption::parse(rest).expect("an option") {
            (_, TcpOption::TimeStamp { tsval, .. }) => return tsval,
            (next, _) => rest = next,
        }
    }
}

#[test]
fn an_answer_to_the_first_transmission_shows_it_at_once() {
    let (mut script, sent, again) = stamped(5);
    assert_eq!(again - sent, 200);
    // RFC 3522 §3.2 (5): there is nothing new to send, and nothing old goes again.
    script.send(&format!(". 1 ack 1977 <ts=101/{sent}>"));
    script.nothing();
    assert_eq!(status(&script).congestion_window, 5 * 988);
    script.send(&format!(". 1 ack 4941 <ts=101/{sent}>"));
    script.write(20 * 988);
    let mut count = 0;
    while script.next_packet().is_some() {
        count += 1;
    }
    assert_eq!(count, 8);
    assert_eq!(status(&script).retransmits, 1);
}

#[test]
fn an_answer_to_the_second_transmission_shows_nothing_when_there_is_a_third() {
    let (mut script, _, again) = stamped(5);
    script.expect_after(400, ". 1:989 ack 1");
    script.send(&format!(". 1 ack 989 <ts=101/{again}>"));
    script.expect(". 989:1977 ack 1");
    script.expect(". 1977:2965 ack 1");
    script.nothing();
}

#[test]
fn an_answer_to_the_second_transmission_shows_nothing() {
    let (mut script, _, again) = stamped(5);
    script.send(&format!(". 1 ack 989 <ts=101/{again}>"));
    script.expect(". 989:1977 ack 1");
    script.expect(". 1977:2965 ack 1");
    script.nothing();
}

/// Retransmissions after the first of ten segments went again, 100 ms after all of them, and is acknowledged 110 ms later by
/// what echoes our clock as it was so many milliseconds before the second transmission.
fn retransmissions_if_echoed(before: u32) -> u64 {
    let mut script = sending(",sackOK,ts=100/0", 988, |config| (config.sack, config.timestamps) = (true, true));
    script.quiet(100);
    for end in [1977, 2965, 3953] {
        script.send(&format!(". 1 ack 1 <ts=101/0,sack=989-{end}>"));
    }
    let again = clock(&script.next_packet().expect("the first goes again"));
    script.poll();
    script.quiet(110);
    script.send(&format!(". 1 ack 3953 <ts=102/{}>", again - before));
    script.poll();
    status(&script).retransmits
}

#[test]
fn what_answers_the_first_transmission_says_nothing_of_what_was_sent_before_the_second() {
    // RFC 8985 §6.2 step 2: by its time it could answer either.
    assert_eq!(retransmissions_if_echoed(100), 1);
    assert_eq!(
        retransmissions_if_echoed(0),
        1 + 1,
        "all that was sent before the second is lost, and sent as room comes"
    );
}

#[test]
fn duplicates_that_are_reported_later_show_it_too() {
    let window_after = |report: &str| {
        let mut script = sending(",sackOK", 1000, |config| config.sack = true);
        script.send(". 1 ack 10001");
        for _ in 0..10 {
            script.next_packet().expect("the others");
        }
        // The tail is probed, and then time runs out.
        script.pass(1000);
        // Both transmissions of the first: that all is there says nothing (RFC 5682 §2.1 (2a)).
        script.send(". 1 ack 20001");
        // RFC 3708: but this does.
        script.send(report);
        script.write(40_000);
        script.poll();
        for ack in (21_001..30_001).step_by(1000) {
            script.send(&format!(". 1 ack {ack}"));
            script.poll();
        }
        status(&script).congestion_window
    };
    // In slow start as before, where the threshold would else be 0.7 of 20 segments (RFC 9438 §4.6).
    assert_eq!(window_after(". 1 ack 20001 <sack=10001-11001>"), 19_000);
    assert!((14_000..15_000).contains(&window_after(". 1 ack 20001")));
}
