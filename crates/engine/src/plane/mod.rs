//! The packet loop: one thread, one epoll instance, and everything that packets and bytes pass through.
//!
//! Each turn of the loop takes what is ready (sockets, commands, frames from the TAP device), lets the stack act on it,
//! pumps the flows that have something to move, each up to a budget, and writes what the stack wants to send. Nothing in
//! a turn blocks: what does, such as asking the agent for sockets, is ordered from a helper thread.

mod admission;
mod command;
mod datagrams;
mod drain;
mod echo;
mod egress;
mod ended;
mod far;
mod forwards;
mod frames;
mod guests;
mod hosts;
mod inbound;
mod inbound_datagrams;
mod lanes;
mod lingering;
mod listening;
mod obey;
mod outbound;
mod poller;
mod pump;
mod ready;
mod resolver;
mod shares;
mod sides;
mod snapshot;
mod spare;
mod tell;
mod token;
mod vigil;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use minato_host::sockets::{Inbox, PipePool};
use minato_host::tap::{MAX_FRAME, Tap};
use minato_ports::{EphemeralAllocator, PortRange};
use minato_relay::{FlowId, FlowTable, Rules};
use minato_transport::{ConnectionId, IncomingId, Stack};
use slab::Slab;
use tokio::sync::mpsc::UnboundedSender;

use crate::events::Events;
use admission::Admission;
use command::Commands;
pub(crate) use command::{
    Command, Dialed, ForwardStatus, GivenBack, Guest, HeldForward, HeldSocket, HostSetup, PlaneHandle, ServicesChanged,
    Supply,
};
use datagrams::DatagramIndex;
pub(crate) use drain::DRAIN;
use drain::Drain;
use echo::Echoes;
use egress::Policies;
pub(crate) use egress::{Place, Report};
use ended::Ended;
use forwards::Forward;
pub(crate) use hosts::Order;
use hosts::PlaneHost;
pub(crate) use inbound_datagrams::take_datagrams;
use lingering::Lingering;
use poller::Poller;
use ready::ReadySockets;
use resolver::Resolver;
pub(crate) use resolver::{JoinedZone, Zone};
use sides::{Kind, Sides};
pub(crate) use snapshot::FlowSnapshot;
use spare::Spare;
use token::{MAX_FLOWS, Token};
use vigil::Vigil;

/// Most bytes that one flow moves in each direction in one turn.
const BUDGET: usize = 512 << 10;
/// From one look to the next; if it is longer, another thread has run in between.
const LOOK: Duration = Duration::from_micros(4);
/// Idle pipes kept for reuse, and their size.
const IDLE_PIPES: usize = 32;
/// What one splice moves is read again soon: it should still be in the processor's cache.
const PIPE_SIZE: usize = 256 << 10;

/// A flow with what serves it.
type Flow = minato_relay::Flow<Sides>;

/// What a plane is made of.
pub(crate) struct PlaneSetup {
    pub(crate) stack: Stack,
    pub(crate) tap: Tap,
    /// Readable when the agent has ended.
    pub(crate) agent: OwnedFd,
    pub(crate) rules: Rules,
    /// The names of the network.
    pub(crate) zone: Zone,
    /// Where sockets inside hosts are ordered; the answers come as [`Command::Supply`].
    pub(crate) orders: std::sync::mpsc::Sender<Order>,
    /// Where refusals of policies are told.
    pub(crate) reports: std::sync::mpsc::Sender<Report>,
    /// File descriptors that flows and forwards may use in total.
    pub(crate) descriptors: usize,
    /// Secret of the choice of ephemeral ports.
    pub(crate) key: [u8; 16],
    /// Who is told of flows and of forwards that open and close.
    pub(crate) events: Events,
    /// Who is told of services that come and go.
    pub(crate) services: UnboundedSender<ServicesChanged>,
}

/// The packet loop's state.
pub(crate) struct Plane {
    now: Instant,
    poller: Poller,
    commands: Commands,
    stack: Stack,
    tap: Tap,
    _agent: OwnedFd,
    tap_readable: bool,
    tap_writable: bool,
    /// The last look found nothing.
    in_vain: bool,
    /// More than one frame may have come since the last look.
    frames_wait: bool,
    /// Connections whose acknowledgement waits for an answer, but not while the loop sleeps; and perhaps some more.
    unacknowledged: Vec<ConnectionId>,
    /// The stack has more to send than this turn wrote.
    transmits_wait: bool,
    frame: Box<[u8]>,
    spare: Spare,
    rules: Rules,
    policies: Policies,
    orders: std::sync::mpsc::Sender<Order>,
    events: Events,
    services: UnboundedSender<ServicesChanged>,

