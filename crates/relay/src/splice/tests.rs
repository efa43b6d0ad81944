//! The splice against a model of two sockets and two pipes.

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Peer {
    sends: usize,
    ended: bool,
    broken: bool,
    /// Takes no more; what it sent can be read.
    deaf: bool,
    takes: usize,
    received: usize,
    end_received: bool,
}

#[derive(Default)]
struct Model {
    peers: [Peer; 2],
    pipes: [Option<usize>; 2],
}

const PIPE: usize = 40;

impl Pipeline for Model {
    fn fill(&mut self, from: Side) -> Transfer {
        let peer = &mut self.peers[index(from)];
        let pipe = self.pipes[index(from)].get_or_insert(0);
        assert_eq!(*pipe, 0, "a pipe is filled only when it is empty");
        if peer.broken {
            return Transfer::Failed;
        }
        match peer.sends.min(PIPE) {
            0 if peer.ended => Transfer::Ended,
            0 => Transfer::Blocked,
            count => {
                peer.sends -= count;
                *pipe = count;
                if count < PIPE { Transfer::Last(count) } else { Transfer::Moved(count) }
            }
        }
    }

    fn drain(&mut self, from: Side, count: usize) -> Transfer {
        let pipe = self.pipes[index(from)].as_mut().expect("a pipe that holds bytes stays");
        assert_eq!(*pipe, count);
        let peer = &mut self.peers[index(from.other())];
        assert!(!peer.end_received);
        if peer.deaf {
            return Transfer::Failed;
        }
        match count.min(peer.takes) {
            0 => Transfer::Blocked,
            moved => {
                peer.takes -= moved;
                peer.received += moved;
                *pipe -= moved;
                if moved < count { Transfer::Last(moved) } else { Transfer::Moved(moved) }
            }
        }
    }

    fn park(&mut self, from: Side) {
        self.pipes[index(from)] = self.pipes[index(from)].filter(|held| *held > 0);
    }

    fn end(&mut self, from: Side) {
        assert!(self.peers[index(from)].ended && self.peers[index(from)].sends == 0);
        self.peers[index(from.other())].end_received = true;
    }

    fn discard(&mut self, from: Side) {
        self.peers[index(from)].sends = 0;
    }
}

#[derive(Clone, Debug)]
enum Op {
    Sends(Side, usize),
    Ends(Side),
    Takes(Side, usize),
    Pump(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let side = || prop_oneof![Just(Side::Initiating), Just(Side::Target)];
    prop_oneof![
        (side(), 1usize..100).prop_map(|(side, count)| Op::Sends(side, count)),
        side().prop_map(Op::Ends),
        (side(), 1usize..100).prop_map(|(side, count)| Op::Takes(side, count)),
        (1usize..100).prop_map(Op::Pump),
    ]
}

fn apply(splice: &mut Splice, model: &mut Model, sent: &mut [usize; 2], op: &Op) {
    match *op {
        Op::Sends(side, count) if !model.peers[index(side)].ended => {
            sent[index(side)] += count;
            model.peers[index(side)].sends += count;
            splice.ready(side, true, false, false);
        }
        Op::Sends(..) => {}
        Op::Ends(side) => {
            model.peers[index(side)].ended = true;
            splice.ready(side, true, false, true);
        }
        Op::Takes(side, count) => {
            model.peers[index(side)].takes += count;
            splice.ready(side, false, true, false);
        }
        Op::Pump(budget) => {
            splice.pump(model, budget);
        }
    }
}

proptest! {
    #[test]
    fn every_byte_arrives_and_ends_come_last(operations in proptest::collection::vec(op(), 0..80)) {
        let (mut splice, mut model, mut sent) = (Splice::new(), Model::default(), [0; 2]);
        for operation in &operations {
            apply(&mut splice, &mut model, &mut sent, operation);
        }
        while splice.pump(&mut model, 64).verdict == Verdict::Again {}
        for from in [Side::Initiating, Side::Target] {
            let (peer, other) = (&model.peers[index(from)], &model.peers[index(from.other())]);
            prop_assert!(other.takes == 0 || (peer.sends == 0 && model.pipes[index(from)].is_none()));
        }
        for side in [Side::Initiating, Side::Target] {
            apply(&mut splice, &mut model, &mut sent, &Op::Takes(side, 1 << 20));
            apply(&mut splice, &mut model, &mut sent, &Op::Ends(side));
        }
        while splice.pump(&mut model, 64).verdict == Verdict::Again {}
        prop_assert_eq!(splice.pump(&mut model, 64).verdict, Verdict::Finished);
        // Who is told last is told by the close.
        prop_assert!(model.peers.iter().any(|peer| peer.end_received));
        prop_assert!(model.pipes.iter().all(Option::is_none));
        prop_assert_eq!([model.peers[1].received, model.peers[0].received], sent);
    }
}

#[test]
fn a_reset_of_one_side_ends_the_flow() {
    for side in [Side::Initiating, Side::Target] {
        let (mut splice, mut model) = (Splice::new(), Model::default());
        model.peers[index(side)].broken = true;
        assert_eq!(splice.pump(&mut model, 64).verdict, Verdict::Reset);
    }
}

#[test]
fn an_idle_flow_holds_no_pipe() {
    let (mut splice, mut model) = (Splice::new(), Model::default());
    let spliced = splice.pump(&mut model, 64);
    assert_eq!((spliced.verdict, model.pipes), (Verdict::Wait, [None, None]));
}

#[test]
fn an_end_waits_until_the_target_is_connected() {
    let mut splice = Splice::connecting();
    let mut model = Model::default();
    model.peers[0].ended = true;
    splice.ready(Side::Initiating, true, false, true);
    splice.pump(&mut model, 100);
    assert!(!model.peers[1].end_received);
    splice.ready(Side::Target, false, true, false);
    assert_eq!(splice.pump(&mut model, 100).ended, [Some(Side::Initiating), None]);
    assert!(model.peers[1].end_received);
}

proptest! {
    /// Whichever side dies, what it had sent arrives before the flow is over, and what it is sent is taken and lost.
    #[test]
    fn what_was_sent_before_a_reset_arrives(first: bool, fin: bool, answer in 1usize..300, room in 1usize..100) {
        let dead = if first { Side::Initiating } else { Side::Target };
        let (mut splice, mut model) = (Splice::new(), Model::default());
        model.peers[index(dead)] = Peer { sends: answer, deaf: true, ended: fin, ..Peer::default() };
        model.peers[index(dead.other())].sends = 100;
        let over = (0..1000).map(|_| {
            model.peers[index(dead.other())].takes += room;
            splice.ready(dead.other(), false, true, false);
            splice.pump(&mut model, 64).verdict
        }).position(|verdict| verdict == Verdict::Reset);
        prop_assert!(over.is_some());
        prop_assert_eq!(model.peers[index(dead.other())].received, answer);
        prop_assert_eq!(model.peers[index(dead)].received, 0);
    }
}
