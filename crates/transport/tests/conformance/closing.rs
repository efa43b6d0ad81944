//! Closing: RFC 9293 §3.6, §3.10.4, §3.10.7.4; TIME-WAIT with RFC 1337 and RFC 6191.

use minato_transport::tcp::State;
use minato_transport::{Event, ResetReason};

use super::script::Script;

fn shut(script: &mut Script) {
    let id = script.id();
    script.stack.shutdown(script.now, id);
}

#[test]
fn we_close_first() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    shut(&mut script);
    script.expect("F. 1 ack 1");
    assert_eq!(script.state(), Some(State::FinWait1));
    script.send(". 1 ack 2");
    script.nothing();
    assert_eq!(script.state(), Some(State::FinWait2));
    script.send("P. 1:11 ack 2");
    script.expect(". 2 ack 11");
    assert_eq!(script.read(), 10);
    script.send("F. 11 ack 2");
    script.expect(". 2 ack 12");
    script.expect_event(&Event::Closed(id));
    let count = |script: &Script| {
        let statistics = script.stack.statistics();
        (statistics.connections, statistics.time_wait)
    };
    assert_eq!(count(&script), (1, 1), "its caller has it still");
    script.stack.close(script.now, id);
    assert_eq!(count(&script), (0, 1));
    // RFC 9293 §3.10.7.4: the peer's FIN again is acknowledged, and the time begins anew.
    script.quiet(30_000);
    script.send("F. 11 ack 2");
    script.expect(". 2 ack 12");
    script.quiet(59_000);
    assert_eq!(script.stack.statistics().time_wait, 1);
    script.quiet(32_000);
    assert_eq!(script.stack.statistics().time_wait, 0);
}

#[test]
fn the_peer_closes_first() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.send("F. 1 ack 1");
    script.expect(". 1 ack 2");
    assert_eq!(script.state(), Some(State::CloseWait));
    script.write(10);
    script.expect("P. 1:11 ack 2");
    shut(&mut script);
    script.expect("F. 11 ack 2");
    assert_eq!(script.state(), Some(State::LastAck));
    script.send(". 2 ack 12");
    script.nothing();
    script.expect_event(&Event::Closed(id));
    assert_eq!(script.stack.statistics().time_wait, 0);
    script.stack.close(script.now, id);
    assert_eq!(script.stack.statistics().connections, 0);
}

#[test]
fn both_close_at_once() {
    let mut script = Script::established("", |_| {});
    shut(&mut script);
    script.expect("F. 1 ack 1");
    script.send("F. 1 ack 1");
    script.expect(". 2 ack 2");
    assert_eq!(script.state(), Some(State::Closing));
    script.send(". 2 ack 2");
    script.nothing();
    assert_eq!(script.stack.statistics().time_wait, 1);
}

#[test]
fn a_fin_that_acknowledges_ours_goes_straight_to_time_wait() {
    let mut script = Script::established("", |_| {});
    shut(&mut script);
    script.expect("F. 1 ack 1");
    script.send("F. 1 ack 2");
    script.expect(". 2 ack 2");
    assert_eq!(script.stack.statistics().time_wait, 1);
}

#[test]
fn fin_goes_with_the_last_data_and_is_repeated() {
    let mut script = Script::established("", |_| {});
    script.write(10);
    shut(&mut script);
    script.expect("FP. 1:11 ack 1");
    script.expect_after(200, "FP. 1:11 ack 1");
    script.send(". 1 ack 11");
    // Still backed off: what was sent twice measures nothing.
    script.expect_after(400, "F. 11 ack 1");
    script.send(". 1 ack 12");
    assert_eq!(script.state(), Some(State::FinWait2));
}

#[test]
fn a_closed_connection_does_not_wait_for_ever() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.stack.close(script.now, id);
    script.expect("F. 1 ack 1");
    script.send(". 1 ack 2");
    script.quiet(59_999);
    assert_eq!(script.stack.statistics().connections, 1);
    script.quiet(1);
    assert_eq!(script.stack.statistics().connections, 0);
}

#[test]
fn data_for_a_closed_connection_is_reset() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.stack.close(script.now, id);
    script.expect("F. 1 ack 1");
    script.send("P. 1:11 ack 2");
    script.expect("R. 2 ack 1");
    assert_eq!(script.stack.statistics().connections, 0);
}

#[test]
fn a_fin_behind_known_data_is_not_data_for_a_closed_connection() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.send("P. 1:11 ack 1");
    script.expect(". 1 ack 11");
    assert_eq!(script.read(), 10);
    script.stack.close(script.now, id);
    script.expect("F. 1 ack 11");
    // The acknowledgement was lost: the data goes again, with the FIN that was queued meanwhile.
    script.send("FP. 1:11 ack 2");
    script.expect(". 2 ack 12");
    let statistics = script.stack.statistics();
    assert_eq!((statistics.connections, statistics.time_wait), (0, 1));
}

