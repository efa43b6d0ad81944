//! Socket options of a connection, and those that it inherits from its listener.

use std::time::Duration;

use minato_transport::tcp::{CongestionControl, KeepAlive, SocketOptions, State};
use minato_transport::{Event, ResetReason};

use super::script::{PEER, Script};

/// A script whose listener got options before the peer came.
fn accepted_with(syn: &str, change: impl FnOnce(&mut SocketOptions)) -> Script {
    let mut script = Script::new(|_| {});
    script.stack.set_listener_options(script.listener, change);
    script.send(syn);
    script
}

#[test]
fn accepted_connections_inherit_their_listeners_options_and_others_dont() {
    let mut script = accepted_with("S 0 <mss=1000>", |options| {
        options.keep_alive =
            Some(KeepAlive { idle: Duration::from_secs(30), interval: Duration::from_secs(5), probes: 2 });
        options.congestion = CongestionControl::NewReno;
        options.traffic_class = 0xb8;
    });
    script.take("S.");
    script.send(". 1 ack 1");
    let id = script.accept();
    let options = script.stack.options(id).expect("alive");
    assert_eq!((options.congestion, options.traffic_class), (CongestionControl::NewReno, 0xb8));
    script.expect_after(30_000, ". 0 ack 1");
    script.expect_after(5000, ". 0 ack 1");
    script.expect_after(5000, "R. 1 ack 1");
    script.expect_event(&Event::Reset(id, ResetReason::TimedOut));
    let other = script.connect();
    assert_eq!(script.stack.options(other), Some(&SocketOptions::default()));
}

#[test]
fn options_of_a_listener_reach_connections_by_cookie_as_well() {
    let mut script = Script::new(|_| {});
    script.stack.set_listener_options(script.listener, |options| {
        options.segment_size_max = Some(700);
        options.hop_limit = 9;
    });
    // So many unfinished handshakes that the next is answered by a cookie.
    for port in 1000..1064 {
        script.send_from(port, "S 0 <mss=1000>");
        script.next_packet().expect("an answer");
    }
    script.send("S 0 <mss=1000>");
    let answer = script.next_packet().expect("a cookie");
    assert_eq!(answer[8], 9);
    assert_eq!(answer[40..44], [2, 4, 2, 188], "a largest segment of 700");
    script.read_initial(&answer);
    script.send(". 1 ack 1");
    let id = script.accept();
    let options = script.stack.options(id).expect("alive");
    assert_eq!((options.hop_limit, options.segment_size_max), (9, Some(700)));
    // The cookie tells 536 of the peer's 1000.
    assert_eq!(script.stack.status(id).expect("alive").segment_size, 536);
}

#[test]
fn a_cookie_tells_the_window_that_its_connection_has_whatever_the_listener_is_told_meanwhile() {
    let mut script = Script::new(|config| config.tcp.timestamps = true);
    script.stack.set_listener_options(script.listener, |options| options.receive_buffer_max = 5000);
    for port in 1000..1064 {
        script.send_from(port, "S 0 <mss=1000>");
        script.next_packet().expect("an answer");
    }
    let ask = |script: &mut Script, port: u16| {
        script.send_from(port, "S 0 <mss=1000,ws=7,ts=100/0>");
        let answer = script.next_packet().expect("a cookie");
        let value = u32::from_be_bytes(answer[48..52].try_into().expect("four bytes"));
        let window = u16::from_be_bytes([answer[34], answer[35]]);
        script.read_initial(&answer);
        (window, value)
    };
    let (window, value) = ask(&mut script, PEER.1);
    assert_eq!(window, 5000);
    // The next cookie tells something else.
    script.stack.set_listener_options(script.listener, |options| options.receive_buffer_max = 1 << 30);
    let initial = script.initial;
    assert_eq!(ask(&mut script, 3999).0, 65_535);
    script.initial = initial;
    script.send(&format!(". 1 ack 1 <ts=101/{value}>"));
    let id = script.accept();
    assert_eq!(script.stack.status(id).expect("alive").own_window, 5000);
    script.send(&format!(". 1:1001 ack 1 <ts=102/{value}>"));
    assert_eq!(script.read(), 1000);
    script.send(&format!(". 1001:2001 ack 1 <ts=103/{value}>"));
    // With the shift that was told, which is none.
    script.expect(". 1 ack 2001 win 4000");
}

