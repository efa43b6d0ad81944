//! Whatever frames come and whatever the caller does between them: no panic, bounded memory, and a quiet end.
//!
//! The input is a program: each step one byte of what to do, and its arguments. Frames are TCP segments to live flows whose
//! fields the fuzzer chooses (sequence numbers relative to the last seen, so that they hit the window), or raw bytes.
//!
//! Without cargo-fuzz (no nightly): `RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Cpasses=sancov-module
//! -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
//! -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1 -Cdebug-assertions" cargo run --release --target x86_64-unknown-linux-gnu --bin frames`.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use minato_transport::tcp::{CongestionControl, KeepAlive, PathMtu, SocketOptions};
use minato_transport::{Config, ConnectionId, Event, IpCidr, Link, Stack, Unreachable};

struct Machine<'a> {
    input: &'a [u8],
    stack: Stack,
    now: Instant,
    alive: Vec<ConnectionId>,
    /// What our side sent last: sequence and acknowledgement numbers to aim at.
    sequence: u32,
    acknowledgement: u32,
}

impl Machine<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.input.split_first()?;
        self.input = rest;
        Some(*first)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// A segment from 10.0.0.9 to 10.0.0.1 with fields from the input; the checksum is the link's to trust.
    fn segment(&mut self) -> Option<()> {
        let (flags, ports) = (self.byte()?, self.byte()?);
        let near = |base: u32, by: u16| base.wrapping_add_signed(i32::from(by as i16));
        let (seq, ack) = (self.word()?, self.word()?);
        let (seq, ack) = (near(self.acknowledgement, seq), near(self.sequence, ack));
        let window = self.word()?;
        let options = usize::from(self.byte()? % 11) * 4;
        let payload = usize::from(self.word()? % 3000);
        let total = 40 + options + payload;
        let mut frame = vec![0; 10 + total];
        frame[0] = 1;
        let ip = &mut frame[10..];
        ip[..2].copy_from_slice(&[0x45, flags >> 6 & 3]);
        ip[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        ip[8..10].copy_from_slice(&[64, 6]);
        ip[12..20].copy_from_slice(&[10, 0, 0, 9, 10, 0, 0, 1]);
        let sum: u32 = ip[..20].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        let tcp = &mut ip[20..];
        tcp[..4].copy_from_slice(&[0x10, ports & 7, 0, 80 + (ports >> 3 & 1)]);
        tcp[4..8].copy_from_slice(&seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&ack.to_be_bytes());
        tcp[12..14].copy_from_slice(&[((20 + options) as u8) << 2, flags & 0x3f | (flags & 0x40) << 1]);
        tcp[14..16].copy_from_slice(&window.to_be_bytes());
        for at in 20..20 + options {
            tcp[at] = self.byte().unwrap_or(1);
        }
        let headers = 30 + 20 + options;
        self.receive(frame, headers)
    }

    /// Frames come in each of the three ways: lent, shared, in parts (`headers` before the first of them).
    fn receive(&mut self, mut frame: Vec<u8>, headers: usize) -> Option<()> {
        match self.byte()? {
            way @ 0..64 => {
                let (head, body) = frame.split_at(headers.min(frame.len()));
                let body: Vec<Bytes> = body.chunks(1 + usize::from(way) * 32).map(Bytes::copy_from_slice).collect();
                self.stack.receive_parts(self.now, head, &body);
            }
            64..128 => self.stack.receive_shared(self.now, &Bytes::from(frame)),
            _ => self.stack.receive(self.now, &mut frame),
        }
        Some(())
    }

    fn raw(&mut self) -> Option<()> {
        let length = usize::from(self.byte()?).min(self.input.len());
        let (bytes, rest) = self.input.split_at(length);
        self.input = rest;
        let headers = usize::from(self.byte()?);
        self.receive(bytes.to_vec(), headers)
    }

    /// Options of any values, sensible or not.
    fn options(&mut self, id: ConnectionId) -> Option<()> {
        let (choices, small, size) = (self.byte()?, self.byte()?, usize::from(self.word()?));
        let time = Duration::from_millis(size as u64);
        self.stack.set_options(self.now, id, |options| match choices & 15 {
            0 => options.nagle = small & 1 == 1,
            1 => (options.ack_delay, options.first_ack_delay) = (time, time / 2),
            2 => options.keep_alive = Some(KeepAlive { idle: time, interval: time / 2, probes: small }),
            3 => options.user_timeout = time,
            4 => options.syn_retries = small & 7,
            5 => options.linger = Some(time),
            6 => options.receive_buffer = size,
            7 => options.receive_buffer_max = size << (small & 7),
            8 => options.send_buffer_max = size << (small & 7),
            9 => options.congestion = CongestionControl::NewReno,
            10 => options.segment_size_max = Some(size as u16),
            11 => options.path_mtu = PathMtu::Always,
            12 => (options.hop_limit, options.traffic_class) = (small, small),
            _ => *options = SocketOptions::default(),
        });
        Some(())
    }

    fn poll(&mut self) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Incoming(incoming) => match incoming.source.port() & 3 {
                    0 => self.stack.unreachable_incoming(self.now, incoming.id, Unreachable::Host),
                    1 => self.stack.refuse_incoming(self.now, incoming.id),
                    _ => self.alive.extend(self.stack.accept_incoming(self.now, incoming.id)),
                },
                Event::Acceptable(listener) => self.alive.extend(self.stack.accept(listener)),
                Event::Echo(request) => self.stack.echo_unreachable(self.now, &request, Unreachable::Host),
                _ => {}
            }
        }
        while self.stack.poll_datagram().is_some() {}
        let mut frames = 0;
        while let Some(transmit) = self.stack.poll_transmit(self.now) {
            frames += 1;
            assert!(frames < 100_000, "it never stops sending");
            if let Some(tcp) = transmit.head.get(30..50).filter(|_| transmit.head[19] == 6) {
                self.sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
                self.acknowledgement = u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]);
            }
        }
    }

    fn step(&mut self) -> Option<()> {
        let what = self.byte()?;
        let chosen = self.alive.get(usize::from(what >> 4) % self.alive.len().max(1)).copied();
        match (what & 15, chosen) {
            (0..=5, _) => self.segment()?,
            (6, _) => self.raw()?,
            (7, _) => {
                let wait = Duration::from_micros(1 << (self.byte()? % 36));
                self.now += wait;
                self.stack.handle_timeout(self.now);
            }
            (8, _) => {
                let remote = SocketAddr::from(([10, 0, 0, 9], 4096 + u16::from(what >> 4 & 7)));
                let local = SocketAddr::from(([10, 0, 0, 1], 80));
                self.alive.extend(self.stack.connect(self.now, Some(local), remote, 0));
            }
            (9, Some(id)) => self.options(id)?,
            (10, Some(id)) => {
                let length = usize::from(self.word()?);
                self.stack.send(self.now, id, &vec![7; length]);
            }
            (11, Some(id)) => {
                let length = usize::from(self.word()?);
                self.stack.consume(self.now, id, length);
            }
            (12, Some(id)) => {
                let length = usize::from(self.word()?);
                let room = self.stack.send_space(id, length).len();
                self.stack.commit(self.now, id, room.min(length));
            }
            (13, Some(id)) => self.stack.shutdown(self.now, id),
            (14, Some(id)) => self.stack.close(self.now, id),
            (15, Some(id)) => self.stack.abort(self.now, id),
            _ => {}
        }
        self.poll();
        Some(())
    }
}

fuzz_target!(|input: &[u8]| {
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: true }, [1; 16]);
    config.addresses = vec![IpCidr::new([10, 0, 0, 1].into(), 8).expect("a prefix")];
    config.any_destination = true;
    let now = Instant::now();
    let mut stack = Stack::new(now, config);
    stack.listen(SocketAddr::from(([10, 0, 0, 1], 80)), 3).expect("free");
    let mut machine = Machine { input, stack, now, alive: Vec::new(), sequence: 0, acknowledgement: 0 };
    while machine.step().is_some() {}
    // Nobody answers any more: everything comes to an end.
    for id in std::mem::take(&mut machine.alive) {
        machine.stack.close(machine.now, id);
    }
    for _ in 0..40 {
        machine.now += Duration::from_secs(60);
        machine.stack.handle_timeout(machine.now);
        machine.poll();
        let left: Vec<ConnectionId> = machine.stack.connections().collect();
        for id in left {
            machine.stack.close(machine.now, id);
        }
    }
    let statistics = machine.stack.statistics();
    assert_eq!((statistics.time_wait, statistics.incoming), (0, 0));
    assert!(statistics.connections <= 3, "only what nobody accepted is left: {statistics:?}");
});
