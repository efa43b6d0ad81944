//! Two of our stacks, joined in memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use minato_transport::{Bytes, Config, ConnectionId, Event, IpCidr, Link, Stack};

use super::{PIECE, is_all};

/// Both stacks, and the frame that is under way: each is handed over as soon as it is polled, which the sans-IO interface
/// allows and which keeps it in the processor's cache.
pub struct Ours {
    stacks: [Stack; 2],
    now: Instant,
    frame: Vec<u8>,
    listener: minato_transport::ListenerId,
    /// Frames are handed over with the memory that they are in, instead of being copied into one buffer as most links do.
    shares: bool,
}

impl Ours {
    /// `buffer` bounds what each end queues to send and what it holds unread.
    pub fn new(virtio: bool, buffer: usize, shares: bool) -> Ours {
        let now = super::now();
        let make = |number: u8| {
            let mut config = Config::new(Link::Ip { mtu: 1500, virtio }, [number; 16]);
            config.addresses = vec![IpCidr::new([10, 0, 0, number].into(), 8).expect("a prefix")];
            config.any_destination = number == 1;
            config.tcp.options.send_buffer_max = buffer;
            config.tcp.options.receive_buffer = buffer.min(config.tcp.options.receive_buffer);
            config.tcp.options.receive_buffer_max = buffer;
            config.tcp.time_wait = Duration::from_millis(1);
            Stack::new(now, config)
        };
        let mut stacks = [make(1), make(2)];
        let listener = stacks[1].listen(SocketAddr::from(([10, 0, 0, 2], 80)), 100_000).expect("free");
        Ours { stacks, now, frame: Vec::with_capacity(70_000), listener, shares }
    }

    /// Moves all frames once in each direction; whether there were any.
    fn exchange(&mut self) -> bool {
        let mut moved = false;
        let [mut one, mut other] = self.stacks.each_mut();
        for _ in 0..2 {
            while let Some(transmit) = one.poll_transmit(self.now) {
                moved = true;
                if self.shares {
                    other.receive_parts(self.now, transmit.head, &transmit.shared_body());
                    continue;
                }
                self.frame.clear();
                self.frame.extend_from_slice(transmit.head);
                for part in transmit.body {
                    self.frame.extend_from_slice(part);
                }
                other.receive(self.now, &mut self.frame);
            }
            std::mem::swap(&mut one, &mut other);
        }
        moved
    }

    fn settle(&mut self) {
        while self.exchange() {}
        self.now += Duration::from_micros(10);
        for stack in &mut self.stacks {
            while stack.poll_event().is_some() {}
            if stack.poll_timeout().is_some_and(|at| at <= self.now) {
                stack.handle_timeout(self.now);
            }
        }
    }

    pub fn connect(&mut self, random: u64) -> (ConnectionId, ConnectionId) {
        let remote = SocketAddr::from(([10, 0, 0, 2], 80));
        // Many sources, so that ports suffice for many connections.
        let local = SocketAddr::from(([10, 16, (random >> 12) as u8, 1], 1024 + (random & 0xfff) as u16));
        let client = self.stacks[0].connect(self.now, Some(local), remote, random).expect("free");
        self.settle();
        let server = self.stacks[1].accept(self.listener).expect("connected");
        (client, server)
    }

    /// Moves so many bytes, all of this value: written by one side and looked at by the other.
    pub fn bulk(&mut self, pair: (ConnectionId, ConnectionId), bytes: usize, value: u8) {
        let (mut sent, mut got) = (0, 0);
        let mut rest = Bytes::new();
        while got < bytes {
            if self.shares {
                sent += self.give(pair.0, bytes - sent, value, &mut rest);
            } else {
                sent += self.write(pair.0, bytes - sent, value);
            }
            self.exchange();
            got += self.read(pair.1, value);
            self.now += Duration::from_micros(10);
            for stack in &mut self.stacks {
                while stack.poll_event().is_some() {}
                if stack.poll_timeout().is_some_and(|at| at <= self.now) {
                    stack.handle_timeout(self.now);
                }
            }
        }
    }

    /// Fills the send buffer in place.
    fn write(&mut self, client: ConnectionId, most: usize, value: u8) -> usize {
        let mut sent = 0;
        while sent < most {
            let space = self.stacks[0].send_space(client, PIECE);
            let count = space.len().min(most - sent);
            if count == 0 {
                break;
            }
            space[..count].fill(value);
            self.stacks[0].commit(self.now, client, count);
            sent += count;
        }
        sent
    }

    /// Makes pieces and gives them away; `rest` is what there was no room for the last time.
    fn give(&mut self, client: ConnectionId, most: usize, value: u8, rest: &mut Bytes) -> usize {
        let mut sent = 0;
        while sent < most {
            if rest.is_empty() {
                *rest = Bytes::from(vec![value; PIECE.min(most - sent)]);
            }
            let count = self.stacks[0].send_bytes(self.now, client, rest);
            if count == 0 {
                break;
            }
            sent += count;
        }
        sent
    }

    fn read(&mut self, server: ConnectionId, value: u8) -> usize {
        let mut got = 0;
        loop {
            let chunks = self.stacks[1].receive_chunks(server);
            let count: usize = chunks.iter().map(|chunk| chunk.len()).sum();
            if count == 0 {
                return got;
            }
            assert!(chunks.iter().all(|chunk| is_all(chunk, value)));
            self.stacks[1].consume(self.now, server, count);
            got += count;
        }
    }

    /// One message there and one back.
    pub fn message(&mut self, (client, server): (ConnectionId, ConnectionId)) {
        let mut buffer = [0; 64];
        self.stacks[0].send(self.now, client, &buffer);
        self.exchange();
        assert_eq!(self.stacks[1].receive_into(self.now, server, &mut buffer), Ok(64));
        self.stacks[1].send(self.now, server, &buffer);
        self.exchange();
        assert_eq!(self.stacks[0].receive_into(self.now, client, &mut buffer), Ok(64));
        self.settle();
    }

    /// Opens, sends a message each way, and closes.
    pub fn short(&mut self, random: u64) {
        let pair = self.connect(random);
        self.message(pair);
        self.stacks[0].shutdown(self.now, pair.0);
        self.settle();
        self.stacks[1].close(self.now, pair.1);
        self.settle();
        self.stacks[0].close(self.now, pair.0);
        self.now += Duration::from_millis(2);
        self.settle();
    }

    /// Ten quiet seconds.
    pub fn rest(&mut self) {
        self.now += Duration::from_secs(10);
        self.settle();
    }

    pub fn is_empty(&mut self) -> bool {
        self.settle();
        self.stacks.iter_mut().all(|stack| {
            while let Some(event) = stack.poll_event() {
                assert!(!matches!(event, Event::Reset(..)));
            }
            stack.statistics().connections == 0
        })
    }
}
