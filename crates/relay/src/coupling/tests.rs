//! The coupling against a model of two sides that are ready only sometimes, take only part, and end whenever they
//! like: whatever the order, every byte arrives once and in order, and each end arrives after the last byte.

use proptest::prelude::*;

use super::*;

/// The near side: what arrived from the guest, and what the relay committed towards it.
#[derive(Default)]
struct Near {
    arrived: Vec<u8>,
    finished: bool,
    buffer: Vec<u8>,
    room: usize,
    sent: Vec<u8>,
    end_sent: bool,
}

impl Memory for Near {
    fn arrived(&self) -> [&[u8]; RECEIVE_CHUNKS] {
        let mut chunks: [&[u8]; RECEIVE_CHUNKS] = [&[]; RECEIVE_CHUNKS];
        let (front, back) = self.arrived.split_at(self.arrived.len() / 3);
        (chunks[0], chunks[1]) = (front, back);
        chunks
    }

    fn consume(&mut self, count: usize) {
        self.arrived.drain(..count);
    }

    fn ended(&self) -> bool {
        self.finished && self.arrived.is_empty()
    }

    fn space(&mut self) -> &mut [u8] {
        self.buffer.resize(self.room, 0);
        &mut self.buffer
    }

    fn commit(&mut self, count: usize) {
        assert!(!self.end_sent && count <= self.room);
        self.sent.extend(&self.buffer[..count]);
        self.room -= count;
    }

    fn end(&mut self) {
        assert!(!self.end_sent);
        self.end_sent = true;
    }
}

/// The far side: what its peer sent, and what it takes before it blocks.
#[derive(Default)]
struct Far {
    incoming: Vec<u8>,
    ended: bool,
    broken: bool,
    /// Takes no more; what it sent can be read.
    deaf: bool,
    takes: usize,
    taken: Vec<u8>,
    end_sent: bool,
}

impl Socket for Far {
    fn read(&mut self, buffer: &mut [u8]) -> Transfer {
        assert!(!buffer.is_empty());
        if self.broken {
            return Transfer::Failed;
        }
        match self.incoming.len().min(buffer.len()) {
            0 if self.ended => Transfer::Ended,
            0 => Transfer::Blocked,
            count => {
                buffer[..count].copy_from_slice(&self.incoming[..count]);
                self.incoming.drain(..count);
                if count < buffer.len() { Transfer::Last(count) } else { Transfer::Moved(count) }
            }
        }
    }

    fn write(&mut self, chunks: [&[u8]; RECEIVE_CHUNKS]) -> Transfer {
        assert!(!self.end_sent);
        if self.broken || self.deaf {
            return Transfer::Failed;
        }
        let bytes = chunks.concat();
        match bytes.len().min(self.takes) {
            0 => Transfer::Blocked,
            count => {
                self.taken.extend(&bytes[..count]);
                self.takes -= count;
                if count < bytes.len() { Transfer::Last(count) } else { Transfer::Moved(count) }
            }
        }
    }

    fn end(&mut self) {
        assert!(!self.end_sent);
        self.end_sent = true;
    }
}

#[derive(Clone, Debug)]
enum Op {
    NearArrives(Vec<u8>),
    NearEnds,
    NearRoom(usize),
    FarArrives(Vec<u8>),
    FarEnds,
    FarTakes(usize),
    Pump(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..50).prop_map(Op::NearArrives),
        Just(Op::NearEnds),
        (1usize..60).prop_map(Op::NearRoom),
        proptest::collection::vec(any::<u8>(), 1..50).prop_map(Op::FarArrives),
        Just(Op::FarEnds),
        (1usize..60).prop_map(Op::FarTakes),
        (1usize..100).prop_map(Op::Pump),
    ]
}

/// The world around one coupling, with what should have passed.
#[derive(Default)]
struct World {
    coupling: Coupling,
    near: Near,
    far: Far,
    to_far: Vec<u8>,
    to_near: Vec<u8>,
}

impl World {
    /// Applies an operation and tells the coupling about it exactly as an edge-triggered event queue would.
    fn apply(&mut self, op: Op) {
        match op {
            Op::NearArrives(bytes) if !self.near.finished => {
                self.to_far.extend(&bytes);
                self.near.arrived.extend(bytes);
            }
            Op::NearEnds => self.near.finished = true,
            Op::NearRoom(room) => self.near.room += room,
            Op::FarArrives(bytes) if !self.far.ended => {
                self.to_near.extend(&bytes);
                self.far.incoming.extend(bytes);
                self.coupling.far_ready(true, false, false);
            }
            Op::FarEnds => {
                self.far.ended = true;
                self.coupling.far_ready(true, false, true);
            }
            Op::FarTakes(count) => {
                self.far.takes += count;
                self.coupling.far_ready(false, true, false);
            }
            Op::Pump(budget) => {
                self.pump(budget);
            }
            Op::NearArrives(_) | Op::FarArrives(_) => {}
        }
    }

