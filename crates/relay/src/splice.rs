//! Couples two sockets of the machine through a pipe per direction (or something like it), so that the bytes of bulk
//! transfers never enter our memory.

use crate::coupling::{Transfer, Verdict};
use crate::lifecycle::Side;

/// The sockets and pipes that a [`Splice`] moves bytes through. `from` names the side that sends.
pub trait Pipeline {
    /// Moves bytes from the socket of side `from` into that direction's pipe, which is empty.
    fn fill(&mut self, from: Side) -> Transfer;
    /// Moves up to `count` bytes from that direction's pipe into the other side's socket.
    fn drain(&mut self, from: Side, count: usize) -> Transfer;
    /// The pump leaves this direction: bytes in its pipe must stay there until the next `drain`, an empty pipe is not
    /// needed until the next `fill`.
    fn park(&mut self, from: Side);
    /// Passes the end of side `from` on to the other side's socket (FIN).
    fn end(&mut self, from: Side);
    /// Throws away what the socket of side `from` has received.
    fn discard(&mut self, from: Side);
}

/// One direction of a [`Splice`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Direction {
    /// Bytes in the pipe.
    piped: usize,
    /// The sender has ended.
    source_ended: bool,
    /// The sender's end was passed on: nothing moves here any more.
    done: bool,
}

/// What [`Splice::pump`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spliced {
    /// Bytes delivered from the initiating to the target side.
    pub to_target: usize,
    /// Bytes delivered from the target to the initiating side.
    pub to_initiating: usize,
    /// The side whose end was passed on just now, for each direction.
    pub ended: [Option<Side>; 2],
    /// What to do next.
    pub verdict: Verdict,
}

/// The state of two coupled sockets. A pipe is filled only when it is empty and then drained: so "would block" while
/// filling is always the socket's word, never the pipe's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// From the initiating side, from the target side.
    directions: [Direction; 2],
    /// Readiness of each side's socket.
    readable: [bool; 2],
    writable: [bool; 2],
    /// It has announced its end or an error, so there is something to read after the last bytes.
    hung_up: [bool; 2],
    /// The target side's socket is connected.
    connected: bool,
    /// This side takes no more, which is what a reset does; but what it sent before can still be read.
    dead: Option<Side>,
    /// And everything of that is handed on.
    over: bool,
}

impl Default for Splice {
    fn default() -> Splice {
        Splice::new()
    }
}

impl Splice {
    /// Two connected sockets through which nothing has passed.
    pub fn new() -> Splice {
        Splice {
            directions: [Direction::default(); 2],
            readable: [true; 2],
            writable: [true; 2],
            hung_up: [false; 2],
            connected: true,
            dead: None,
            over: false,
        }
    }

    /// As [`Splice::new`], but the target side is still being connected: it becomes writable when it is.
    pub fn connecting() -> Splice {
        Splice { connected: false, ..Splice::new() }
    }

    /// The socket of `side` has become ready.
    pub fn ready(&mut self, side: Side, readable: bool, writable: bool, hung_up: bool) {
        self.readable[index(side)] |= readable || hung_up;
        self.writable[index(side)] |= writable || hung_up;
        self.hung_up[index(side)] |= hung_up;
        self.connected |= side == Side::Target && (writable || hung_up);
    }

    /// Whether one side is dead and the other one has not got all of what it had sent. What that one sends meanwhile is
    /// thrown away, since a program that can't send may never come to read.
    pub fn is_dying(&self) -> bool {
        self.dead.is_some()
    }

