//! Receiving: acknowledgements, reordering, windows (RFC 9293 §3.8.6, RFC 5681 §4.2, RFC 2018, RFC 2883).

use std::time::Duration;

use minato_transport::Event;

use super::script::Script;

/// Past the quick acknowledgements at the beginning.
fn settled(options: &str, change: impl FnOnce(&mut minato_transport::Config)) -> (Script, u32) {
    let mut script = Script::established(options, change);
    let mut at = 1;
    for _ in 0..16 {
        script.send(&format!(". {at}:{} ack 1", at + 10));
        at += 10;
        script.expect(&format!(". 1 ack {at}"));
    }
    assert_eq!(script.read(), 160);
    script.nothing();
    (script, at)
}

#[test]
fn the_second_full_segment_is_acknowledged_at_once_and_a_single_one_later() {
    let (mut script, at) = settled("", |_| {});
    script.send(&format!(". {at}:{} ack 1", at + 1000));
    script.nothing();
    script.send(&format!(". {}:{} ack 1", at + 1000, at + 2000));
    script.expect(&format!(". 1 ack {}", at + 2000));
    script.send(&format!("P. {}:{} ack 1", at + 2000, at + 2001));
    script.expect_after(40, &format!(". 1 ack {}", at + 2001));
    script.quiet(10_000);
}

#[test]
fn data_takes_the_delayed_acknowledgement_along() {
    let (mut script, at) = settled("", |_| {});
    script.send(&format!("P. {at}:{} ack 1", at + 5));
    script.nothing();
    script.write(3);
    script.expect(&format!("P. 1:4 ack {}", at + 5));
    script.send(&format!(". {} ack 4", at + 5));
    script.quiet(10_000);
}

#[test]
fn a_small_first_request_waits_for_its_answer_where_that_is_asked_for() {
    let delay = Duration::from_millis(3);
    let mut script = Script::established("", |config| config.tcp.options.first_ack_delay = delay);
    script.send("P. 1:6 ack 1");
    script.nothing();
    script.send("P. 6:70 ack 1");
    script.nothing();
    script.write(64);
    script.expect("P. 1:65 ack 70");
    script.send("P. 70:75 ack 65");
    script.expect_after(3, ". 65 ack 75");
    // RFC 5681 §4.2 allows to wait for the second full-sized segment; but a small window waits for each.
    script.send(". 75:1075 ack 65");
    script.expect(". 65 ack 1075");
    // Small ones that come to as much are not waited for either.
    for start in [1075, 1975] {
        script.send(&format!(". {start}:{} ack 65", start + 900));
        script.nothing();
    }
    script.send(". 2875:3075 ack 65");
    script.expect(". 65 ack 3075");
    script.send("F. 3075 ack 65");
    script.expect(". 65 ack 3076");
    assert_eq!(script.read(), 3074);
}

#[test]
fn an_acknowledgement_that_waits_goes_early_when_it_is_told_to() {
    let delay = Duration::from_millis(3);
    let mut script = Script::established("", |config| config.tcp.options.first_ack_delay = delay);
    let id = script.id();
    assert_eq!(script.stack.acknowledgement_due(id), None);
    script.stack.acknowledge_early(script.now, id);
    script.nothing();
    script.send("P. 1:6 ack 1");
    script.nothing();
    assert_eq!(script.stack.acknowledgement_due(id), Some(script.now + delay));
    script.stack.acknowledge_early(script.now, id);
    script.expect(". 1 ack 6");
    assert_eq!(script.stack.acknowledgement_due(id), None);
    script.quiet(10);
}

#[test]
fn what_is_out_of_order_is_kept_and_told() {
    let mut script = Script::established(",sackOK", |config| config.tcp.sack = true);
    script.send(". 11:21 ack 1");
    script.expect(". 1 ack 1 <sack=11-21>");
    script.send(". 31:41 ack 1");
    script.expect(". 1 ack 1 <sack=31-41+11-21>");
    script.send(". 21:26 ack 1");
    script.expect(". 1 ack 1 <sack=11-26+31-41>");
    // RFC 5681 §4.2: what fills a gap is acknowledged at once.
    script.send(". 1:11 ack 1");
    script.expect(". 1 ack 26 <sack=31-41>");
    script.send(". 24:31 ack 1");
    script.take(".");
    assert_eq!(script.read(), 40);
}

