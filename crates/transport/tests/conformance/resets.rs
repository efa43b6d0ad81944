//! Blind attacks and old segments: RFC 5961, RFC 9293 §3.10.7.4 first to fourth.

use minato_transport::tcp::State;
use minato_transport::{Event, ResetReason};

use super::script::Script;

#[test]
fn a_reset_counts_exactly_at_the_expected_number_only() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    // In the window but not at its beginning: challenged.
    script.send("R 2");
    script.expect(". 1 ack 1");
    // Outside of it: dropped.
    script.send("R 100000");
    script.nothing();
    assert_eq!(script.state(), Some(State::Established));
    script.send("R 1");
    script.nothing();
    script.expect_event(&Event::Reset(id, ResetReason::ByPeer));
}

#[test]
fn a_syn_is_challenged_wherever_it_stands() {
    for seq in [0, 1, 50, 1_000_000] {
        let mut script = Script::established("", |_| {});
        script.send(&format!("S {seq}"));
        script.expect(". 1 ack 1");
        assert_eq!(script.state(), Some(State::Established));
    }
}

#[test]
fn an_acknowledgement_of_the_future_or_the_distant_past_is_challenged() {
    let mut script = Script::established("", |_| {});
    script.send("P. 1:11 ack 2");
    script.expect(". 1 ack 1");
    assert_eq!(script.read(), 0, "its data is dropped");
    script.pass(1000);
    script.send("P. 1:11 ack 4294867296");
    script.expect(". 1 ack 1");
    assert_eq!(script.read(), 0);
}

#[test]
fn an_old_acknowledgement_within_the_largest_window_is_fine() {
    let mut script = Script::established("", |_| {});
    script.write(10);
    script.expect("P. 1:11 ack 1");
    script.send(". 1 ack 11");
    script.send("P. 1:11 ack 1");
    script.expect(". 11 ack 11");
    assert_eq!(script.read(), 10);
}

#[test]
fn challenges_are_limited() {
    let mut script = Script::established("", |_| {});
    script.send("R 2");
    script.expect(". 1 ack 1");
    for _ in 0..100 {
        script.send("R 2");
    }
    script.nothing();
    script.pass(500);
    script.send("R 2");
    script.expect(". 1 ack 1");
}

#[test]
fn challenges_of_one_connection_say_nothing_about_another() {
    let mut script = Script::established("", |_| {});
    // Whatever somebody else made the stack answer in this second (here: a thousand segments with data, out of place)...
    for _ in 0..2000 {
        script.send("SP. 50:60 ack 1");
    }
    script.expect(". 1 ack 1");
    script.nothing();
    // ... another connection is challenged all the same.
    script.connect();
    script.expect("S 0");
    script.send("S. 0 ack 1");
    script.expect(". 1 ack 1");
    script.send("R 2");
    script.expect(". 1 ack 1");
}

#[test]
fn a_segment_outside_of_the_window_is_answered_with_the_state_of_things() {
    let mut script = Script::established("", |_| {});
    script.send(". 100000:100010 ack 1");
    script.expect(". 1 ack 1");
    assert_eq!(script.read(), 0);
}

#[test]
fn a_hard_icmp_error_does_not_end_an_established_connection() {
    let mut script = Script::established("", |_| {});
    script.write(10);
    script.expect("P. 1:11 ack 1");
    script.send_icmp(3, 2, 0, 1);
    script.send_icmp(3, 3, 0, 1);
    assert_eq!(script.state(), Some(State::Established));
    script.expect_after(200, "P. 1:11 ack 1");
}

#[test]
fn soft_icmp_errors_do_not_end_an_established_connection() {
    let mut script = Script::established("", |_| {});
    script.write(10);
    script.expect("P. 1:11 ack 1");
    for (kind, code) in [(3, 0), (3, 1), (3, 5), (3, 13), (11, 0), (11, 1), (12, 0), (4, 0)] {
        script.send_icmp(kind, code, 0, 1);
    }
    assert_eq!(script.state(), Some(State::Established));
    script.expect_after(200, "P. 1:11 ack 1");
    assert!(!script.events.iter().any(|event| matches!(event, Event::Reset(..))));
}

#[test]
fn packet_too_big_makes_smaller_segments() {
    let mut script = Script::established("", |_| {});
    script.write(1000);
    script.expect("P. 1:1001 ack 1");
    // RFC 5927 §7.2: too small to be true, and not under way.
    script.send_icmp(3, 4, 100, 1);
    script.send_icmp(3, 4, 800, 5000);
    script.nothing();
    script.send_icmp(3, 4, 800, 1);
    script.expect(". 1:761 ack 1");
    script.expect("P. 761:1001 ack 1");
}
