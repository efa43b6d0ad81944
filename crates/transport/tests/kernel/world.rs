//! The world beyond the TAP: a thread that runs a stack and plays every server, by port.

use std::collections::HashMap;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use minato_transport::{Config, ConnectionId, Event, IpCidr, Link, MacAddress, Stack, Unreachable};
use sha2::{Digest, Sha256};

use super::tap::Tap;

/// Echoes, and ends when the client ends.
pub const ECHO: u16 = 7;
/// Takes all, then says how many bytes were right and the SHA-256 of all.
pub const SINK: u16 = 9;
/// Sends as many bytes as the first eight bytes of the request say.
pub const SOURCE: u16 = 19;
pub const REFUSED: u16 = 81;
pub const NO_HOST: u16 = 82;
pub const NO_NETWORK: u16 = 84;

/// Frames taken from the TAP before answers go out.
const BATCH: usize = 32;

/// A byte that tells where it belongs.
pub fn pattern(at: u64) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31)) as u8
}

/// Bytes from `at` on.
pub fn fill(buffer: &mut [u8], at: u64) {
    for (offset, byte) in buffer.iter_mut().enumerate() {
        *byte = pattern(at + offset as u64);
    }
}

/// A digest as text.
pub fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug)]
enum Service {
    Echo,
    Sink {
        right: u64,
        digest: Sha256,
        answered: bool,
    },
    Source {
        left: Option<u64>,
        at: u64,
    },
    /// A connection that we opened: says hello, and echoes.
    Client,
}

/// Handle of the thread; dropping it ends the thread.
pub struct World {
    stop: Arc<AtomicBool>,
    connects: mpsc::Sender<(SocketAddr, SocketAddr)>,
    thread: Option<JoinHandle<Stack>>,
}

impl World {
    /// `loss` is per thousand, in both directions; as many frames come twice, and as many of ours are overtaken.
    pub fn start(virtio: bool, loss: u64, check: bool) -> World {
        World::start_on(Tap::new(virtio), virtio, loss, check)
    }

    /// As `start`, with every frame that passes the TAP written to `capture`.
    pub fn start_captured(virtio: bool, loss: u64, capture: &Path) -> World {
        let mut tap = Tap::new(virtio);
        tap.capture(capture);
        World::start_on(tap, virtio, loss, true)
    }

    fn start_on(tap: Tap, virtio: bool, loss: u64, check: bool) -> World {
        let stop = Arc::new(AtomicBool::new(false));
        let (connects, requests) = mpsc::channel();
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let link = Link::Ethernet { address: MacAddress([2, 0, 0, 0, 0, 1]), mtu: 1500, virtio };
            let mut config = Config::new(link, [7; 16]);
            config.any_destination = true;
            let cidr = |address: &str, length| IpCidr::new(address.parse().expect("ok"), length).expect("ok");
            config.addresses = vec![cidr("10.9.0.1", 24), cidr("fd99::1", 64)];
            let stack = Stack::new(now(), config);
            let mut runner = Runner { tap, stack, services: HashMap::new(), loss, seed: 88, check };
            runner.run(&flag, &requests);
            runner.stack
        });
        World { stop, connects, thread: Some(thread) }
    }

    /// Opens a connection into the namespace.
    pub fn connect(&self, from: SocketAddr, to: SocketAddr) {
        self.connects.send((from, to)).expect("the thread runs");
    }

    /// Ends the thread; its stack as it is then.
    pub fn finish(mut self) -> Stack {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("runs once").join().expect("the world did not panic")
    }
}

#[allow(clippy::disallowed_methods, reason = "this test runs in real time")]
pub fn now() -> Instant {
    Instant::now()
}

struct Runner {
    tap: Tap,
    stack: Stack,
    services: HashMap<ConnectionId, Service>,
    loss: u64,
    seed: u64,
    check: bool,
}

impl Runner {
    fn run(&mut self, stop: &AtomicBool, requests: &mpsc::Receiver<(SocketAddr, SocketAddr)>) {
        let mut buffer = vec![0; 70_000];
        while !stop.load(Ordering::Relaxed) {
            let mut idle = true;
            for _ in 0..BATCH {
                let Some(length) = self.tap.receive(&mut buffer) else { break };
                idle = false;
                if self.strikes() {
                    continue;
                }
                let again = self.strikes().then(|| buffer[..length].to_vec());
                self.stack.receive(now(), &mut buffer[..length]);
                if let Some(mut copy) = again {
                    self.stack.receive(now(), &mut copy);
                }
            }
            for (from, to) in requests.try_iter() {
                let id = self.stack.connect(now(), Some(from), to, 0).expect("free");
                self.services.insert(id, Service::Client);
            }
            let time = now();
            if self.stack.poll_timeout().is_some_and(|at| at <= time) {
                self.stack.handle_timeout(time);
            }
            self.act(time);
            self.flush(time);
            if idle {
                let until = self
                    .stack
                    .poll_timeout()
                    .map_or(Duration::from_millis(20), |at| at.saturating_duration_since(now()));
                self.tap.wait(until.min(Duration::from_millis(20)));
            }
        }
    }

    /// Whether a frame is lost, comes twice, or is overtaken: each happens as often.
    fn strikes(&mut self) -> bool {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % 1000 < self.loss
    }

