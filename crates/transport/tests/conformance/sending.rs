//! Sending: windows, Nagle, silly windows, probes, keep-alive (RFC 9293 §3.7.4, §3.8), initial window (RFC 6928), ECN.

use std::time::Duration;

use minato_transport::tcp::KeepAlive;
use minato_transport::{Event, ResetReason};

use super::script::Script;

#[test]
fn ten_segments_go_first() {
    let mut script = Script::established("", |_| {});
    script.write(20_000);
    for start in (1..10_001).step_by(1000) {
        script.expect(&format!(". {start}:{} ack 1", start + 1000));
    }
    script.nothing();
    // Slow start: two more for each that is acknowledged.
    script.send(". 1 ack 1001");
    script.expect(". 10001:11001 ack 1");
    script.expect(". 11001:12001 ack 1");
    script.nothing();
}

#[test]
fn the_peers_window_is_kept() {
    let mut script = Script::new(|_| {});
    script.send("S 0 win 2500 <mss=1000>");
    script.take("S.");
    script.send(". 1 ack 1 win 2500");
    script.accept();
    script.write(5000);
    script.expect(". 1:1001 ack 1");
    script.expect(". 1001:2001 ack 1");
    // The rest of the window is less than a segment: it waits for an acknowledgement.
    script.nothing();
    script.send(". 1 ack 2001 win 2500");
    script.expect(". 2001:3001 ack 1");
    script.expect(". 3001:4001 ack 1");
    script.send(". 1 ack 4001 win 1000");
    script.expect("P. 4001:5001 ack 1");
}

#[test]
fn an_old_segment_does_not_change_the_window() {
    let mut script = Script::established("", |_| {});
    script.write(3000);
    for start in [1, 1001, 2001] {
        script.take(if start == 2001 { "P." } else { "." });
    }
    script.send(". 1:11 ack 3001 win 5000");
    script.take(".");
    // SND.WL1 and SND.WL2: older than what set it.
    script.send(". 1 ack 2001 win 7");
    let id = script.id();
    assert_eq!(script.stack.status(id).map(|status| status.peer_window), Some(5000));
}

#[test]
fn a_shut_window_is_probed_with_growing_intervals_for_ever() {
    let mut script = Script::established("", |_| {});
    script.write(100);
    script.expect("P. 1:101 ack 1");
    script.send(". 1 ack 101 win 0");
    script.write(50);
    script.expect_after(200, ". 100 ack 1");
    script.send(". 1 ack 101 win 0");
    script.expect_after(400, ". 100 ack 1");
    script.send(". 1 ack 101 win 0");
    script.expect_after(800, ". 100 ack 1");
    for _ in 0..100 {
        script.pass(60_000);
        script.send(". 1 ack 101 win 0");
    }
    script.nothing();
    script.send(". 1 ack 101 win 1000");
    script.expect("P. 101:151 ack 1");
}

#[test]
fn a_window_that_opens_a_little_is_used_when_the_timer_says_so() {
    let mut script = Script::established("", |_| {});
    script.write(100);
    script.expect("P. 1:101 ack 1");
    script.send(". 1 ack 101 win 0");
    script.write(3000);
    script.nothing();
    script.send(". 1 ack 101 win 20");
    script.expect_after(200, ". 101:121 ack 1");
}

#[test]
fn nagle_holds_small_segments_back_while_data_is_under_way() {
    let mut script = Script::established("", |config| config.tcp.options.nagle = true);
    script.write(10);
    script.expect("P. 1:11 ack 1");
    script.write(10);
    script.write(10);
    script.nothing();
    script.send(". 1 ack 11");
    script.expect("P. 11:31 ack 1");
    let id = script.id();
    script.stack.set_options(script.now, id, |options| options.nagle = false);
    script.write(10);
    script.expect("P. 31:41 ack 1");
    script.stack.set_options(script.now, id, |options| options.nagle = true);
    script.write(1005);
    script.expect(". 41:1041 ack 1");
    script.nothing();
    script.stack.shutdown(script.now, id);
    script.expect("FP. 1041:1046 ack 1");
}

