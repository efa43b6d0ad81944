//! The search for the path's packet size by probes (RFC 4821).

use minato_transport::tcp::PathMtu;

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