    fn flush(&mut self, time: Instant) {
        // A frame that the next one overtakes.
        let mut late: Option<Vec<u8>> = None;
        loop {
            let (lost, twice, overtaken) = (self.strikes(), self.strikes(), self.strikes());
            let Some(transmit) = self.stack.poll_transmit(time) else { break };
            if lost {
                continue;
            }
            if overtaken && late.is_none() {
                late = Some(transmit.to_vec());
                continue;
            }
            for _ in 0..=usize::from(twice) {
                self.tap.send(&transmit.io_slices());
            }
            if let Some(late) = late.take() {
                self.tap.send(&[IoSlice::new(&late)]);
            }
        }
        if let Some(late) = late {
            self.tap.send(&[IoSlice::new(&late)]);
        }
    }

    fn act(&mut self, time: Instant) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Incoming(incoming) => match incoming.destination.port() {
                    REFUSED => self.stack.refuse_incoming(time, incoming.id),
                    NO_HOST => self.stack.unreachable_incoming(time, incoming.id, Unreachable::Host),
                    NO_NETWORK => self.stack.unreachable_incoming(time, incoming.id, Unreachable::Network),
                    port => {
                        let service = match port {
                            SINK => Service::Sink { right: 0, digest: Sha256::new(), answered: false },
                            SOURCE => Service::Source { left: None, at: 0 },
                            _ => Service::Echo,
                        };
                        let id = self.stack.accept_incoming(time, incoming.id).expect("room");
                        self.services.insert(id, service);
                    }
                },
                Event::Connected(id) if matches!(self.services.get(&id), Some(Service::Client)) => {
                    self.stack.send(time, id, b"hello");
                }
                Event::Readable(id) | Event::Writable(id) | Event::PeerClosed(id) => self.serve(time, id),
                Event::Closed(id) => {
                    self.stack.close(time, id);
                    self.services.remove(&id);
                }
                Event::Reset(id, _) => {
                    self.services.remove(&id);
                }
                Event::Echo(request) => {
                    let (from, to) = (request.destination, request.source);
                    self.stack.send_echo_reply(time, from, to, request.ident, request.sequence, &request.payload);
                }
                _ => {}
            }
        }
        self.answer_datagrams(time);
    }

    /// Port 7 echoes, port 81 is unreachable.
    fn answer_datagrams(&mut self, time: Instant) {
        while let Some(datagram) = self.stack.poll_datagram() {
            let (source, destination, payload) = (datagram.source, datagram.destination, datagram.payload.to_vec());
            if destination.port() == REFUSED {
                self.stack.datagram_unreachable(time, source, destination, &payload, Unreachable::Port);
            } else {
                let _ = self.stack.send_datagram(time, destination, source, &payload);
            }
        }
    }

    fn serve(&mut self, time: Instant, id: ConnectionId) {
        let Some(mut service) = self.services.remove(&id) else { return };
        match &mut service {
            Service::Echo | Service::Client => self.echo(time, id),
            Service::Sink { right, digest, answered } => {
                self.sink(time, id, right, digest);
                if self.stack.is_finished(id) && !std::mem::replace(answered, true) {
                    let answer = format!("{right} {}", hex(digest.clone()));
                    self.stack.send(time, id, answer.as_bytes());
                    self.stack.shutdown(time, id);
                }
            }
            Service::Source { left, at } => {
                if left.is_none() && self.stack.receive_chunks(id)[0].len() >= 8 {
                    let mut wanted = [0; 8];
                    let _ = self.stack.receive_into(time, id, &mut wanted);
                    *left = Some(u64::from_be_bytes(wanted));
                }
                if let Some(left) = left {
                    self.source(time, id, left, at);
                }
            }
        }
        self.services.insert(id, service);
    }

    fn echo(&mut self, time: Instant, id: ConnectionId) {
        let mut copy = vec![0; 65_536];
        loop {
            let room = self.stack.send_space(id, 65_536).len().min(65_536);
            if room == 0 {
                break;
            }
            match self.stack.receive_into(time, id, &mut copy[..room]) {
                Ok(count) if count > 0 => assert_eq!(self.stack.send(time, id, &copy[..count]), count),
                Ok(_) => {
                    self.stack.shutdown(time, id);
                    break;
                }
                Err(_) => break,
            }
        }
    }

    fn sink(&mut self, time: Instant, id: ConnectionId, right: &mut u64, digest: &mut Sha256) {
        loop {
            let mut count = 0;
            for chunk in self.stack.receive_chunks(id) {
                for byte in chunk.iter().filter(|_| self.check) {
                    assert_eq!(*byte, pattern(*right), "at byte {right}");
                    *right += 1;
                }
                if self.check {
                    digest.update(chunk);
                } else {
                    *right += chunk.len() as u64;
                }
                count += chunk.len();
            }
            if count == 0 {
                return;
            }
            self.stack.consume(time, id, count);
        }
    }

    fn source(&mut self, time: Instant, id: ConnectionId, left: &mut u64, at: &mut u64) {
        while *left > 0 {
            let check = self.check;
            let space = self.stack.send_space(id, 65_536);
            let count = space.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
            if count == 0 {
                return;
            }
            if check {
                fill(&mut space[..count], *at);
            }
            self.stack.commit(time, id, count);
            *at += count as u64;
            *left -= count as u64;
            if *left == 0 {
                self.stack.shutdown(time, id);
            }
        }
    }
}