#[test]
fn without_sack_the_gap_is_told_by_duplicates() {
    let mut script = Script::established("", |config| config.tcp.sack = true);
    script.send(". 11:21 ack 1");
    script.expect(". 1 ack 1");
    script.send(". 21:31 ack 1");
    script.expect(". 1 ack 1");
}

#[test]
fn duplicates_are_reported_once() {
    let mut script = Script::established(",sackOK", |config| config.tcp.sack = true);
    script.send(". 1:11 ack 1");
    script.expect(". 1 ack 11");
    script.send(". 21:31 ack 1");
    script.expect(". 1 ack 11 <sack=21-31>");
    // RFC 2883 §4: first the duplicate, then what is there.
    script.send(". 21:31 ack 1");
    script.expect(". 1 ack 11 <sack=21-31+21-31>");
    script.send(". 41:51 ack 1");
    script.expect(". 1 ack 11 <sack=41-51+21-31>");
}

#[test]
fn a_wholly_old_segment_is_acknowledged() {
    let mut script = Script::established("", |_| {});
    script.send(". 1:11 ack 1");
    script.expect(". 1 ack 11");
    script.send(". 1:11 ack 1");
    script.expect(". 1 ack 11");
    assert_eq!(script.read(), 10);
}

#[test]
fn a_segment_across_the_left_edge_gives_its_new_part() {
    let mut script = Script::established("", |_| {});
    script.send(". 1:11 ack 1");
    script.expect(". 1 ack 11");
    script.send(". 6:21 ack 1");
    script.expect(". 1 ack 21");
    assert_eq!(script.read(), 20);
}

#[test]
fn the_window_shrinks_with_unread_data_and_its_edge_never_moves_back() {
    let mut script = Script::established("", |config| config.tcp.options.receive_buffer = 4000);
    script.send(". 1:1001 ack 1");
    script.expect(". 1 ack 1001 win 3000");
    script.send(". 1001:4001 ack 1");
    script.expect(". 1 ack 4001 win 0");
    // RFC 9293 §3.10.7.4: a probe of a shut window is acknowledged and not taken.
    script.send(". 4001:4002 ack 1");
    script.expect(". 1 ack 4001 win 0");
    assert_eq!(script.read(), 4000);
    script.take(".");
    script.send(". 4001:4011 ack 1");
    script.take(".");
    assert_eq!(script.read(), 10);
}

#[test]
fn data_beyond_the_window_is_cut() {
    let mut script = Script::established("", |config| config.tcp.options.receive_buffer = 1000);
    script.send(". 1:2001 ack 1");
    script.expect(". 1 ack 1001 win 0");
    assert_eq!(script.read(), 1000);
}

#[test]
fn a_slow_reader_opens_the_window_in_useful_steps() {
    let mut script = Script::established("", |config| {
        config.tcp.options.receive_buffer = 8000;
        config.tcp.options.receive_buffer_max = 8000;
    });
    for start in (1..8001).step_by(1000) {
        script.send(&format!(". {start}:{} ack 1", start + 1000));
    }
    script.expect(". 1 ack 8001 win 0");
    let id = script.id();
    // RFC 9293 §3.8.6.2.2: not by less than a segment (here: half the buffer is more).
    script.stack.consume(script.now, id, 900);
    script.nothing();
    script.stack.consume(script.now, id, 600);
    script.expect(". 1 ack 8001 win 1500");
    script.stack.consume(script.now, id, 500);
    script.nothing();
}

#[test]
fn fin_waits_for_what_comes_before_it() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.send("F. 11:21 ack 1");
    script.expect(". 1 ack 1");
    assert!(!script.events.contains(&Event::PeerClosed(id)));
    script.send(". 1:11 ack 1");
    script.expect(". 1 ack 22");
    script.expect_event(&Event::PeerClosed(id));
    assert_eq!(script.read(), 20);
    assert!(script.stack.is_finished(id));
}

