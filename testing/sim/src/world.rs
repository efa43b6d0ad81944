//! A world: hosts, switches and routers on links, and everything that happens among them.

mod agenda;
mod build;
mod config;
mod host;
mod middle;

use std::fmt::Write;
use std::time::Duration;

use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::link::{Link, LinkStatistics};
use crate::packet::summary;
use crate::report::Report;
use crate::trace::Trace;
use agenda::{Agenda, Happening};
use host::Host;
use middle::{Forwarding, Router, Switch};

pub use config::{Bounds, HostConfig, Opening};

/// A host, switch or router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) usize);

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(crate) usize);

/// A simulated network. Its seed and what was built and planned decide everything that happens.
#[derive(Debug)]
pub struct World {
    seed: u64,
    clock: Clock,
    bounds: Bounds,
    trace: Trace,
    agenda: Agenda,
    nodes: Vec<Node>,
    wires: Vec<Wire>,
    /// Openings on the agenda.
    openings: usize,
    events: u64,
    /// Events at the present moment, to notice a timer that never lets time go on.
    events_now: u64,
    next_patience_check: Duration,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    /// The links that leave through its ports.
    ports: Vec<usize>,
}

#[derive(Debug)]
enum Kind {
    Host(Box<Host>),
    Switch(Switch),
    Router(Router),
}

/// A link and where it leads.
#[derive(Debug)]
struct Wire {
    link: Link,
    from: usize,
    node: usize,
    port: usize,
}

/// The seed of a run: the one in the environment's `MINATO_SIM_SEED`, otherwise `default`.
///
/// # Panics
/// If the environment has one that is not a number.
#[must_use]
pub fn seed(default: u64) -> u64 {
    std::env::var("MINATO_SIM_SEED")
        .map_or(default, |text| text.parse().expect("MINATO_SIM_SEED is a number below 2^64"))
}

/// Running.
impl World {
    /// Lets things happen until every script is over.
    ///
    /// # Panics
    /// With the seed, if a script fails, if nothing more would happen, if a connection makes no progress for
    /// `Bounds::patience`, or at the other bounds.
    pub fn run(&mut self) -> Report {
        while !self.is_done() {
            self.step();
        }
        self.report()
    }

    /// Lets things happen until `time`, whether scripts are over or not.
    ///
    /// # Panics
    /// As [`World::run`], except that nothing has to happen.
    pub fn run_until(&mut self, time: Duration) -> Report {
        while self.agenda.next_time().is_some_and(|next| next <= time) {
            self.step();
        }
        self.clock.advance_to(time);
        self.report()
    }

    /// Lets things happen until no stack has any connection left, not even in TIME-WAIT.
    ///
    /// # Panics
    /// As [`World::run`].
    pub fn settle(&mut self) {
        let remains = |host: &Host| {
            let statistics = host.stack.statistics();
            statistics.connections + statistics.time_wait + statistics.incoming > 0
        };
        while self.hosts().any(remains) {
            self.step();
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let flows = self.hosts().flat_map(|host| {
            host.endpoints.iter().map(|endpoint| {
                let mut flow = endpoint.flow.clone();
                flow.observe(host.stack.status(endpoint.id).as_ref());
                flow
            })
        });
        Report { seed: self.seed, time: self.clock.now(), flows: flows.collect() }
    }

    /// What happened on one direction of a link.
    #[must_use]
    pub fn link_statistics(&self, link: LinkId) -> LinkStatistics {
        self.wires[link.0].link.statistics()
    }

    /// Counters of a host's stack.
    ///
    /// # Panics
    /// If the node is not a host.
    #[must_use]
    pub fn stack_statistics(&self, host: NodeId) -> minato_transport::Statistics {
        match &self.nodes[host.0].kind {
            Kind::Host(host) => host.stack.statistics(),
            _ => panic!("{host:?} is not a host"),
        }
    }

    /// The trace so far, with where it goes.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    fn is_done(&self) -> bool {
        self.openings == 0 && self.hosts().all(|host| host.unfinished().next().is_none())
    }

    fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.nodes.iter().filter_map(|node| match &node.kind {
            Kind::Host(host) => Some(&**host),
            _ => None,
        })
    }

    /// Lets the next thing happen.
    fn step(&mut self) {
        let Some((time, happening)) = self.agenda.pop() else {
            self.fail("stuck: no frame is under way and no timer is armed");
        };
        self.events_now = if time > self.clock.now() { 0 } else { self.events_now + 1 };
        self.clock.advance_to(time);
        self.events += 1;
        self.check_bounds();
        match happening {
            Happening::Arrive { node, port, frame } => self.arrive(node, port, frame),
            Happening::Wake { host } => {
                // An earlier wake may have made this one idle.
                if self.host_mut(host).wake == Some(time) {
                    self.host_mut(host).wake = None;
                    self.run_host(host);
                }
            }
            Happening::Open { host, opening } => {
                self.openings -= 1;
                let clock = self.clock;
                let opened = self.host_mut(host).open(clock, opening);
                self.expect(opened);
                self.run_host(host);
            }
            Happening::Change { link, config } => {
                self.trace.add(time, || format!("link {link} becomes {config:?}"));
                self.wires[link].link.change(*config);
            }
        }
    }

    fn check_bounds(&mut self) {
        if self.clock.now() > self.bounds.time {
            self.fail("the run takes more virtual time than its bounds allow");
        }
        if self.events > self.bounds.events {
            self.fail("more happens than the run's bounds allow");
        }
        if self.events_now > EVENTS_PER_MOMENT {
            self.fail("time does not go on: a timer is due again and again");
        }
        if self.clock.now() >= self.next_patience_check {
            self.next_patience_check = self.clock.now() + self.bounds.patience / 16;
            let (clock, patience) = (self.clock, self.bounds.patience);
            // Who waits for an end that sleeps is not stuck, but patience begins anew.
            let asleep = self.hosts().any(|host| host.unfinished().any(Endpoint::is_asleep));
            let stuck = |node: &mut Node| match &mut node.kind {
                Kind::Host(host) => host.is_stuck(clock, (!asleep).then_some(patience)),
                _ => false,
            };
            if self.nodes.iter_mut().any(stuck) {
                self.fail("stuck: a connection makes no progress");
            }
        }
    }

    fn arrive(&mut self, node: usize, port: usize, mut frame: Vec<u8>) {
        let wires = &self.wires;
        let Node { kind, ports } = &mut self.nodes[node];
        let forwarding = match kind {
            Kind::Host(host) => {
                host.receive(self.clock, frame);
                return self.run_host(node);
            }
            Kind::Switch(switch) => switch.forward(port, &frame),
            Kind::Router(router) => router.forward(&mut frame, |port| wires[ports[port]].link.config().mtu),
        };
        match forwarding {
            Forwarding::To(port) => self.transmit(node, port, frame),
            Forwarding::Answered(answer) => self.transmit(node, port, answer),
            Forwarding::Flood => {
                for other in (0..self.nodes[node].ports.len()).filter(|other| *other != port) {
                    self.transmit(node, other, frame.clone());
                }
            }
            Forwarding::Dropped(why) => self.trace.add(self.clock.now(), || format!("dropped at node {node}: {why}")),
        }
    }

    fn run_host(&mut self, host: usize) {
        let clock = self.clock;
        let frames = self.host_mut(host).run(clock);
        for frame in self.expect(frames) {
            self.transmit(host, 0, frame);
        }
        let host_state = self.host_mut(host);
        let due = host_state.next_wake(clock).map(|due| due.max(clock.now()));
        if let Some(due) = due.filter(|due| host_state.wake.is_none_or(|wake| *due < wake)) {
            host_state.wake = Some(due);
            self.agenda.plan(due, Happening::Wake { host });
        }
    }

    fn transmit(&mut self, node: usize, port: usize, frame: Vec<u8>) {
        let Some(&wire) = self.nodes[node].ports.get(port) else {
            return self.trace.add(self.clock.now(), || format!("node {node} has no link"));
        };
        let now = self.clock.now();
        let Wire { link, from, node, port } = &mut self.wires[wire];
        // The frame is gone when its fate is known, so its line is begun before.
        let line = if self.trace == Trace::Off { String::new() } else { summary(link.medium(), &frame) };
        match link.offer(now, frame) {
            Ok(delivery) => {
                for arrival in std::iter::once(delivery.arrival).chain(delivery.duplicate) {
                    self.trace.add(now, || format!("{from}→{node} {line} arrives {:.6}", arrival.at.as_secs_f64()));
                    let happening = Happening::Arrive { node: *node, port: *port, frame: arrival.frame };
                    self.agenda.plan(arrival.at, happening);
                }
            }
            Err(reason) => self.trace.add(now, || format!("{from}→{node} {line} dropped: {reason}")),
        }
    }

    fn host_mut(&mut self, node: usize) -> &mut Host {
        match &mut self.nodes[node].kind {
            Kind::Host(host) => host,
            _ => panic!("node {node} is not a host"),
        }
    }

    fn expect<T>(&self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|error| self.fail(&error))
    }

    /// Ends the run with everything that helps to find out why.
    fn fail(&self, why: &str) -> ! {
        let mut text = format!("{why}\nat {:?} of the run of seed {}", self.clock.now(), self.seed);
        for (host, endpoint) in self.hosts().flat_map(|host| host.unfinished().map(move |endpoint| (host, endpoint))) {
            let flow = &endpoint.flow;
            let _ = write!(
                text,
                "\n{} > {}: {:?}, sent {}, received {}, last progress at {:?}, {:?}",
                flow.local,
                flow.remote,
                endpoint.step(),
                flow.sent,
                flow.received,
                endpoint.last_progress,
                host.stack.status(endpoint.id),
            );
        }
        panic!("{text}");
    }
}

impl Drop for World {
    /// Says how to repeat a run that failed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulator: replay with MINATO_SIM_SEED={} MINATO_SIM_TRACE=1", self.seed);
        }
    }
}

/// More than happens at one moment in any honest run.
const EVENTS_PER_MOMENT: u64 = 100_000;