    /// Moves up to about `budget` bytes in each direction, and passes ends on. When one side dies, what it had sent is
    /// moved before the verdict is [`Verdict::Reset`]: an answer that was sent before a reset is an answer (RFC 9112 §9.6).
    pub fn pump(&mut self, pipeline: &mut impl Pipeline, budget: usize) -> Spliced {
        let mut result = Spliced { to_target: 0, to_initiating: 0, ended: [None; 2], verdict: Verdict::Wait };
        let was_dying = self.is_dying();
        self.pump_direction(Side::Initiating, pipeline, budget, &mut result);
        self.pump_direction(Side::Target, pipeline, budget, &mut result);
        if self.dead == Some(Side::Initiating) && !was_dying {
            // It was found dead after its turn.
            self.pump_direction(Side::Initiating, pipeline, budget, &mut result);
        }
        if self.over {
            result.verdict = Verdict::Reset;
        } else if self.directions.iter().all(|direction| direction.done) {
            result.verdict = Verdict::Finished;
        }
        result
    }

    fn pump_direction(&mut self, from: Side, pipeline: &mut impl Pipeline, budget: usize, result: &mut Spliced) {
        if self.dead == Some(from.other()) {
            return pipeline.discard(from);
        }
        let done_before = self.directions[index(from)].done;
        let (moved, verdict) = self.pump_from(from, pipeline, budget);
        match from {
            Side::Initiating => result.to_target += moved,
            Side::Target => result.to_initiating += moved,
        }
        if verdict == Verdict::Again {
            result.verdict = Verdict::Again;
        }
        let direction = &self.directions[index(from)];
        if direction.done && !done_before {
            result.ended[index(from)] = Some(from);
        }
        self.over |= self.dead == Some(from) && direction.done;
    }

    /// A side takes no more: what it had sent is all that is left to do, and nothing if the other one is dead too.
    fn died(&mut self, side: Side) {
        self.over |= self.dead == Some(side.other());
        self.dead.get_or_insert(side);
        self.readable[index(side)] = true;
    }

    fn pump_from(&mut self, from: Side, pipeline: &mut impl Pipeline, budget: usize) -> (usize, Verdict) {
        let mut moved = 0;
        let verdict = loop {
            let direction = &mut self.directions[index(from)];
            if direction.piped > 0 {
                if !self.writable[index(from.other())] {
                    break Verdict::Wait;
                }
                match pipeline.drain(from, direction.piped) {
                    Transfer::Moved(count) => {
                        direction.piped -= count;
                        moved += count;
                    }
                    Transfer::Last(count) => {
                        direction.piped -= count;
                        moved += count;
                        self.writable[index(from.other())] = false;
                    }
                    Transfer::Blocked => self.writable[index(from.other())] = false,
                    Transfer::Ended | Transfer::Failed => {
                        self.died(from.other());
                        break Verdict::Wait;
                    }
                }
            } else if direction.source_ended {
                // RFC 9293 §3.6: what has ended may still receive. The end is passed on behind the last byte, and not
                // before there is a connection that could end: a shutdown in SYN-SENT would abort it (§3.10.4).
                if !direction.done && (self.connected || from == Side::Target) {
                    direction.done = true;
                    // If the other direction has ended too, both sockets are closed now, which says the same.
                    if !self.directions[index(from.other())].done {
                        pipeline.end(from);
                    }
                }
                break Verdict::Wait;
            } else if !self.readable[index(from)] {
                break Verdict::Wait;
            } else if moved >= budget {
                break Verdict::Again;
            } else {
                match pipeline.fill(from) {
                    Transfer::Moved(count) => direction.piped = count,
                    Transfer::Last(count) => {
                        direction.piped = count;
                        self.readable[index(from)] = self.hung_up[index(from)] || self.dead == Some(from);
                    }
                    // Nothing comes behind the last byte of the dead.
                    Transfer::Blocked | Transfer::Ended if self.dead == Some(from) => {
                        self.over = true;
                        break Verdict::Wait;
                    }
                    Transfer::Blocked => self.readable[index(from)] = false,
                    Transfer::Ended => direction.source_ended = true,
                    Transfer::Failed => {
                        self.died(from);
                        self.over = true;
                        break Verdict::Wait;
                    }
                }
            }
        };
        pipeline.park(from);
        (moved, verdict)
    }
}

fn index(side: Side) -> usize {
    match side {
        Side::Initiating => 0,
        Side::Target => 1,
    }
}

#[cfg(test)]
mod tests;