#[test]
fn closing_with_unread_data_resets() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.send("P. 1:11 ack 1");
    script.expect(". 1 ack 11");
    script.stack.close(script.now, id);
    script.expect("R. 1 ack 11");
    script.nothing();
}

#[test]
fn abort_resets() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.write(10);
    script.expect("P. 1:11 ack 1");
    script.stack.abort(script.now, id);
    script.expect("R. 11 ack 1");
    script.nothing();
}

fn in_time_wait(timestamps: bool) -> Script {
    let options = if timestamps { ",ts=100/0" } else { "" };
    let stamp = if timestamps { " <ts=100/0>" } else { "" };
    let mut script = Script::established(options, |config| config.tcp.timestamps = timestamps);
    let id = script.id();
    script.stack.close(script.now, id);
    script.take("F.");
    script.send(&format!("F. 1 ack 2{stamp}"));
    script.take(".");
    assert_eq!(script.stack.statistics().time_wait, 1);
    script.connection = None;
    script
}

#[test]
fn a_reset_does_not_end_time_wait() {
    let mut script = in_time_wait(false);
    script.send("R 2");
    script.nothing();
    assert_eq!(script.stack.statistics().time_wait, 1);
}

#[test]
fn a_new_syn_takes_over_time_wait_by_sequence_number() {
    let mut script = in_time_wait(false);
    // Old: answered with the last acknowledgement.
    script.send("S 0");
    script.expect(". 2 ack 2");
    script.send("S 1000");
    script.take("S.");
    assert_eq!(script.stack.statistics().time_wait, 0);
}

#[test]
fn a_new_syn_takes_over_time_wait_by_timestamp() {
    let mut script = in_time_wait(true);
    script.send("S 1000 <mss=1000,ts=99/0>");
    script.expect(". 2 ack 2");
    // RFC 6191: a later clock, even with an earlier sequence number.
    script.send("S 0 <mss=1000,ts=101/0>");
    script.take("S.");
    assert_eq!(script.stack.statistics().time_wait, 0);
}

#[test]
fn the_last_acknowledgement_may_get_lost() {
    let mut script = Script::established("", |_| {});
    script.send("F. 1 ack 1");
    script.expect(". 1 ack 2");
    shut(&mut script);
    script.expect("F. 1 ack 2");
    script.expect_after(200, "F. 1 ack 2");
    script.expect_after(400, "F. 1 ack 2");
    script.send("R 2");
    let id = script.id();
    script.expect_event(&Event::Reset(id, ResetReason::ByPeer));
}

/// A connection that sent `total` bytes in no time, closed by us first and then by the peer.
fn sent_and_closed(total: usize) -> Script {
    let mut script = Script::established(",ws=7", |_| {});
    let id = script.id();
    script.write(total);
    let mut acknowledged = 1;
    while acknowledged < total {
        script.poll();
        acknowledged += script.stack.status(id).expect("alive").in_flight;
        script.pass(0);
        script.send(&format!(". 1 ack {acknowledged}"));
    }
    shut(&mut script);
    script.take("F.");
    script.send(&format!("F. 1 ack {}", total + 2));
    script.take(".");
    script.stack.close(script.now, id);
    assert_eq!(script.stack.statistics().time_wait, 1);
    script
}

#[test]
fn a_connection_from_time_wait_begins_beyond_all_that_was_sent() {
    let mut script = sent_and_closed(3_000_000);
    let before = script.initial.expect("seen");
    script.connection = None;
    script.send("S 100000 <mss=1000>");
    script.take("S.");
    // RFC 9293 §3.10.7.4 MAY-2: SYN, data and FIN, and then some; the clock of RFC 6528 is far behind.
    assert_eq!(script.initial.expect("seen").wrapping_sub(before), 3_000_002 + 65_537);
    assert_eq!(script.stack.statistics().time_wait, 0);
}

#[test]
fn what_makes_no_connection_does_not_end_time_wait() {
    let mut script = sent_and_closed(1000);
    script.connection = None;
    // With FIN it is no request.
    script.send("SF 100000");
    script.take(".");
    let listener = script.listener;
    script.stack.unlisten(script.now, listener);
    script.send("S 100000 <mss=1000>");
    script.take(".");
    assert_eq!(script.stack.statistics().time_wait, 1);
    script.stack.listen(super::script::LOCAL.into(), 1).expect("free");
    script.send("S 100000 <mss=1000>");
    script.take("S.");
    assert_eq!(script.stack.statistics().time_wait, 0);
}

#[test]
fn a_shut_window_does_not_keep_a_closed_connection_for_ever() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.write(100);
    script.expect("P. 1:101 ack 1");
    script.send(". 1 ack 101 win 0");
    script.write(50);
    script.stack.close(script.now, id);
    for probe in 0..8 {
        script.expect_after(200 << probe, ". 100 ack 1");
        script.connection = None;
        script.send(". 1 ack 101 win 0");
    }
    script.expect_after(200 << 8, "R. 101 ack 1");
    assert_eq!(script.stack.statistics().connections, 0);
}
