//! Opening: RFC 9293 §3.5, §3.10.7.2 to §3.10.7.4.

use minato_transport::tcp::State;
use minato_transport::{Event, ResetReason, Unreachable};

use super::script::Script;

#[test]
fn passive_opening_announces_what_was_asked_for() {
    let mut script = Script::new(|config| {
        config.tcp.timestamps = true;
        config.tcp.sack = true;
    });
    script.send("S 0 <mss=1000,sackOK,ts=7/0,nop,ws=3>");
    script.expect("S. 0 ack 1 win 65535 <mss=1460,sackOK,ts=7,ws=7>");
    script.nothing();
    script.send(". 1 ack 1 <ts=8/0>");
    let id = script.accept();
    assert_eq!(script.state(), Some(State::Established));
    assert_eq!(script.stack.status(id).map(|status| status.segment_size), Some(988));
}

#[test]
fn options_that_were_not_offered_are_not_used() {
    let mut script = Script::new(|config| {
        config.tcp.timestamps = true;
        config.tcp.sack = true;
    });
    script.send("S 0");
    script.poll();
    script.expect("S. 0 ack 1 <mss=1460>");
    script.send(". 1 ack 1");
    let id = script.accept();
    // RFC 9293 MUST-15: without the option 536.
    assert_eq!(script.stack.status(id).map(|status| status.segment_size), Some(536));
}

#[test]
fn unknown_options_are_skipped() {
    let mut script = Script::new(|_| {});
    script.send("S 0 <unknown,nop,mss=900>");
    script.expect("S. 0 ack 1");
    script.send(". 1 ack 1");
    let id = script.accept();
    assert_eq!(script.stack.status(id).map(|status| status.segment_size), Some(900));
}

#[test]
fn a_repeated_syn_is_answered_again() {
    let mut script = Script::new(|_| {});
    script.send("S 0 <mss=1000>");
    script.expect("S. 0 ack 1");
    script.send("S 0 <mss=1000>");
    script.expect("S. 0 ack 1");
    script.nothing();
}

#[test]
fn syn_ack_is_repeated_with_growing_intervals() {
    let mut script = Script::new(|config| config.tcp.options.syn_retries = 3);
    script.send("S 0 <mss=1000>");
    script.expect("S. 0 ack 1");
    script.expect_after(1000, "S. 0 ack 1");
    script.expect_after(2000, "S. 0 ack 1");
    script.expect_after(4000, "S. 0 ack 1");
    script.expect_after(8000, "R. 1 ack 1");
    assert_eq!(script.stack.statistics().connections, 0);
}

#[test]
fn a_wrong_acknowledgement_in_syn_received_is_reset_and_the_connection_stays() {
    let mut script = Script::new(|_| {});
    script.send("S 0");
    script.expect("S. 0 ack 1");
    script.send(". 1 ack 2");
    script.expect("R 2");
    script.send(". 1 ack 1");
    script.accept();
}

#[test]
fn in_syn_received_what_is_out_of_place_is_answered_with_the_state_of_things() {
    // RFC 5961 §3.2, RFC 9293 §3.10.7.4 first.
    for segment in ["R 100", "P. 100000:100010 ack 1", ". 100000 ack 1"] {
        let mut script = Script::new(|_| {});
        script.send("S 0");
        script.expect("S. 0 ack 1");
        script.send(segment);
        script.expect(". 1 ack 1");
        script.expect_after(1000, "S. 0 ack 1");
        script.send(". 1 ack 1");
        script.accept();
        script.nothing();
    }
}

#[test]
fn a_client_that_begins_anew_finds_the_half_open_connection_out() {
    let mut script = Script::new(|_| {});
    script.send("S 0");
    script.expect("S. 0 ack 1");
    // RFC 5961 §4.2: challenged, which only the true client resets (RFC 9293 §3.5.1, figure 9).
    script.send("S 5000");
    script.expect(". 1 ack 1");
    script.send("R 1");
    script.nothing();
    assert_eq!(script.stack.statistics().connections, 0);
    script.send("S 5000");
    script.expect("S. 0 ack 5001");
}

#[test]
fn a_reset_in_syn_received_returns_to_listen() {
    let mut script = Script::new(|_| {});
    script.send("S 0");
    script.expect("S. 0 ack 1");
    script.send("R 1");
    script.nothing();
    assert_eq!(script.stack.statistics().connections, 0);
    script.send("S 0");
    script.expect("S. 0 ack 1");
}

#[test]
fn data_on_the_third_segment_is_taken() {
    let mut script = Script::new(|_| {});
    script.send("S 0");
    script.expect("S. 0 ack 1");
    script.send("P. 1:101 ack 1");
    script.expect(". 1 ack 101");
    script.accept();
    assert_eq!(script.read(), 100);
}

#[test]
fn fin_on_the_third_segment_is_taken() {
    let mut script = Script::new(|_| {});
    script.send("S 0");
    script.expect("S. 0 ack 1");
    script.send("F. 1 ack 1");
    script.expect(". 1 ack 2");
    script.accept();
    assert_eq!(script.state(), Some(State::CloseWait));
}

#[test]
fn an_acknowledgement_for_nobody_is_reset() {
    let mut script = Script::new(|_| {});
    script.send(". 1 ack 77");
    script.expect("R 77");
    script.send("R 1");
    script.send("R. 1 ack 1");
    script.nothing();
}

#[test]
fn a_segment_to_a_closed_port_is_reset() {
    let mut script = Script::new(|_| {});
    let listener = script.listener;
    script.stack.unlisten(script.now, listener);
    script.send("S 0");
    script.expect("R. 0 ack 1");
    script.send("P. 5:10 ack 9");
    script.expect("R 9");
    script.send("R 0");
    script.nothing();
}