    flows: FlowTable<Sides>,
    admission: Admission,
    /// Flows to be pumped in the next turn.
    queue: VecDeque<FlowId>,
    /// By the place of the stack's connection. Used for every event of a connection; an array needs no hash.
    by_connection: Vec<Option<FlowId>>,
    /// Requests whose target is being connected. Keyed by our stack's handles, which no peer chooses.
    by_incoming: HashMap<IncomingId, FlowId>,
    /// Outbound connections that the poller does not know yet.
    unwatched: Vec<FlowId>,
    ready_sockets: ReadySockets,
    datagrams: DatagramIndex,
    echoes: Echoes,
    resolver: Resolver,
    pipes: PipePool,
    /// For small messages of inbound flows.
    buffer: Box<[u8]>,
    /// Forwards, echo sockets and questions that had more than one turn's worth: their events don't come again. Looked up for
    /// the events of each. No peer chooses places and serial numbers, but the default hasher does for what is rare.
    again: HashSet<Token>,
    /// Forwards for which something was short, and when they try again.
    stalled: HashSet<Token>,
    stalled_until: Option<Instant>,

    /// By serial number, which no peer chooses. Used at each accept and each event of a host's sockets.
    hosts: HashMap<u32, PlaneHost>,
    /// Hosts of other networks that are here too.
    guests: HashMap<u32, Guest>,
    /// When the first of them is to be looked at; never later than that.
    next_look: Option<Instant>,
    /// Hosts whose programs are gone.
    drains: Vec<Drain>,
    lingering: Lingering,
    ended: Ended,
    /// A flow's end has gone to its program in this turn.
    end_passed_on: bool,
    forwards: Slab<Forward>,
    /// When the first client that is held may have to be relayed.
    held_until: Option<Instant>,
    /// Kept for its memory.
    taken: Vec<(u64, usize)>,
    ephemeral_tcp: EphemeralAllocator,
    ephemeral_udp: EphemeralAllocator,
    stopping: bool,
}

impl Plane {
    /// A loop without hosts. It does nothing until [`Plane::run`].
    pub(crate) fn new(setup: PlaneSetup) -> io::Result<(PlaneHandle, Plane)> {
        let poller = Poller::new()?;
        let (handle, commands) = Commands::new()?;
        poller.add_tap(&setup.tap)?;
        poller.add(&setup.agent, Token::Agent)?;
        poller.add(commands.descriptor(), Token::Commands)?;
        let now = Instant::now();
        let plane = Plane {
            now,
            poller,
            commands,
            stack: setup.stack,
            tap: setup.tap,
            _agent: setup.agent,
            tap_readable: true,
            tap_writable: true,
            in_vain: false,
            frames_wait: true,
            unacknowledged: Vec::new(),
            transmits_wait: false,
            frame: vec![0; MAX_FRAME].into_boxed_slice(),
            spare: Spare::new(now),
            rules: setup.rules,
            policies: Policies::new(now, setup.reports),
            orders: setup.orders,
            events: setup.events,
            services: setup.services,
            flows: FlowTable::new(MAX_FLOWS),
            admission: Admission::new(setup.descriptors),
            queue: VecDeque::new(),
            by_connection: Vec::new(),
            by_incoming: HashMap::new(),
            unwatched: Vec::new(),
            ready_sockets: ReadySockets::default(),
            datagrams: DatagramIndex::default(),
            echoes: Echoes::default(),
            resolver: Resolver::new(setup.zone, now),
            pipes: PipePool::new(IDLE_PIPES, PIPE_SIZE),
            buffer: vec![0; lanes::BUFFER].into_boxed_slice(),
            again: HashSet::new(),
            stalled: HashSet::new(),
            stalled_until: None,
            hosts: HashMap::new(),
            guests: HashMap::new(),
            next_look: None,
            drains: Vec::new(),
            lingering: Lingering::default(),
            ended: Ended::default(),
            end_passed_on: false,
            forwards: Slab::new(),
            held_until: None,
            taken: Vec::new(),
            ephemeral_tcp: EphemeralAllocator::new(PortRange::DYNAMIC, setup.key),
            ephemeral_udp: EphemeralAllocator::new(PortRange::DYNAMIC, setup.key),
            stopping: false,
        };
        Ok((handle, plane))
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// The agent has ended, or the TAP device or the poller fails: the network is unusable.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut vigil = Vigil::default();
        while !self.stopping {
            if !self.wait(&mut vigil)? {
                continue;
            }
            self.take_again();
            self.take_readiness()?;
            self.receive_frames()?;
            self.handle_timeouts();
            self.handle_stack_events();
            self.pump_queue();
            self.pump_streams();
            self.look_at_drains();
            self.transmit()?;
            self.after_transmit();
        }
        Ok(())
    }

