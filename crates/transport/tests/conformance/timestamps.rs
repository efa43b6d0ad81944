//! Window scale and timestamps: RFC 7323.

use super::script::Script;

fn stamped() -> Script {
    Script::established(",ts=100/0", |config| config.tcp.timestamps = true)
}

#[test]
fn every_segment_echoes_the_clock_of_what_it_acknowledges() {
    let mut script = stamped();
    script.send("P. 1:11 ack 1 <ts=105/0>");
    script.expect(". 1 ack 11 <ts=105>");
    // Out of order: the clock of the gap's left side is echoed (RFC 7323 §4.3).
    script.send("P. 21:31 ack 1 <ts=107/0>");
    script.expect(". 1 ack 11 <ts=105>");
    script.send("P. 11:21 ack 1 <ts=106/0>");
    script.expect(". 1 ack 31 <ts=106>");
}

#[test]
fn an_older_clock_is_an_old_duplicate() {
    let mut script = stamped();
    script.send("P. 1:11 ack 1 <ts=105/0>");
    script.expect(". 1 ack 11 <ts=105>");
    script.send("P. 11:21 ack 1 <ts=104/0>");
    script.expect(". 1 ack 11");
    assert_eq!(script.read(), 10);
}

#[test]
fn a_clock_that_stood_for_weeks_may_have_wrapped() {
    let mut script = stamped();
    script.send("P. 1:11 ack 1 <ts=105/0>");
    script.expect(". 1 ack 11");
    script.quiet(25 * 24 * 3600 * 1000);
    script.send("P. 11:21 ack 1 <ts=104/0>");
    script.expect(". 1 ack 21 <ts=104>");
    // From then on it counts again.
    script.send("P. 21:31 ack 1 <ts=103/0>");
    script.expect(". 1 ack 21 <ts=104>");
}

#[test]
fn what_is_not_acceptable_sets_no_clock_however_long_it_stood() {
    let mut script = stamped();
    script.send("P. 1:11 ack 1 <ts=105/0>");
    script.expect(". 1 ack 11");
    script.quiet(25 * 24 * 3600 * 1000);
    script.send("P. 100001:100011 ack 1 <ts=104/0>");
    script.expect(". 1 ack 11 <ts=105>");
}

#[test]
fn a_segment_without_the_agreed_option_is_dropped() {
    let mut script = stamped();
    script.send("P. 1:11 ack 1");
    script.nothing();
    assert_eq!(script.read(), 0);
}

#[test]
fn a_reset_needs_no_clock() {
    let mut script = stamped();
    script.send("R 1");
    script.nothing();
    assert_eq!(script.stack.statistics().connections, 0);
}

#[test]
fn windows_are_scaled_only_after_the_handshake() {
    let mut script = Script::new(|_| {});
    script.send("S 0 win 100 <mss=1000,ws=5>");
    script.take("S.");
    script.send(". 1 ack 1 win 100");
    let id = script.accept();
    assert_eq!(script.stack.status(id).map(|status| status.peer_window), Some(3200));
}

#[test]
fn a_shift_above_fourteen_counts_as_fourteen() {
    let mut script = Script::new(|_| {});
    script.send("S 0 <mss=1000,ws=200>");
    script.take("S.");
    script.send(". 1 ack 1 win 2");
    let id = script.accept();
    assert_eq!(script.stack.status(id).map(|status| status.peer_window), Some(2 << 14));
}

#[test]
fn segments_leave_room_for_the_option() {
    let mut script = stamped();
    script.write(2000);
    script.expect(". 1:989 ack 1 <ts=100>");
    script.expect(". 989:1977 ack 1");
}

#[test]
fn the_answer_to_a_repeated_syn_echoes_its_latest_clock() {
    let mut script = Script::new(|config| config.tcp.timestamps = true);
    script.send("S 0 <mss=1000,ts=100/0>");
    script.expect("S. 0 ack 1 <ts=100>");
    script.send("S 0 <mss=1000,ts=1100/0>");
    script.expect("S. 0 ack 1 <ts=1100>");
    // An older one came late.
    script.send("S 0 <mss=1000,ts=1000/0>");
    script.expect("S. 0 ack 1 <ts=1100>");
}

#[test]
fn the_answer_to_a_held_request_echoes_its_latest_clock() {
    let mut script = Script::new(|config| {
        config.any_destination = true;
        config.tcp.timestamps = true;
    });
    let listener = script.listener;
    script.stack.unlisten(script.now, listener);
    script.send("S 0 <mss=1000,ts=100/0>");
    script.send("S 0 <mss=1000,ts=1100/0>");
    script.poll();
    let Some(minato_transport::Event::Incoming(incoming)) = script.events.pop() else { panic!("it is held") };
    script.stack.accept_incoming(script.now, incoming.id).expect("held");
    script.expect("S. 0 ack 1 <ts=1100>");
}