#[test]
fn keep_alive_is_turned_on_and_off_on_a_standing_connection() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.quiet(5000);
    let keep_alive = KeepAlive::after(Duration::from_secs(60));
    script.stack.set_options(script.now, id, |options| options.keep_alive = Some(keep_alive));
    // It counts from when the peer was heard.
    script.expect_after(55_000, ". 0 ack 1");
    script.send(". 1 ack 1");
    script.stack.set_options(script.now, id, |options| options.keep_alive = None);
    script.quiet(10_000_000);
}

#[test]
fn the_user_timeout_of_one_connection_is_not_the_others() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.stack.set_options(script.now, id, |options| options.user_timeout = Duration::from_secs(1));
    let other = script.connect();
    script.take("S");
    script.send("S. 0 ack 1 <mss=1000>");
    script.take(".");
    for id in [id, other] {
        assert_eq!(script.stack.send(script.now, id, &[7; 10]), 10);
    }
    script.poll();
    script.pass(1300);
    assert!(script.stack.status(id).is_some());
    script.pass(200);
    script.expect_event(&Event::Reset(id, ResetReason::TimedOut));
    assert_eq!(script.stack.status(id), None);
    // Fifteen minutes, and then until the next retransmission is due.
    script.pass(890_000);
    assert_eq!(script.state(), Some(State::Established));
    script.pass(130_000);
    script.expect_event(&Event::Reset(other, ResetReason::TimedOut));
}

#[test]
fn every_packet_carries_the_hop_limit_and_the_service_class() {
    let mut script = accepted_with("SEW 0 <mss=1000>", |options| {
        options.hop_limit = 3;
        // The lower two bits are not the caller's.
        options.traffic_class = 0x2f;
    });
    let marks = |script: &mut Script| script.next_packet().map(|packet| (packet[8], packet[1]));
    let answer = script.next_packet().expect("SYN-ACK");
    assert_eq!((answer[8], answer[1]), (3, 0x2c));
    script.read_initial(&answer);
    script.send(". 1 ack 1");
    let id = script.accept();
    script.write(10);
    assert_eq!(marks(&mut script), Some((3, 0x2c)));
    script.stack.set_options(script.now, id, |options| options.hop_limit = 0);
    script.write(10);
    assert_eq!(marks(&mut script), Some((1, 0x2c)), "a hop limit of zero goes nowhere");
    script.stack.shutdown(script.now, id);
    script.poll();
    script.send("F. 1 ack 22");
    script.stack.close(script.now, id);
    while script.next_packet().is_some() {}
    // What answers in TIME-WAIT is still the same connection.
    script.send("F. 1 ack 22");
    assert_eq!(marks(&mut script), Some((1, 0x2c)));
}

#[test]
fn options_set_before_the_syn_leaves_count_for_it() {
    let mut script = Script::new(|_| {});
    let id = script.connect();
    script.stack.set_options(script.now, id, |options| {
        options.segment_size_max = Some(500);
        options.receive_buffer = 3000;
        options.receive_buffer_max = 1 << 20;
        options.syn_retries = 1;
    });
    script.expect("S 0 win 3000 <mss=500,ws=5>");
    script.expect_after(1000, "S 0");
    script.pass(2000);
    script.expect_event(&Event::Reset(id, ResetReason::TimedOut));
}

#[test]
fn a_segment_size_limit_holds_both_ways() {
    let mut script = accepted_with("S 0 <mss=1000>", |options| options.segment_size_max = Some(300));
    script.expect("S. 0 ack 1 <mss=300>");
    script.send(". 1 ack 1");
    script.accept();
    script.write(700);
    script.expect(". 1:301 ack 1");
    script.expect(". 301:601 ack 1");
    script.expect("P. 601:701 ack 1");
}

#[test]
fn acknowledgements_are_not_delayed_where_that_is_asked_for() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    for number in 0..16 {
        script.send(&format!(". {}:{} ack 1", 1 + number * 10, 11 + number * 10));
        script.take(".");
    }
    script.send(". 161:171 ack 1");
    script.expect_after(40, ". 1 ack 171");
    script.stack.set_options(script.now, id, |options| options.ack_delay = Duration::ZERO);
    script.send(". 171:181 ack 1");
    script.expect(". 1 ack 181");
}