    /// Waits until there is something to do. `false`: there was nothing so far. Before it sleeps, what could wait is done.
    fn wait(&mut self, vigil: &mut Vigil) -> io::Result<bool> {
        let now = Instant::now();
        let at_once = now.saturating_duration_since(self.now) <= LOOK;
        let mut sleep = self.sleep(now);
        let mut watch = vigil.begin(now, sleep);
        if watch.sleeps() {
            self.acknowledge_early()?;
            self.close_ended();
            sleep = self.sleep(now);
            watch = vigil.begin(now, sleep);
        }
        self.poller.wait(watch.timeout())?;
        self.now = Instant::now();
        let due = self.poller.ready(0).is_some() || sleep == Some(Duration::ZERO);
        let works = vigil.end(self.now, watch, due);
        self.frames_wait = watch.sleeps() || !(self.in_vain && at_once);
        self.in_vain = !works;
        Ok(works)
    }

    /// How long nothing is to be done; `None` until the next event.
    fn sleep(&self, now: Instant) -> Option<Duration> {
        let work = !self.queue.is_empty() || !self.again.is_empty() || self.resolver.has_work();
        if self.tap_readable || self.transmits_wait || work {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.stack.poll_timeout(),
            self.datagrams.deadline(),
            self.echoes.deadline(),
            self.resolver.deadline(),
            self.policies.deadline(),
            self.stalled_until,
            self.ephemeral_tcp.poll_timeout(),
            self.ephemeral_udp.poll_timeout(),
            self.next_look,
            self.drain_deadline(),
            self.lingering.deadline(),
            self.ended.deadline(),
            self.spare.deadline(),
            self.held_until,
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    fn take_readiness(&mut self) -> io::Result<()> {
        let mut index = 0;
        while let Some(readiness) = self.poller.ready(index) {
            index += 1;
            match readiness.token {
                Token::Tap => {
                    // A device that is gone is asked as well, which says so.
                    self.tap_readable |= readiness.readable || readiness.hung_up;
                    if readiness.writable && !self.tap_writable {
                        self.tap_writable = true;
                        self.poller.watch_tap(&self.tap, false)?;
                    }
                }
                Token::Commands => self.take_commands(),
                Token::Agent => return Err(io::Error::other("its agent is gone, and every host with it")),
                Token::Host(serial) => self.host_events(serial),
                Token::Flow(id, side) => self.flow_ready(id, side, readiness),
                token @ (Token::Forward(..) | Token::Echo(_) | Token::Query(_)) => self.serve(token),
            }
        }
        Ok(())
    }

    /// Goes on with what had more than one turn's worth.
    fn take_again(&mut self) {
        for token in std::mem::take(&mut self.again) {
            self.serve(token);
        }
    }

    /// Takes what a forward, an echo socket or a resolver has, up to a turn's worth: what is served in the next turn has had it.
    fn serve(&mut self, token: Token) {
        if self.again.contains(&token) {
            return;
        }
        match token {
            Token::Forward(place, serial) => self.forward_ready(place, serial),
            Token::Echo(place) => self.echo_ready(place),
            Token::Query(place) => self.query_ready(place),
            Token::Tap | Token::Commands | Token::Agent | Token::Host(_) | Token::Flow(..) => {}
        }
    }

    fn handle_timeouts(&mut self) {
        let now = self.now;
        if self.stack.poll_timeout().is_some_and(|at| at <= now) {
            self.stack.handle_timeout(now);
        }
        self.ephemeral_tcp.handle_timeout(now);
        self.ephemeral_udp.handle_timeout(now);
        if self.spare.is_due(now) {
            self.stack.release_spare_memory();
            self.datagrams.inbox = Inbox::default();
        }
        self.expire_datagrams();
        self.expire_echoes();
        self.expire_queries();
        self.expire_streams();
        self.expire_refusals();
        self.look_at_hosts();
        self.look_at_lingering();
        self.look_at_held();
        if self.stalled_until.is_some_and(|at| at <= now) {
            self.stalled_until = None;
            self.again.extend(self.stalled.drain());
        }
    }
}

/// The place of a connection in arrays: the stack's handles carry it in their lower half.
fn connection_place(connection: ConnectionId) -> usize {
    connection.to_bits() as u32 as usize
}