#[test]
fn active_opening_completes() {
    let mut script = Script::new(|config| config.tcp.sack = true);
    let id = script.connect();
    script.expect("S 0 win 65535 <mss=1460,sackOK,ws=7>");
    script.send("S. 0 ack 1 <mss=1000>");
    script.expect(". 1 ack 1");
    script.nothing();
    script.expect_event(&Event::Connected(id));
}

#[test]
fn active_opening_is_repeated_and_given_up() {
    let mut script = Script::new(|config| config.tcp.options.syn_retries = 2);
    let id = script.connect();
    script.expect("S 0");
    script.expect_after(1000, "S 0");
    script.expect_after(2000, "S 0");
    script.quiet(3999);
    script.quiet(1);
    script.expect_event(&Event::Reset(id, ResetReason::TimedOut));
}

#[test]
fn syn_sent_checks_the_acknowledgement_before_it_believes() {
    let mut script = Script::new(|_| {});
    let id = script.connect();
    script.expect("S 0");
    // RFC 9293 §3.10.7.3 first: an unacceptable acknowledgement is reset, unless it is a reset itself.
    script.send("S. 0 ack 2");
    script.expect("R 2");
    script.send(". 0 ack 0");
    script.expect("R 0");
    script.send("R. 0 ack 2");
    script.send("R 0");
    script.nothing();
    assert_eq!(script.state(), Some(State::SynSent));
    script.send("R. 0 ack 1");
    script.nothing();
    script.expect_event(&Event::Reset(id, ResetReason::Refused));
}

#[test]
fn simultaneous_opening_meets_in_the_middle() {
    let mut script = Script::new(|_| {});
    let id = script.connect();
    script.expect("S 0");
    script.send("S 0 <mss=1000>");
    script.expect("S. 0 ack 1");
    assert_eq!(script.state(), Some(State::SynReceived));
    script.send("S. 0 ack 1 <mss=1000>");
    script.expect(". 1 ack 1");
    script.expect_event(&Event::Connected(id));
    assert_eq!(script.state(), Some(State::Established));
}

#[test]
fn icmp_errors_end_an_opening_if_they_quote_it() {
    let mut script = Script::new(|_| {});
    let id = script.connect();
    script.expect("S 0");
    // RFC 5927 §4.1: the quoted sequence number is not under way.
    script.send_icmp(3, 1, 0, 5000);
    assert_eq!(script.state(), Some(State::SynSent));
    script.send_icmp(3, 1, 0, 0);
    script.expect_event(&Event::Reset(id, ResetReason::Unreachable(Unreachable::Host)));
}

#[test]
fn data_queued_before_the_handshake_goes_after_it() {
    let mut script = Script::new(|_| {});
    script.connect();
    script.write(10);
    let id = script.id();
    script.stack.shutdown(script.now, id);
    script.expect("S 0");
    script.send("S. 0 ack 1");
    script.expect("FP. 1:11 ack 1");
    script.nothing();
    assert_eq!(script.state(), Some(State::FinWait1));
}

#[test]
fn initial_sequence_numbers_differ_and_grow_with_time() {
    let mut first = Script::new(|_| {});
    first.send("S 0");
    first.take("S.");
    let one = first.initial.expect("seen");
    first.send("R 1");
    first.pass(1000);
    first.send("S 0");
    first.take("S.");
    // RFC 6528: the same ends, a second later: 250,000 ticks of four microseconds.
    assert_eq!(first.initial.expect("seen").wrapping_sub(one), 250_000);
}

#[test]
fn a_repeated_syn_does_not_count_as_our_repetition() {
    let mut script = Script::new(|config| config.tcp.options.syn_retries = 2);
    script.send("S 0 <mss=1000>");
    script.expect("S. 0 ack 1");
    for _ in 0..5 {
        script.send("S 0 <mss=1000>");
        script.expect("S. 0 ack 1");
    }
    script.expect_after(1000, "S. 0 ack 1");
    script.expect_after(2000, "S. 0 ack 1");
    script.expect_after(4000, "R. 1 ack 1");
}

#[test]
fn a_reset_with_syn_does_not_take_our_answer_back() {
    let mut script = Script::new(|_| {});
    script.send("S 0 <mss=1000>");
    script.send("SR 0");
    script.expect("S. 0 ack 1");
    script.expect_after(1000, "S. 0 ack 1");
}

#[test]
fn icmp_errors_do_not_end_an_opening_that_we_answered() {
    let mut script = Script::new(|_| {});
    script.send("S 0 <mss=1000>");
    script.expect("S. 0 ack 1");
    // RFC 5461 §4 is about SYN-SENT.
    for code in [0, 1, 3, 13] {
        script.send_icmp(3, code, 0, 0);
    }
    script.nothing();
    script.send(". 1 ack 1");
    script.accept();
}

#[test]
fn initial_sequence_numbers_depend_on_both_ends_and_the_key() {
    let number = |key: u8, port: u16| {
        let mut script = Script::new(|config| config.key = [key; 16]);
        let local = std::net::SocketAddr::from((super::script::LOCAL.0, 5000));
        let remote = std::net::SocketAddr::from((super::script::PEER.0, port));
        script.stack.connect(script.now, Some(local), remote, 0).expect("free");
        script.stack.poll_transmit(script.now).expect("SYN").to_vec()[24..28].to_vec()
    };
    assert_eq!(number(1, 80), number(1, 80));
    assert_ne!(number(1, 80), number(1, 81));
    assert_ne!(number(1, 80), number(2, 80));
}
