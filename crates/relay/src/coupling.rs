//! Couples a connection whose buffers are in our memory (a Stack connection: the *near* side) with a socket of the
//! machine (the *far* side): bytes with backpressure, half-closes and resets, both ways.
//!
//! Readiness is edge-style on both sides: a side is taken as ready until it says [`Transfer::Blocked`] (or has no
//! bytes, no space), and as blocked until its owner says otherwise with `far_ready`. So nothing is asked twice in
//! vain, and no interest has to be registered and taken back.

use minato_transport::RECEIVE_CHUNKS;

/// What one attempt to move bytes did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// Moved this many bytes, at least one; there may be more.
    Moved(usize),
    /// Moved this many bytes, at least one, and that was all: the socket is empty (read from) or full (written to)
    /// until it tells otherwise. A stream socket that gives or takes less than it could have is in this state.
    Last(usize),
    /// Nothing can be moved until the other end of the socket does something.
    Blocked,
    /// The sender has ended its direction; everything before that was moved.
    Ended,
    /// The connection is dead.
    Failed,
}

/// The near side: a connection whose buffers can be lent.
pub trait Memory {
    /// Bytes that arrived and were not consumed, in order.
    fn arrived(&self) -> [&[u8]; RECEIVE_CHUNKS];
    /// Takes the first `count` of the bytes that arrived, which opens the window.
    fn consume(&mut self, count: usize);
    /// Whether the peer has ended its direction and everything before that was consumed.
    fn ended(&self) -> bool;
    /// Contiguous room for bytes to send; empty when there is none.
    fn space(&mut self) -> &mut [u8];
    /// Sends the first `count` bytes of the space.
    fn commit(&mut self, count: usize);
    /// Ends our direction after everything committed (FIN).
    fn end(&mut self);
}

/// The far side: a non-blocking socket.
pub trait Socket {
    /// Reads into `buffer`, which is not empty.
    fn read(&mut self, buffer: &mut [u8]) -> Transfer;
    /// Writes from the chunks, of which at least one is not empty.
    fn write(&mut self, chunks: [&[u8]; RECEIVE_CHUNKS]) -> Transfer;
    /// Ends our direction (FIN).
    fn end(&mut self);
}

/// What is to be done with a flow after it was pumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pump again after the next event of either side.
    Wait,
    /// The budget is used up and there is more: pump again after the other flows had their turn.
    Again,
    /// Both directions have ended: both sides may be closed in good order.
    Finished,
    /// One side's connection is dead, and what it had sent before is handed to the other side, which is to be reset when
    /// it has acknowledged that: a reset that overtakes data destroys it.
    Reset,
}

/// What pumping did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes from the near to the far side.
    pub to_far: usize,
    /// Bytes from the far to the near side.
    pub to_near: usize,
    /// The near side's end was passed on just now.
    pub near_ended: bool,
    /// The far side's end was passed on just now.
    pub far_ended: bool,
    /// What to do next.
    pub verdict: Verdict,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress { to_far: 0, to_near: 0, near_ended: false, far_ended: false, verdict: Verdict::Wait }
    }
}

/// The state of the coupling of one flow, whose two sides are lent to [`Coupling::pump`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coupling {
    /// The near side's end was passed on to the far side.
    near_ended: bool,
    /// The far side's end was passed on to the near side.
    far_ended: bool,
    far_readable: bool,
    far_writable: bool,
    /// The far side has announced its end or an error, so there is something to read after the last bytes.
    far_hung_up: bool,
    /// The far side takes no more, which is what a reset does; but what it sent before can still be read.
    far_dead: bool,
}

impl Default for Coupling {
    fn default() -> Coupling {
        Coupling::new()
    }
}

impl Coupling {
    /// Two connected sides through which nothing has passed.
    pub fn new() -> Coupling {
        Coupling {
            near_ended: false,
            far_ended: false,
            far_readable: true,
            far_writable: true,
            far_hung_up: false,
            far_dead: false,
        }
    }

