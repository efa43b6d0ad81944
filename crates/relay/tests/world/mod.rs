//! A guest with many connections through a relay, without sockets: what the packet loop does for each packet is done
//! here as it does it.

use std::time::{Duration, Instant};

use minato_ports::Transport;
use minato_relay::{Coupling, FlowId, FlowTable, Operation, Socket, StackSide, Transfer};
use minato_transport::{Config, ConnectionId, Event, IpCidr, Link, RECEIVE_CHUNKS, Stack};

/// More than any flow moves at once here.
const BUDGET: usize = 512 << 10;

/// The guest's stack and the relay with its own.
pub struct World {
    now: Instant,
    guest: Stack,
    connections: Vec<ConnectionId>,
    router: Stack,
    flows: FlowTable<(ConnectionId, Coupling)>,
    /// By the place of the router's connection.
    by_connection: Vec<Option<FlowId>>,
    frame: Vec<u8>,
    /// Bytes that the far sides took, and what each of them is about to send.
    pub taken: usize,
    answer: usize,
    turn: usize,
}

impl World {
    /// A world in which this many connections are open and have moved nothing.
    #[allow(clippy::disallowed_methods, reason = "where the clock starts does not matter")]
    pub fn new(flows: usize) -> World {
        let now = Instant::now();
        let mut router = config(1, flows);
        router.any_destination = true;
        let mut world = World {
            now,
            guest: Stack::new(now, config(2, flows)),
            connections: Vec::new(),
            router: Stack::new(now, router),
            flows: FlowTable::new(flows),
            by_connection: Vec::new(),
            frame: Vec::new(),
            taken: 0,
            answer: 0,
            turn: 0,
        };
        for number in 0..flows {
            let remote = ([198, 51, (number >> 14) as u8, (number >> 6) as u8], 1 + (number & 63) as u16).into();
            let local = ([10, 0, 0, 2], 1 + (number % 60_000) as u16).into();
            let id = world.guest.connect(now, Some(local), remote, 0).expect("a free port");
            world.connections.push(id);
            world.settle();
        }
        assert_eq!(world.flows.len(), flows);
        world
    }

    /// The next connection in turn sends `request` bytes, and its far side answers with `answer` bytes.
    pub fn exchange(&mut self, request: &[u8], answer: usize) {
        // All connections are used again and again, none of them twice in a row.
        self.turn = (self.turn + 7919) % self.connections.len();
        let connection = self.connections[self.turn];
        self.answer = answer;
        assert_eq!(self.guest.send(self.now, connection, request), request.len());
        self.settle();
        let arrived: usize = self.guest.receive_chunks(connection).iter().map(|chunk| chunk.len()).sum();
        assert_eq!(arrived, answer);
        self.guest.consume(self.now, connection, arrived);
        self.settle();
        self.now += Duration::from_micros(10);
    }

    /// Frames go to and fro until there are none.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(frame) = self.guest.poll_transmit(self.now) {
                quiet = false;
                copy(&frame, &mut self.frame);
                self.router.receive(self.now, &mut self.frame);
            }
            while let Some(event) = self.router.poll_event() {
                self.happened(&event);
            }
            while let Some(frame) = self.router.poll_transmit(self.now) {
                quiet = false;
                copy(&frame, &mut self.frame);
                self.guest.receive(self.now, &mut self.frame);
            }
            while self.guest.poll_event().is_some() {}
            if quiet {
                return;
            }
        }
    }

    fn happened(&mut self, event: &Event) {
        match event {
            Event::Incoming(incoming) => {
                let connection = self.router.accept_incoming(self.now, incoming.id).expect("room");
                let sides = (connection, Coupling::new());
                let (source, destination) = (incoming.source, incoming.destination);
                let id = self.flows.insert(self.now, Transport::Tcp, source, destination, sides).expect("room");
                let flow = self.flows.find_mut(id).expect("just made");
                flow.apply(Operation::Connect).and_then(|()| flow.apply(Operation::Establish)).expect("legal");
                let place = place(connection);
                self.by_connection.resize(self.by_connection.len().max(place + 1), None);
                self.by_connection[place] = Some(id);
            }
            Event::Connected(id) | Event::Readable(id) | Event::Writable(id) => self.pump(*id),
            _ => panic!("{event:?}"),
        }
    }

    fn pump(&mut self, connection: ConnectionId) {
        let id = self.by_connection[place(connection)].expect("a flow");
        let flow = self.flows.find_mut(id).expect("a flow");
        let (connection, coupling) = &mut flow.sides;
        let mut near = StackSide::new(&mut self.router, self.now, *connection);
        let mut far = Far { taken: 0, answer: 0 };
        let progress = coupling.pump(&mut near, &mut far, BUDGET);
        flow.counters.to_target += progress.to_far as u64;
        flow.last_used = self.now;
        self.taken += far.taken;
        if far.taken > 0 && self.answer > 0 {
            coupling.far_ready(true, false, false);
            let mut far = Far { taken: 0, answer: std::mem::take(&mut self.answer) };
            let progress = coupling.pump(&mut near, &mut far, BUDGET);
            flow.counters.to_initiating += progress.to_near as u64;
        }
    }
}

/// A socket that takes everything.
struct Far {
    taken: usize,
    answer: usize,
}

impl Socket for Far {
    fn read(&mut self, buffer: &mut [u8]) -> Transfer {
        match self.answer.min(buffer.len()) {
            0 => Transfer::Blocked,
            count => {
                self.answer -= count;
                Transfer::Moved(count)
            }
        }
    }

    fn write(&mut self, chunks: [&[u8]; RECEIVE_CHUNKS]) -> Transfer {
        let count = chunks.iter().map(|chunk| chunk.len()).sum();
        self.taken += count;
        Transfer::Moved(count)
    }

    fn end(&mut self) {}
}

fn config(number: u8, flows: usize) -> Config {
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: true }, [number; 16]);
    // The whole world is on the link.
    config.addresses = vec![IpCidr::new([10, 0, 0, number].into(), 0).expect("a prefix")];
    config.limits.connections = flows;
    config
}

fn place(connection: ConnectionId) -> usize {
    connection.to_bits() as u32 as usize
}

fn copy(frame: &minato_transport::Transmit<'_>, buffer: &mut Vec<u8>) {
    buffer.clear();
    for part in frame.io_slices() {
        buffer.extend_from_slice(&part);
    }
}
