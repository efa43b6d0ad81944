//! The search for the path's packet size by probes (RFC 4821).

use minato_transport::Event;
use minato_transport::tcp::{PathMtu, SocketOptions};

use super::script::Script;

/// An accepted connection that trusts no path: segments of 1,024 bytes, probes of up to 1,460.
fn searching(options: &str) -> Script {
    let mut script = Script::new(|config| {
        config.tcp.options.path_mtu = PathMtu::Always;
        config.tcp.sack = true;
    });
    script.send(&format!("S 0 <mss=1460{options}>"));
    script.take("S.");
    script.send(". 1 ack 1");
    script.accept();
    script
}

impl Script {
    fn congestion_window(&self) -> usize {
        self.stack.status(self.id()).expect("alive").congestion_window
    }

    /// The peer has all that was sent; how much the first segment after that carries.
    fn acknowledge_all(&mut self) -> usize {
        self.pass(0);
        while self.next_packet().is_some() {}
        let status = self.stack.status(self.id()).expect("alive");
        self.send(&format!(". 1 ack {}", 1 + status.bytes_acknowledged + status.in_flight as u64));
        self.next_packet().map_or(0, |packet| packet.len() - 40)
    }
}

/// The probe goes out, and eight ordinary segments after it.
fn first_probe(script: &mut Script) {
    script.write(100_000);
    script.expect(". 1:1461 ack 1");
    for start in (1461..9653).step_by(1024) {
        script.expect(&format!(". {start}:{} ack 1", start + 1024));
    }
    script.nothing();
}

#[test]
fn a_lost_probe_is_repeated_in_ordinary_segments_and_the_congestion_window_stays() {
    let mut script = searching(",sackOK");
    first_probe(&mut script);
    for end in [2485, 3509, 4533] {
        script.send(&format!(". 1 ack 1 <sack=1461-{end}>"));
    }
    script.expect(". 1:1025 ack 1");
    script.expect(". 1025:1461 ack 1");
    assert_eq!(script.congestion_window(), 10_240);
    // The next is in the middle of what passes and what does not.
    assert_eq!(script.acknowledge_all(), 1242);
}

#[test]
fn without_sack_three_duplicates_show_that_the_probe_is_lost() {
    let mut script = searching("");
    first_probe(&mut script);
    for _ in 0..3 {
        script.send(". 1 ack 1");
    }
    script.expect(". 1:1025 ack 1");
    script.expect(". 1025:1461 ack 1");
    assert_eq!(script.congestion_window(), 10_240);
    assert_eq!(script.acknowledge_all(), 1242);
}

#[test]
fn a_delivered_probe_makes_larger_segments() {
    let mut script = searching(",sackOK");
    first_probe(&mut script);
    script.send(". 1 ack 9653");
    script.expect(". 9653:11113 ack 1");
    assert_eq!(script.stack.status(script.id()).expect("alive").segment_size, 1460);
}

#[test]
fn a_router_that_speaks_shortens_the_search() {
    let mut script = searching(",sackOK");
    first_probe(&mut script);
    script.send_icmp(3, 4, 1300, 1);
    script.expect(". 1:1025 ack 1");
    script.expect(". 1025:1461 ack 1");
    assert_eq!(script.congestion_window(), 10_240);
    // As large as the router said, and that is all there is to find.
    for _ in 0..3 {
        assert_eq!(script.acknowledge_all(), 1260);
    }
}

#[test]
fn a_raise_that_does_not_prove_itself_is_taken_back_by_the_first_timeout() {
    let mut script = searching(",sackOK");
    first_probe(&mut script);
    script.send(". 1 ack 9653");
    script.expect(". 9653:11113 ack 1");
    script.poll();
    script.pass(3000);
    assert_eq!(script.stack.status(script.id()).expect("alive").segment_size, 1024);
}

#[test]
fn more_loss_than_the_probe_says_nothing_about_the_path() {
    let mut script = searching(",sackOK");
    first_probe(&mut script);
    // The segment after the probe is missing as well.
    for end in [3509, 4533, 5557] {
        script.send(&format!(". 1 ack 1 <sack=2485-{end}>"));
    }
    script.expect(". 1:1025 ack 1");
    assert!(script.congestion_window() < 10_240);
    // The same size again, once recovery is over.
    assert_eq!(script.acknowledge_all(), 1460);
}

#[test]
fn a_probe_that_is_the_first_to_miss_when_time_runs_out_was_too_large() {
    let mut script = searching("");
    first_probe(&mut script);
    script.pass(500);
    let sizes = [(); 20].map(|()| script.acknowledge_all());
    assert_eq!(sizes.into_iter().find(|size| *size > 1024), Some(1242), "{sizes:?}");
}

#[test]
fn a_probe_does_not_go_around_the_restart_after_idleness() {
    let mut script = searching(",sackOK");
    first_probe(&mut script);
    script.send_icmp(3, 4, 1300, 1);
    script.write(100_000);
    while script.congestion_window() < 40_000 {
        script.acknowledge_all();
    }
    while script.stack.status(script.id()).expect("alive").queued > 0 {
        script.acknowledge_all();
    }
    // The search begins anew.
    script.pass(700_000);
    script.write(60_000);
    let mut sizes = Vec::new();
    while let Some(packet) = script.next_packet() {
        sizes.push(packet.len() - 40);
    }
    assert_eq!(sizes[0], 1460, "a probe");
    // RFC 5681 §4.1: ten segments.
    assert!(sizes.iter().sum::<usize>() <= 12_600, "{sizes:?}");
}

/// A request that was accepted with other options than the stack's, and its SYN-ACK is not sent yet.
fn accepted_incoming(before: PathMtu, change: impl FnOnce(&mut SocketOptions)) -> Script {
    let mut script = Script::new(|config| {
        config.any_destination = true;
        config.tcp.options.path_mtu = before;
    });
    script.stack.unlisten(script.now, script.listener);
    script.send("S 0 <mss=1460>");
    script.poll();
    let incoming = script.events.iter().find_map(|event| match event {
        Event::Incoming(incoming) => Some(incoming.id),
        _ => None,
    });
    let id = script.stack.accept_incoming(script.now, incoming.expect("asked")).expect("held");
    script.connection = Some(id);
    script.stack.set_options(script.now, id, change);
    script.take("S.");
    script.send(". 1 ack 1");
    script
}

#[test]
fn an_accepted_request_searches_up_to_its_own_largest_segment() {
    let mut script = accepted_incoming(PathMtu::Always, |options| options.segment_size_max = Some(700));
    script.write(20_000);
    script.expect(". 1:701 ack 1");
    for _ in 0..10 {
        assert!(script.acknowledge_all() <= 700);
    }
}

#[test]
fn an_accepted_request_may_be_told_to_search() {
    let mut script = accepted_incoming(PathMtu::Icmp, |options| options.path_mtu = PathMtu::Always);
    first_probe(&mut script);
}
