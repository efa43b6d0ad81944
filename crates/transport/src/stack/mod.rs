//! The facade: one value that is a whole transport layer.

mod arrived;
mod bound;
mod connections;
mod datagrams;
mod frame;
mod held;
mod icmp;
mod listening;
mod opening;
mod options;
mod receive;
mod segments;
mod stream;
mod time_waits;
mod transmit;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::config::{Config, Link};
use crate::demux::{Demux, FourTuple};
use crate::event::Event;
use crate::hash::KeyedState;
use crate::leases::Leases;
use crate::output::Output;
use crate::reassembly::Reassembly;
use crate::slots::Slots;
use crate::tcp::{ChunkPool, Connection, Cookies, InitialSequence, LinkLimits, SocketOptions};
use crate::time::{Clock, Interval, Time, earliest};
use crate::timers::Timers;
use crate::types::IpCidr;
use arrived::Datagrams;
use bound::BoundSocket;
pub use frame::{BODY_SLICES, Datagram, DatagramTrain, RECEIVE_CHUNKS, Statistics, Transmit};
use held::Held;
use listening::Listener;
pub use options::{BindOptions, DatagramOptions};
use time_waits::TimeWaits;
use transmit::Run;

/// Free chunks of 64 KiB that are kept.
const SPARE_CHUNKS: usize = 128;

/// How long memory is kept that is not needed (once or twice this long).
const SPARE_FOR: Interval = Interval::from_secs(1);

/// Room for every header that a TCP segment can have.
const HEAD_MAX: usize = 10 + 14 + 40 + 60;

/// A whole transport layer without I/O; see the crate's documentation for the order of calls.
#[derive(Debug)]
pub struct Stack {
    config: Config,
    clock: Clock,
    output: Output,
    reassembly: Reassembly,
    demux: Demux,
    connections: Slots<Box<Connection>>,
    held: Slots<Held>,
    /// Held requests in the order in which they expire: when, index, generation.
    held_order: VecDeque<(Time, u32, u32)>,
    time_waits: TimeWaits,
    listeners: Slots<Listener>,
    sockets: Slots<BoundSocket>,
    leases: Leases,
    cookies: Cookies,
    timers: Timers,
    /// Connections that may have something to send; each at most once.
    ready: VecDeque<u32>,
    /// Segments that are booked and wait to be cut off for the link.
    run: Option<Run>,
    events: VecDeque<Event>,
    datagrams: Datagrams,
    initial: InitialSequence,
    pool: ChunkPool,
    link_limits: LinkLimitsByFamily,
    /// Of connections that no listener accepted, and of new listeners.
    options: Arc<SocketOptions>,
    /// The connection whose send buffer has room lent out by `send_space`, and how much.
    lent: Option<(u32, usize)>,
    /// Headers of the TCP segment that `poll_transmit` returned last.
    head: [u8; HEAD_MAX],
    /// The frame that `poll_transmit` returned last, if it was no TCP segment.
    frame: Vec<u8>,
    /// When memory that is kept for reuse and was not needed goes.
    decay_at: Option<Time>,
    statistics: Statistics,
}