#[test]
fn an_idle_peer_is_probed_and_given_up() {
    let mut script = Script::established("", |config| {
        config.tcp.options.keep_alive = Some(KeepAlive::after(Duration::from_secs(7200)));
    });
    let id = script.id();
    script.expect_after(7_200_000, ". 0 ack 1");
    script.send(". 1 ack 1");
    script.expect_after(7_200_000, ". 0 ack 1");
    for _ in 1..9 {
        script.expect_after(75_000, ". 0 ack 1");
    }
    script.expect_after(75_000, "R. 1 ack 1");
    script.expect_event(&Event::Reset(id, ResetReason::TimedOut));
}

#[test]
fn keep_alive_is_off_by_default() {
    let mut script = Script::established("", |_| {});
    script.quiet(100_000_000);
}

#[test]
fn data_is_given_up_after_the_user_timeout() {
    let mut script = Script::established("", |config| config.tcp.options.user_timeout = Duration::from_secs(5));
    let id = script.id();
    script.write(10);
    script.expect("P. 1:11 ack 1");
    for wait in [200, 400, 800, 1600] {
        script.expect_after(wait, "P. 1:11 ack 1");
    }
    script.expect_after(3200, "R. 11 ack 1");
    script.expect_event(&Event::Reset(id, ResetReason::TimedOut));
}

#[test]
fn a_mark_echoed_by_the_peer_halves_the_window_once_and_is_confirmed() {
    let mut script = Script::new(|config| config.tcp.ecn = true);
    script.send("SEW 0 <mss=1000>");
    script.expect("SE. 0 ack 1");
    script.send(". 1 ack 1");
    let id = script.accept();
    script.write(30_000);
    for _ in 0..10 {
        script.take(".");
    }
    script.send("E. 1 ack 2001");
    let window = script.stack.status(id).expect("alive").congestion_window;
    assert_eq!(window, 7000);
    script.send("E. 1 ack 4001");
    script.take("W.");
    script.send("E. 1 ack 6001");
    let window = script.stack.status(id).expect("alive").congestion_window;
    assert!(window < 9000, "{window}: once per window of data");
}

#[test]
fn an_idle_connection_starts_again_from_the_initial_window() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    for round in 0..5_u32 {
        script.write(10_000);
        let start = round * 10_000 + 1;
        script.poll();
        script.send(&format!(". 1 ack {}", start + 10_000));
        script.pass(1);
    }
    assert!(script.stack.status(id).expect("alive").congestion_window > 20_000);
    script.pass(10_000);
    script.write(30_000);
    let mut count = 0;
    while script.stack.poll_transmit(script.now).is_some() {
        count += 1;
    }
    assert_eq!(count, 10);
}

#[test]
fn full_segments_are_smaller_while_gaps_are_told() {
    let mut script = Script::established(",sackOK", |config| config.tcp.sack = true);
    script.send(". 101:201 ack 1");
    script.expect(". 1 ack 1 <sack=101-201>");
    script.write(3000);
    // 12 bytes of selective acknowledgement in each: full all the same.
    script.expect(". 1:989 ack 1 <sack=101-201>");
    script.expect(". 989:1977 ack 1 <sack=101-201>");
    script.expect(". 1977:2965 ack 1 <sack=101-201>");
    script.expect("P. 2965:3001 ack 1 <sack=101-201>");
    script.nothing();
}

#[test]
fn a_peer_that_was_silent_before_is_probed_before_it_is_given_up() {
    let mut script = Script::established("", |_| {});
    script.write(100);
    script.expect("P. 1:101 ack 1");
    script.send(". 1 ack 101 win 0");
    // Longer than the user timeout, with nothing to say on either side.
    script.quiet(1_000_000);
    script.write(50);
    script.expect_after(200, ". 100 ack 1");
    script.send(". 1 ack 101 win 1000");
    script.expect("P. 101:151 ack 1");
}

#[test]
fn a_connection_that_is_over_is_not_kept_alive() {
    let mut script = Script::established("", |config| {
        config.tcp.options.keep_alive = Some(KeepAlive::after(Duration::from_secs(7200)));
    });
    let id = script.id();
    script.send("PF. 1:11 ack 1");
    script.expect(". 1 ack 12");
    script.stack.shutdown(script.now, id);
    script.expect("F. 1 ack 12");
    script.send(". 12 ack 2");
    script.expect_event(&Event::Closed(id));
    script.quiet(100_000_000);
    assert!(!script.events.iter().any(|event| matches!(event, Event::Reset(..))));
    assert_eq!(script.read(), 10);
}
