//! Two stacks joined by a simulated link: virtual clock, delay, loss, reordering and duplication from a seed.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod direct;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use minato_transport::{Bytes, Config, ConnectionId, Event, IpCidr, Link, MacAddress, Stack};

/// A small generator: the same seed, the same run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// What the link does to frames, per thousand.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    pub delay: Duration,
    pub loss: u64,
    pub reorder: u64,
    pub duplicate: u64,
}

impl Trouble {
    pub const NONE: Trouble = Trouble { delay: Duration::from_micros(100), loss: 0, reorder: 0, duplicate: 0 };
}

/// How frames are given to the stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// To look at.
    Lent,
    /// To keep, in one piece.
    Shared,
    /// To keep, cut after the headers and at any place behind them.
    Parts,
}

/// Stack 0 is a host at .2, stack 1 a router at .1 that takes any destination.
pub struct Pair {
    pub stacks: [Stack; 2],
    pub now: Instant,
    pub start: Instant,
    pub trouble: Trouble,
    pub random: Random,
    pub events: [Vec<Event>; 2],
    pub frames: [u64; 2],
    pub delivery: Delivery,
    /// Changes one frame in ten; the right one arrives as well half of the time.
    pub mutation: Option<fn(&mut Random, &mut Vec<u8>)>,
    air: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sent: u64,
}

pub fn host() -> IpAddr {
    "10.0.0.2".parse().expect("an address")
}

pub fn router() -> IpAddr {
    "10.0.0.1".parse().expect("an address")
}

pub fn far(port: u16) -> SocketAddr {
    SocketAddr::new("198.51.100.7".parse().expect("an address"), port)
}

pub fn config(number: u8, virtio: bool) -> Config {
    let link = Link::Ethernet { address: MacAddress([2, 0, 0, 0, 0, number]), mtu: 1500, virtio };
    let mut config = Config::new(link, [number; 16]);
    config.datagram_segmentation = virtio;
    let v4 = IpCidr::new(IpAddr::from([10, 0, 0, 3 - number]), 24);
    let v6 = IpCidr::new(format!("fd00::{}", 3 - number).parse().expect("an address"), 64);
    config.addresses = vec![v4.expect("a prefix"), v6.expect("a prefix")];
    if number == 1 {
        config.gateways = vec![router(), "fd00::1".parse().expect("an address")];
    } else {
        config.any_destination = true;
    }
    config
}

#[allow(clippy::disallowed_methods, reason = "where the virtual clock starts does not matter")]
pub fn start() -> Instant {
    Instant::now()
}

impl Pair {
    pub fn new(virtio: bool, trouble: Trouble, seed: u64) -> Pair {
        Pair::with(config(1, virtio), config(2, virtio), trouble, seed)
    }