/// Time, events, counters.
impl Stack {
    /// A stack with no connections. `now` is the zero of its clocks.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Stack {
        let config = config.within_bounds();
        Stack {
            clock: Clock::new(now),
            output: Output::new(&config),
            reassembly: Reassembly::new(KeyedState::new(&config.key, b'f'), config.limits.fragment_bytes),
            demux: Demux::new(&config.key),
            connections: Slots::default(),
            held: Slots::default(),
            held_order: VecDeque::new(),
            time_waits: TimeWaits::default(),
            listeners: Slots::default(),
            sockets: Slots::default(),
            leases: Leases::new(config.ephemeral, config.key),
            cookies: Cookies::new(&config.key),
            timers: Timers::default(),
            ready: VecDeque::new(),
            run: None,
            events: VecDeque::new(),
            datagrams: Datagrams::new(config.limits.datagram_bytes),
            initial: InitialSequence::new(&config.key),
            pool: ChunkPool::new(SPARE_CHUNKS, config.limits.buffer_bytes),
            link_limits: LinkLimitsByFamily::new(&config.link),
            options: Arc::new(config.tcp.options.clone()),
            lent: None,
            head: [0; HEAD_MAX],
            frame: Vec::new(),
            decay_at: None,
            statistics: Statistics::default(),
            config,
        }
    }

    /// Gives the stack other addresses. What is left of connections with the old ones ends by its timers.
    pub fn set_addresses(&mut self, addresses: Vec<IpCidr>) {
        self.config.addresses = addresses;
        self.output.readdress(&self.config);
    }

    /// When `handle_timeout` must be called at the latest. May be earlier than anything is due, never later. Changes with
    /// every call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let held = self.held_order.front().map(|(at, ..)| *at);
        let (others, link) = (self.time_waits.next_timeout(), self.output.next_timeout());
        let next = earliest([held, others, link, self.reassembly.next_timeout(), self.timers.next(), self.decay_at]);
        next.and_then(|at| self.clock.instant(at))
    }

    /// Does what time demands (retransmissions, delayed acknowledgements, expiry). Harmless if called early.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.read(now);
        while let Some((at, index, generation)) = self.timers.pop_due(now) {
            self.connection_due(now, at, index, generation);
        }
        self.expire_held(now);
        while let Some((index, time_wait)) = self.time_waits.expire(now) {
            self.forget_time_wait(index, time_wait);
        }
        self.output.handle_timeout(now);
        self.wake_for_neighbors(now);
        self.reassembly.handle_timeout(now);
        if self.decay_at.is_some_and(|at| at <= now) {
            self.decay(now);
        }
    }

    /// Memory that is kept for reuse and was not needed for a while goes back to the allocator.
    fn decay(&mut self, now: Time) {
        let mut left = self.pool.decay() | self.output.queue.decay() | self.datagrams.decay();
        for socket in self.sockets.iter_mut() {
            left |= socket.arrived.decay();
        }
        self.decay_at = left.then(|| now + SPARE_FOR);
    }

    /// There may be memory that is kept for reuse: it will be looked at.
    fn note_spare(&mut self, now: Time) {
        let spare = || self.pool.has_spare() || self.output.queue.has_spare() || self.datagrams.has_spare();
        if self.decay_at.is_none() && spare() {
            self.decay_at = Some(now + SPARE_FOR);
        }
    }

    /// Gives buffers that are kept for reuse back to the allocator now. What is not needed goes by itself within seconds.
    pub fn release_spare_memory(&mut self) {
        self.pool.release();
        self.output.queue.release();
        self.datagrams.release();
    }

    /// The next thing that happened; `None` until another call makes something happen.
    pub fn poll_event(&mut self) -> Option<Event> {
        while let Some(event) = self.events.pop_front() {
            if self.is_still_true(&event) {
                return Some(event);
            }
        }
        None
    }

    /// Counters of the whole stack.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            connections: self.connections.len(),
            time_wait: self.time_waits.len(),
            incoming: self.held.len(),
            buffer_bytes: self.pool.bytes(),
            limited: self.statistics.limited + self.output.queue.refused + self.reassembly.refused,
            ..self.statistics.clone()
        }
    }

    /// What the stack was made with, as far as it makes sense.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// What the link takes of a flow's segments: headers are longer over IPv6.
#[derive(Clone, Copy, Debug)]
struct LinkLimitsByFamily {
    v4: LinkLimits,
    v6: LinkLimits,
}

impl LinkLimitsByFamily {
    fn new(link: &Link) -> LinkLimitsByFamily {
        let limits = |headers: u16| LinkLimits::new(link.mtu(), headers, link.virtio());
        LinkLimitsByFamily { v4: limits(40), v6: limits(60) }
    }

    fn of(&self, tuple: &FourTuple) -> &LinkLimits {
        if tuple.is_ipv6() { &self.v6 } else { &self.v4 }
    }
}