    /// The same, with a far side that has only just been connected: it takes bytes, and has none before it says so.
    pub fn connected() -> Coupling {
        Coupling { far_readable: false, ..Coupling::new() }
    }

    /// The far side's socket has become ready.
    pub fn far_ready(&mut self, readable: bool, writable: bool, hung_up: bool) {
        self.far_readable |= readable || hung_up;
        self.far_writable |= writable || hung_up;
        self.far_hung_up |= hung_up;
    }

    /// Whether the far side is dead and the near side has not got all of what it had sent. What the near side sends
    /// meanwhile is thrown away, since a program that can't send may never come to read.
    pub fn is_dying(&self) -> bool {
        self.far_dead
    }

    /// Moves up to `budget` bytes in each direction, and passes ends on. When the far side dies, what it had sent is moved
    /// before the verdict is [`Verdict::Reset`]: an answer that was sent before a reset is an answer (RFC 9112 §9.6).
    pub fn pump(&mut self, near: &mut impl Memory, far: &mut impl Socket, budget: usize) -> Progress {
        let mut progress = Progress::default();
        self.pump_to_far(near, far, budget, &mut progress);
        if self.pump_to_near(near, far, budget, &mut progress) {
            progress.verdict = Verdict::Reset;
        } else if self.near_ended && self.far_ended {
            progress.verdict = Verdict::Finished;
        }
        progress
    }

    fn pump_to_far(&mut self, near: &mut impl Memory, far: &mut impl Socket, budget: usize, progress: &mut Progress) {
        if self.far_dead {
            return near.consume(near.arrived().iter().map(|chunk| chunk.len()).sum());
        }
        while self.far_writable && !self.near_ended {
            let chunks = near.arrived();
            if chunks.iter().all(|chunk| chunk.is_empty()) {
                // RFC 9293 §3.6: an end says that its sender has no more to send; it may still receive.
                if near.ended() {
                    // If the other direction has ended too, both sides are closed now, which says the same.
                    if !self.far_ended {
                        far.end();
                    }
                    self.near_ended = true;
                    progress.near_ended = true;
                }
                break;
            }
            if progress.to_far >= budget {
                progress.verdict = Verdict::Again;
                break;
            }
            match far.write(chunks) {
                Transfer::Moved(count) => {
                    near.consume(count);
                    progress.to_far += count;
                }
                Transfer::Last(count) => {
                    near.consume(count);
                    progress.to_far += count;
                    self.far_writable = false;
                }
                Transfer::Blocked => self.far_writable = false,
                Transfer::Ended | Transfer::Failed => {
                    self.far_dead = true;
                    self.far_readable = true;
                    break;
                }
            }
        }
    }

    /// True if the far side is dead, and nothing of what it had sent is left.
    fn pump_to_near(
        &mut self,
        near: &mut impl Memory,
        far: &mut impl Socket,
        budget: usize,
        progress: &mut Progress,
    ) -> bool {
        while self.far_readable && !self.far_ended {
            if progress.to_near >= budget {
                progress.verdict = Verdict::Again;
                break;
            }
            let space = near.space();
            if space.is_empty() {
                break;
            }
            match far.read(space) {
                Transfer::Moved(count) => {
                    near.commit(count);
                    progress.to_near += count;
                }
                Transfer::Last(count) => {
                    near.commit(count);
                    progress.to_near += count;
                    // Its end, once announced, is not announced again.
                    self.far_readable = self.far_hung_up || self.far_dead;
                }
                // Nothing comes behind the last byte of the dead.
                Transfer::Blocked | Transfer::Ended if self.far_dead => return true,
                Transfer::Blocked => self.far_readable = false,
                // RFC 9293 §3.6, as above.
                Transfer::Ended => {
                    near.end();
                    self.far_ended = true;
                    progress.far_ended = true;
                }
                Transfer::Failed => return true,
            }
        }
        // It had ended its direction in order before it died.
        self.far_dead && self.far_ended
    }
}

#[cfg(test)]
mod tests;