#[test]
fn a_window_that_can_tell_no_more_room_is_not_told_again() {
    // Without window scaling: however fast the reader is, 16 bits tell no more than 64 KiB.
    let (mut script, mut at) = settled("", |_| {});
    for _ in 0..40 {
        script.send(&format!(". {at}:{} ack 1", at + 1000));
        at += 1000;
    }
    assert_eq!(script.read(), 40_000);
    script.pass(100);
    for _ in 0..3 {
        script.send(&format!("P. {at}:{} ack 1", at + 10));
        at += 10;
        assert_eq!(script.read(), 10);
        script.expect_after(40, &format!(". 1 ack {at}"));
    }
}

#[test]
fn urgent_data_is_ordinary_data() {
    let mut script = Script::established("", |_| {});
    script.send("U. 1:11 ack 1");
    script.expect(". 1 ack 11");
    assert_eq!(script.read(), 10);
}

#[test]
fn a_segment_without_ack_is_dropped() {
    let mut script = Script::established("", |_| {});
    script.send("P 1:11");
    script.nothing();
    assert_eq!(script.read(), 0);
}

#[test]
fn congestion_marks_are_echoed_until_the_sender_reacts() {
    let mut script = Script::new(|config| config.tcp.ecn = true);
    script.send("SEW 0 <mss=1000>");
    script.expect("SE. 0 ack 1");
    script.send(". 1 ack 1");
    script.accept();
    script.send_marked(". 1:11 ack 1", 3);
    script.expect("E. 1 ack 11");
    script.send_marked(". 11:21 ack 1", 2);
    script.expect("E. 1 ack 21");
    script.send_marked("W. 21:31 ack 1", 2);
    script.expect(". 1 ack 31");
}

#[test]
fn a_scaled_window_that_nobody_empties_closes() {
    let mut script = Script::established(",ws=7", |config| config.tcp.options.receive_buffer = 8192);
    let mut at = 1;
    // Every acknowledgement rounds the window up to its unit of 128; none may give back what the text took.
    for _ in 0..300 {
        script.send(&format!(". {at}:{} ack 1", at + 100));
        at += 100;
        script.poll();
        script.pass(50);
    }
    let id = script.id();
    let status = script.stack.status(id).expect("alive");
    assert!(status.readable <= 8192 + 128, "{}", status.readable);
    assert!(status.own_window < 128, "{}", status.own_window);
    assert_eq!(script.read(), status.readable);
}

#[test]
fn a_scaled_edge_never_moves_left() {
    let mut script = Script::established(",ws=7", |config| config.tcp.options.receive_buffer = 8192);
    // 8192 were offered in the SYN-ACK; then one byte short of each unit.
    let mut at = 1;
    while at + 127 <= 8192 {
        script.send(&format!(". {at}:{} ack 1", at + 127));
        at += 127;
        script.poll();
    }
    let rest = 8193 - at;
    script.send(&format!(". {at}:{} ack 1", at + rest));
    script.poll();
    assert_eq!(script.read(), 8192);
}

#[test]
fn text_after_fin_is_cut_off() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    // FIN at 21, and text that goes on beyond it fills the gap.
    script.send("F. 11:21 ack 1");
    script.expect(". 1 ack 1");
    script.send(". 1:31 ack 1");
    script.expect(". 1 ack 22");
    assert_eq!(script.read(), 20);
    script.expect_event(&Event::PeerClosed(id));
}

#[test]
fn fin_before_text_that_is_there_is_ignored() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.send(". 21:31 ack 1");
    script.expect(". 1 ack 1");
    script.send("F. 11:16 ack 1");
    script.expect(". 1 ack 1");
    script.send(". 1:21 ack 1");
    script.expect(". 1 ack 31");
    script.send("F. 31 ack 1");
    script.expect(". 1 ack 32");
    assert_eq!(script.read(), 30);
    script.expect_event(&Event::PeerClosed(id));
}
