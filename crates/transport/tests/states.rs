//! Random packets against every state: no panic, no end of sending, no stuck connection, and a table of how many packets
//! met which state.

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::direct::{at, config, resident};
use common::{Random, start};
use minato_transport::tcp::{CongestionControl, KeepAlive, PathMtu, SocketOptions, State};
use minato_transport::{ConnectionId, Event, Stack};

/// Packets of one try, after which everything begins anew.
const PACKETS_PER_TRY: u64 = 32;

/// The states of RFC 9293 §3.3.2, and ours in which a request is held unanswered. Each is what some tries begin in.
const STATES: [&str; 12] = [
    "HELD",
    "CLOSED",
    "LISTEN",
    "SYN-SENT",
    "SYN-RECEIVED",
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
];

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// One flow between a peer, which is this test, and the stack.
struct Flow {
    stack: Stack,
    now: Instant,
    random: Random,
    /// Ports of the peer and of ours, and our address.
    remote: u16,
    local: SocketAddr,
    id: Option<ConnectionId>,
    /// Requests that are held may be accepted.
    accepts: bool,
    /// What the stack said last: its next sequence number, and the one that it expects.
    next: u32,
    expected: u32,
}

impl Flow {
    /// A flow of its own in the state's beginning.
    fn begin(stack: Stack, now: Instant, random: Random, number: u64, beginning: &str) -> Flow {
        let port = match beginning {
            "CLOSED" => 9,
            _ => 80,
        };
        let local = if beginning == "HELD" { SocketAddr::from(([192, 0, 2, 1], port)) } else { at(2, port) };
        let remote = 1024 + (number % 50_000) as u16;
        let mut flow = Flow { stack, now, random, remote, local, id: None, accepts: false, next: 0, expected: 1 };
        flow.reach(beginning);
        flow.accepts = true;
        flow
    }

    /// The way to a state by well-behaved segments.
    fn reach(&mut self, beginning: &str) {
        match beginning {
            "CLOSED" | "LISTEN" => {}
            "HELD" => self.segment(SYN, 0, 0, &[], 0),
            "SYN-SENT" => {
                let remote = SocketAddr::from(([10, 0, 0, 9], self.remote));
                self.id = self.stack.connect(self.now, Some(at(2, 1000)), remote, 0).ok();
                self.local = at(2, 1000);
                self.poll();
            }
            "SYN-RECEIVED" => {
                self.segment(SYN, 0, 0, &[2, 4, 5, 180, 1, 1, 4, 2], 0);
                self.id = self.stack.connections().find(|id| self.is_ours(*id));
            }
            "ESTABLISHED" => {
                self.reach("SYN-RECEIVED");
                self.well(ACK);
            }
            "FIN-WAIT-1" => {
                self.reach("ESTABLISHED");
                self.act(Stack::shutdown);
            }
            "FIN-WAIT-2" => {
                self.reach("FIN-WAIT-1");
                self.well(ACK);
            }
            "CLOSE-WAIT" => {
                self.reach("ESTABLISHED");
                self.well(FIN | ACK);
            }
            "CLOSING" => {
                self.reach("FIN-WAIT-1");
                let before = self.next.wrapping_sub(1);
                self.segment(FIN | ACK, self.expected, before, &[], 0);
            }
            "LAST-ACK" => {
                self.reach("CLOSE-WAIT");
                self.act(Stack::shutdown);
            }
            "TIME-WAIT" => {
                self.reach("FIN-WAIT-2");
                self.well(FIN | ACK);
            }
            other => panic!("no way to {other}"),
        }
    }

    fn is_ours(&self, id: ConnectionId) -> bool {
        self.stack.status(id).is_some_and(|status| status.remote.port() == self.remote)
    }

    fn act(&mut self, call: impl Fn(&mut Stack, Instant, ConnectionId)) {
        if let Some(id) = self.id {
            call(&mut self.stack, self.now, id);
        }
        self.poll();
    }

    /// A segment that is right in every respect.
    fn well(&mut self, flags: u8) {
        self.segment(flags, self.expected, self.next, &[], 0);
    }