#[test]
fn buffers_are_as_large_as_each_connection_is_told() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.stack.set_options(script.now, id, |options| options.send_buffer_max = 1000);
    assert_eq!(script.stack.send(script.now, id, &[7; 5000]), 1000);
    script.expect("P. 1:1001 ack 1");
    // More room is told to a caller that was short of it.
    script.stack.set_options(script.now, id, |options| options.send_buffer_max = 4000);
    script.expect_event(&Event::Writable(id));
    assert_eq!(script.stack.send(script.now, id, &[7; 5000]), 3000);
    // A smaller receive buffer takes nothing back that was told.
    script.stack.set_options(script.now, id, |options| {
        options.receive_buffer = 2000;
        options.receive_buffer_max = 2000;
    });
    while script.next_packet().is_some() {}
    for start in (1..60_001).step_by(1000) {
        script.send(&format!(". {start}:{} ack 4001", start + 1000));
    }
    assert_eq!(script.read(), 60_000);
    script.poll();
    // But from then on it offers no more.
    let offered = script.stack.status(id).expect("alive").own_window;
    assert!(offered <= 65_535 - 60_000 || offered <= 2000, "{offered}");
}

#[test]
fn the_congestion_control_changes_on_a_standing_connection() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.stack.set_options(script.now, id, |options| options.congestion = CongestionControl::NewReno);
    script.write(20_000);
    for _ in 0..10 {
        script.take(".");
    }
    for _ in 0..3 {
        script.send(". 1 ack 1");
    }
    script.take(".");
    // Half of what was under way, where CUBIC would take seven tenths.
    assert_eq!(script.stack.status(id).expect("alive").congestion_window, 5000);
}

#[test]
fn lingering_for_no_time_resets_and_for_some_time_resets_then() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.stack.set_options(script.now, id, |options| options.linger = Some(Duration::ZERO));
    script.stack.close(script.now, id);
    script.expect("R. 1 ack 1");

    let mut script = Script::established("", |config| config.tcp.options.linger = Some(Duration::from_secs(1)));
    let id = script.id();
    script.write(10);
    script.stack.close(script.now, id);
    script.expect("FP. 1:11 ack 1");
    for wait in [200, 400] {
        script.expect_after(wait, "FP. 1:11 ack 1");
    }
    // One second after `close`, less the fractions of the others.
    script.expect_after(399, "R. 12 ack 1");
    script.quiet(1_000_000);

    // Acknowledged in time: then only the peer's FIN is waited for, as long as ever.
    let mut script = Script::established("", |config| config.tcp.options.linger = Some(Duration::from_secs(1)));
    let id = script.id();
    script.stack.close(script.now, id);
    script.expect("F. 1 ack 1");
    script.send(". 1 ack 2");
    script.quiet(30_000);
    script.send("F. 1 ack 2");
    script.expect(". 2 ack 2");
}

#[test]
fn nonsense_is_taken_as_the_nearest_sense() {
    let mut script = Script::established("", |_| {});
    let id = script.id();
    script.stack.set_options(script.now, id, |options| {
        options.segment_size_max = Some(0);
        options.receive_buffer = 0;
        options.receive_buffer_max = 0;
        options.send_buffer_max = usize::MAX;
        options.keep_alive = Some(KeepAlive { idle: Duration::ZERO, interval: Duration::ZERO, probes: 0 });
    });
    let options = script.stack.options(id).expect("alive");
    assert_eq!(options.segment_size_max, Some(88));
    assert!(options.receive_buffer > 0 && options.send_buffer_max <= 1 << 30);
    script.expect_after(1000, ". 0 ack 1");
    script.expect_after(1000, "R. 1 ack 1");
}

#[test]
fn options_of_the_dead_are_nothing() {
    let mut script = Script::established("", |_| {});
    let (id, listener) = (script.id(), script.listener);
    script.stack.abort(script.now, id);
    script.stack.unlisten(script.now, listener);
    script.stack.set_options(script.now, id, |_| panic!("nobody's"));
    script.stack.set_listener_options(listener, |_| panic!("nobody's"));
    assert_eq!((script.stack.options(id), script.stack.listener_options(listener)), (None, None));
    assert_eq!(script.state(), None::<State>);
}