    fn pump(&mut self, budget: usize) -> Progress {
        let progress = self.coupling.pump(&mut self.near, &mut self.far, budget);
        assert!(self.to_far.starts_with(&self.far.taken) && self.to_near.starts_with(&self.near.sent));
        assert!(!self.far.end_sent || (self.near.finished && self.far.taken == self.to_far));
        assert!(!self.near.end_sent || (self.far.ended && self.near.sent == self.to_near));
        // The far side is told of the last end by being closed.
        let finished = progress.verdict == Verdict::Finished;
        assert!(finished || !(self.far.end_sent && self.near.end_sent));
        assert!(!finished || (self.near.end_sent && self.near.finished && self.far.taken == self.to_far));
        progress
    }
}

proptest! {
    #[test]
    fn every_byte_arrives_once_and_ends_come_last(operations in proptest::collection::vec(op(), 0..80)) {
        let mut world = World::default();
        for operation in operations {
            world.apply(operation);
        }
        // With room on both sides and both ended, pumping comes to an end, and by then everything has passed.
        for operation in [Op::NearRoom(1 << 20), Op::FarTakes(1 << 20), Op::NearEnds, Op::FarEnds] {
            world.apply(operation);
        }
        let pumps = (0..1000).map(|_| world.pump(64)).position(|progress| progress.verdict == Verdict::Finished);
        prop_assert!(pumps.is_some());
        prop_assert_eq!(world.far.taken, world.to_far);
        prop_assert_eq!(world.near.sent, world.to_near);
    }

    /// `Wait` is only said when nothing could be moved: otherwise the flow would sleep with work to do.
    #[test]
    fn waiting_means_nothing_to_do(operations in proptest::collection::vec(op(), 0..80)) {
        let mut world = World::default();
        for operation in operations {
            world.apply(operation);
        }
        while world.pump(16).verdict == Verdict::Again {}
        prop_assert!(world.near.arrived.is_empty() || world.far.takes == 0);
        prop_assert!(world.far.incoming.is_empty() || world.near.room == 0);
    }
}

#[test]
fn a_dead_far_side_ends_the_flow() {
    let mut world = World::default();
    world.apply(Op::NearRoom(10));
    world.far.broken = true;
    let progress = world.coupling.pump(&mut world.near, &mut world.far, 100);
    assert_eq!(progress.verdict, Verdict::Reset);
}

#[test]
fn half_closed_flows_go_on_in_the_other_direction() {
    let mut world = World::default();
    world.apply(Op::NearEnds);
    assert!(world.pump(100).near_ended);
    assert!(world.far.end_sent && !world.near.end_sent);

    world.apply(Op::NearRoom(10));
    world.apply(Op::FarArrives(b"late".to_vec()));
    let progress = world.pump(100);
    assert_eq!((progress.to_near, progress.near_ended, progress.verdict), (4, false, Verdict::Wait));

    world.apply(Op::FarEnds);
    assert_eq!(world.pump(100).verdict, Verdict::Finished);
}

proptest! {
    /// However it comes about, what the dead side had sent arrives before the flow is over.
    #[test]
    fn what_was_sent_before_a_reset_arrives(answer in 1usize..300, room in 1usize..100, budget in 1usize..100, fin: bool) {
        let mut world = World::default();
        world.apply(Op::FarArrives(vec![5; answer]));
        world.apply(Op::NearArrives(b"more of the request".to_vec()));
        world.far.deaf = true;
        world.far.ended = fin;
        let over = (0..1000).map(|_| {
            world.apply(Op::NearRoom(room));
            world.pump(budget)
        }).position(|progress| progress.verdict == Verdict::Reset);
        prop_assert!(over.is_some());
        prop_assert_eq!(world.near.sent.len(), answer);
        prop_assert!(world.far.taken.is_empty());
    }
}

#[test]
fn a_side_that_was_just_connected_is_read_once_it_says_so() {
    let mut world = World { coupling: Coupling::connected(), ..World::default() };
    for operation in [Op::NearRoom(100), Op::FarTakes(100), Op::NearArrives(vec![3; 10])] {
        world.apply(operation);
    }
    world.far.incoming = vec![7; 5];
    world.to_near = vec![7; 5];
    let progress = world.pump(1000);
    assert_eq!((progress.to_far, progress.to_near), (10, 0), "it takes bytes at once");
    world.coupling.far_ready(true, false, false);
    assert_eq!(world.pump(1000).to_near, 5);
}