    /// The state that the next packet meets.
    fn state(&self) -> &'static str {
        let statistics = self.stack.statistics();
        match self.id.and_then(|id| self.stack.status(id)).map(|status| status.state) {
            _ if statistics.time_wait > 0 => "TIME-WAIT",
            _ if statistics.incoming > 0 => "HELD",
            None if self.local.port() == 80 && self.local.ip() == at(2, 80).ip() => "LISTEN",
            None | Some(State::Closed | State::Listen | State::TimeWait) => "CLOSED",
            Some(State::SynSent) => "SYN-SENT",
            Some(State::SynReceived) => "SYN-RECEIVED",
            Some(State::Established) => "ESTABLISHED",
            Some(State::FinWait1) => "FIN-WAIT-1",
            Some(State::FinWait2) => "FIN-WAIT-2",
            Some(State::CloseWait) => "CLOSE-WAIT",
            Some(State::Closing) => "CLOSING",
            Some(State::LastAck) => "LAST-ACK",
        }
    }

    fn segment(&mut self, flags: u8, seq: u32, ack: u32, options: &[u8], payload: usize) {
        let total = 40 + options.len() + payload;
        let mut frame = vec![0; 10 + total];
        frame[0] = 1;
        let ip = &mut frame[10..];
        ip[..4].copy_from_slice(&[0x45, 0, (total >> 8) as u8, total as u8]);
        ip[8..10].copy_from_slice(&[64, 6]);
        ip[12..16].copy_from_slice(&[10, 0, 0, 9]);
        if let SocketAddr::V4(local) = self.local {
            ip[16..20].copy_from_slice(&local.ip().octets());
        }
        let sum: u32 = ip[..20].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        ip[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
        let tcp = &mut ip[20..];
        tcp[..2].copy_from_slice(&self.remote.to_be_bytes());
        tcp[2..4].copy_from_slice(&self.local.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&ack.to_be_bytes());
        tcp[12..14].copy_from_slice(&[((20 + options.len()) as u8) << 2, flags]);
        let window = if self.random.chance(900) { 0xffff } else { self.random.next() as u16 };
        tcp[14..16].copy_from_slice(&window.to_be_bytes());
        tcp[20..20 + options.len()].copy_from_slice(options);
        self.receive(frame, 50 + options.len());
        self.poll();
    }

    /// In each of the three ways in turn, whatever the packet.
    fn receive(&mut self, mut frame: Vec<u8>, headers: usize) {
        match self.random.below(3) {
            0 => self.stack.receive(self.now, &mut frame),
            1 => self.stack.receive_shared(self.now, &Bytes::from(frame)),
            _ => {
                let part = 1 + self.random.below(2000) as usize;
                let (head, payload) = frame.split_at(headers);
                let body: Vec<Bytes> = payload.chunks(part).map(Bytes::copy_from_slice).collect();
                self.stack.receive_parts(self.now, head, &body);
            }
        }
    }

    /// Takes events and frames, and notes the numbers of ours.
    fn poll(&mut self) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Acceptable(listener) => {
                    if let Some(id) = self.stack.accept(listener) {
                        self.id = Some(id);
                    }
                }
                Event::Incoming(incoming) if self.accepts && self.random.chance(100) => {
                    self.id = self.stack.accept_incoming(self.now, incoming.id).ok();
                }
                _ => {}
            }
        }
        let mut frames = 0;
        while let Some(transmit) = self.stack.poll_transmit(self.now) {
            frames += 1;
            assert!(frames < 1000, "it never stops sending");
            let tcp = transmit.head.get(30..50).filter(|tcp| transmit.head[19] == 6 && tcp[13] & RST == 0);
            let Some(tcp) = tcp else { continue };
            let word = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
            let payload = transmit.length() - 30 - usize::from(tcp[12] >> 4) * 4;
            self.next = word(4).wrapping_add(payload as u32 + u32::from(tcp[13] & FIN) + u32::from(tcp[13] >> 1 & 1));
            if tcp[13] & ACK != 0 {
                self.expected = word(8);
            }
        }
    }

    /// A packet that is wrong in some respects, mostly near to what would be right; now and then a call or some time.
    fn disturb(&mut self) {
        const NEAR: [u32; 10] = [0, 0, 0, 1, u32::MAX, 1460, 30_000, 65_535, 1 << 31, 0x9000_0000];
        let mut near = |base: u32| base.wrapping_add(NEAR[self.random.below(10) as usize]);
        let (seq, ack) = (near(self.expected), near(self.next));
        let flags = match self.random.below(8) {
            0 => SYN,
            1 => RST,
            2 => FIN | ACK,
            3 => self.random.next() as u8,
            _ => ACK | (self.random.next() as u8 & 0xe8),
        };
        let words = self.random.below(11) as usize;
        let mut options: Vec<u8> = (0..4 * words).map(|_| self.random.next() as u8).collect();
        match self.random.below(3) {
            0 => options.clear(),
            // Selective acknowledgements around what is under way.
            1 if options.len() >= 12 => {
                options[..4].copy_from_slice(&[1, 1, 5, 10]);
                options[4..8].copy_from_slice(&near_word(&mut self.random, self.next));
                options[8..12].copy_from_slice(&near_word(&mut self.random, self.next));
            }
            _ => {}
        }
        let payload = if self.random.chance(500) { 0 } else { self.random.below(3000) as usize };
        self.segment(flags, seq, ack, &options, payload);
        match self.random.below(32) {
            0 => {
                let exponent = self.random.below(14);
                self.pass(Duration::from_millis(1 << exponent));
            }
            1 => self.act(|stack, now, id| {
                stack.send(now, id, &[7; 5000]);
            }),
            2 => self.act(|stack, now, id| {
                let _ = stack.receive_into(now, id, &mut [0; 2000]);
            }),
            3 => {
                let options = self.any_options();
                self.act(|stack, now, id| stack.set_options(now, id, |old| *old = options.clone()));
            }
            _ => {}
        }
    }

    /// Options of any values, sensible or not, but such that nothing lasts longer than the end of a try waits.
    fn any_options(&mut self) -> SocketOptions {
        let random = &mut self.random;
        let mut time = |most: u64| Duration::from_millis(random.below(most));
        let (ack_delay, first_ack_delay, user_timeout) = (time(1000), time(1000), time(900_000));
        let (fin_wait, linger) = (time(60_000), time(5000));
        let keep_alive = KeepAlive { idle: time(20_000), interval: time(5000), probes: time(10).as_millis() as u8 };
        let mut size = |most: u64| if random.chance(100) { 0 } else { random.below(most) as usize };
        SocketOptions {
            nagle: size(2) == 1,
            ack_delay,
            first_ack_delay,
            keep_alive: (size(2) == 1).then_some(keep_alive),
            user_timeout,
            syn_retries: size(6) as u8,
            fin_wait,
            linger: (size(2) == 1).then_some(linger),
            receive_buffer: size(100_000),
            receive_buffer_max: size(10 << 20),
            send_buffer_max: size(100_000),
            congestion: [CongestionControl::Cubic, CongestionControl::NewReno][size(2)],
            segment_size_max: (size(2) == 1).then_some(size(2000) as u16),
            path_mtu: [PathMtu::Icmp, PathMtu::AfterBlackHole, PathMtu::Always][size(3)],
            hop_limit: size(256) as u8,
            traffic_class: size(256) as u8,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.stack.handle_timeout(self.now);
        self.poll();
    }

    /// The peer falls silent, and the caller goes: nothing may be left after a while.
    fn end(mut self) -> (Stack, Instant, Random) {
        let all: Vec<ConnectionId> = self.stack.connections().collect();
        for id in all {
            self.stack.close(self.now, id);
        }
        for _ in 0..40 {
            let statistics = self.stack.statistics();
            if (statistics.connections, statistics.time_wait, statistics.incoming) == (0, 0, 0) {
                return (self.stack, self.now, self.random);
            }
            self.pass(Duration::from_secs(60));
            let left: Vec<ConnectionId> = self.stack.connections().collect();
            for id in left {
                self.stack.close(self.now, id);
            }
        }
        panic!("stuck: {:#?}", self.stack);
    }
}