    pub fn with(host: Config, router: Config, trouble: Trouble, seed: u64) -> Pair {
        let now = start();
        Pair {
            stacks: [Stack::new(now, host), Stack::new(now, router)],
            now,
            start: now,
            trouble,
            random: Random(seed),
            events: [Vec::new(), Vec::new()],
            frames: [0; 2],
            delivery: Delivery::Lent,
            mutation: None,
            air: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Lets both learn each other's station address, and then has the link make its trouble.
    pub fn warmed(virtio: bool, trouble: Trouble, seed: u64) -> Pair {
        let mut pair = Pair::new(virtio, Trouble::NONE, seed);
        let source = SocketAddr::new(host(), 9);
        pair.stacks[0].send_datagram(pair.now, source, far(9), &[]).expect("room");
        pair.run_for(Duration::from_millis(1));
        assert!(pair.stacks[1].poll_datagram().is_some());
        pair.trouble = trouble;
        pair
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Takes events and frames from both stacks; frames go into the air.
    pub fn collect(&mut self) {
        for from in 0..2 {
            while let Some(event) = self.stacks[from].poll_event() {
                self.events[from].push(event);
            }
            while let Some(transmit) = self.stacks[from].poll_transmit(self.now) {
                let frame = transmit.to_vec();
                self.frames[from] += 1;
                self.launch(1 - from, &frame);
            }
        }
    }

    fn launch(&mut self, to: usize, frame: &[u8]) {
        if self.random.chance(self.trouble.loss) {
            return;
        }
        if let Some(mutation) = self.mutation.filter(|_| self.random.chance(100)) {
            let mut changed = frame.to_vec();
            mutation(&mut self.random, &mut changed);
            self.sent += 1;
            self.air.insert((self.now + self.trouble.delay, self.sent), (to, changed));
            if self.random.chance(500) {
                return;
            }
        }
        let copies = if self.random.chance(self.trouble.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let mut delay = self.trouble.delay;
            if self.random.chance(self.trouble.reorder) {
                delay += self.trouble.delay * (1 + self.random.below(3) as u32) / 2;
            }
            self.sent += 1;
            self.air.insert((self.now + delay, self.sent), (to, frame.to_vec()));
        }
    }

    /// Moves the clock to the next thing that happens and lets it happen; `false` if nothing does before `limit`.
    pub fn step(&mut self, limit: Instant) -> bool {
        self.collect();
        let arrival = self.air.keys().next().map(|(at, _)| *at);
        let timeouts = self.stacks.iter().filter_map(Stack::poll_timeout).min();
        let Some(next) = arrival.into_iter().chain(timeouts).min() else { return false };
        if next > limit {
            self.now = limit;
            return false;
        }
        self.now = self.now.max(next);
        while let Some(entry) = self.air.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (to, frame) = entry.remove();
            self.deliver(to, frame);
        }
        for stack in &mut self.stacks {
            stack.handle_timeout(self.now);
        }
        self.collect();
        true
    }

    fn deliver(&mut self, to: usize, mut frame: Vec<u8>) {
        // The longest headers there are: Ethernet's, IPv6's and TCP's, after what the link puts in front.
        let headers = if self.stacks[to].config().link.virtio() { 10 } else { 0 } + 14 + 40 + 60;
        match self.delivery {
            Delivery::Lent => self.stacks[to].receive(self.now, &mut frame),
            Delivery::Shared => self.stacks[to].receive_shared(self.now, &frame.into()),
            Delivery::Parts => {
                let mut body = Bytes::from(frame.split_off(headers.min(frame.len())));
                let second = body.split_off(self.random.below(body.len() as u64 + 1) as usize);
                self.stacks[to].receive_parts(self.now, &frame, &[body, second]);
            }
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        let limit = self.now + time;
        while self.step(limit) {}
        self.now = limit;
    }

    /// Runs until `done`, or panics after `time`.
    pub fn run_until(&mut self, time: Duration, mut done: impl FnMut(&mut Pair) -> bool) {
        let limit = self.now + time;
        loop {
            self.collect();
            if done(self) {
                return;
            }
            assert!(self.step(limit), "not done after {time:?}: {:?}", self.events);
        }
    }

    /// A connection from the host to a far server that the router plays: both ends.
    pub fn connect(&mut self, remote: SocketAddr) -> (ConnectionId, ConnectionId) {
        let random = self.random.next();
        let client = self.stacks[0].connect(self.now, None, remote, random).expect("a free port");
        let mut server = None;
        self.run_until(Duration::from_secs(100), |pair| {
            for event in std::mem::take(&mut pair.events[1]) {
                if let Event::Incoming(incoming) = event {
                    assert_eq!(incoming.destination, remote);
                    server = Some(pair.stacks[1].accept_incoming(pair.now, incoming.id).expect("it is held"));
                }
            }
            pair.events[0].contains(&Event::Connected(client))
        });
        let server = server.expect("the router was asked");
        (client, server)
    }
}

/// Bytes that tell where they belong.
pub fn pattern(at: usize) -> u8 {
    let at = at as u64;
    (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31)) as u8
}

/// Sends `total` bytes from one end to the other and the FIN after them, checks each byte; the virtual time it took.
pub fn transfer(pair: &mut Pair, from: (usize, ConnectionId), to: (usize, ConnectionId), total: usize) -> Duration {
    let begin = pair.now;
    let (mut queued, mut got) = (0, 0);
    pair.run_until(Duration::from_secs(3600), |pair| {
        while queued < total {
            let space = pair.stacks[from.0].send_space(from.1, total - queued);
            let count = space.len().min(total - queued);
            if count == 0 {
                break;
            }
            for (offset, byte) in space[..count].iter_mut().enumerate() {
                *byte = pattern(queued + offset);
            }
            pair.stacks[from.0].commit(pair.now, from.1, count);
            queued += count;
            if queued == total {
                pair.stacks[from.0].shutdown(pair.now, from.1);
            }
        }
        loop {
            let mut read = 0;
            for chunk in pair.stacks[to.0].receive_chunks(to.1) {
                for byte in chunk {
                    assert_eq!(*byte, pattern(got), "at byte {got}");
                    got += 1;
                }
                read += chunk.len();
            }
            if read == 0 {
                break;
            }
            pair.stacks[to.0].consume(pair.now, to.1, read);
        }
        pair.collect();
        got == total && pair.stacks[to.0].is_finished(to.1)
    });
    pair.now - begin
}