fn near_word(random: &mut Random, base: u32) -> [u8; 4] {
    base.wrapping_sub(random.below(8000) as u32).to_be_bytes()
}

/// So many packets, the same number in each beginning; how many met which state.
fn attack(packets: u64, seed: u64) -> BTreeMap<&'static str, u64> {
    let mut met = BTreeMap::new();
    let now = start();
    let [mut host, mut router] = [false, true].map(|any_destination| {
        let mut config = config(2);
        config.any_destination = any_destination;
        let mut stack = Stack::new(now, config);
        stack.listen(at(2, 80), 8).expect("free");
        Some((stack, now, Random(seed)))
    });
    let (mut number, mut sent) = (0, 0);
    while sent < packets {
        for name in STATES {
            let place = if name == "HELD" { &mut router } else { &mut host };
            let (stack, now, random) = place.take().expect("it comes back");
            let mut flow = Flow::begin(stack, now, random, number, name);
            assert_eq!(flow.state(), name, "try {number}");
            number += 1;
            for _ in 0..PACKETS_PER_TRY {
                *met.entry(flow.state()).or_default() += 1;
                flow.disturb();
                sent += 1;
            }
            *place = Some(flow.end());
        }
    }
    met
}

#[allow(clippy::print_stdout, reason = "the table is asked for")]
fn check(packets: u64, seed: u64) {
    let before = resident();
    let met = attack(packets, seed);
    println!("{met:?}");
    assert!(met.values().sum::<u64>() >= packets);
    for name in STATES {
        let count = met.get(name).copied().unwrap_or(0);
        // Each try begins in its state, so each is met at least once per round.
        let rounds = packets / PACKETS_PER_TRY / STATES.len() as u64;
        assert!(count >= rounds, "{name} was met {count} times only");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more than before");
}

#[test]
fn random_packets_in_every_state_do_no_harm() {
    check(300_000, 1);
}

#[test]
#[ignore = "takes a minute: cargo test --release -p minato-transport --test states -- --ignored --nocapture"]
fn ten_million_random_packets_in_every_state_do_no_harm() {
    check(10_000_000, 2);
}
