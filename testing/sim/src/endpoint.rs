//! One end of a connection, and the script that it plays.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use minato_transport::{ConnectionId, ResetReason, Stack};

use crate::clock::Clock;
use crate::content::Content;
use crate::report::{Flow, Outcome};
use crate::world::NodeId;

/// What an end of a connection does next. After its last step it closes the connection in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hands over this many bytes.
    Send(u64),
    /// Reads this many bytes. That the peer ends before is an error.
    Receive(u64),
    /// Both at once.
    Exchange {
        /// Bytes to hand over.
        send: u64,
        /// Bytes to read.
        receive: u64,
    },
    /// Ends the own direction.
    Shutdown,
    /// Reads until the peer ends its direction.
    ReceiveEnd,
    /// Neither reads nor writes for this long.
    Pause(Duration),
    /// Resets the connection.
    Abort,
    /// Does nothing until the connection is reset.
    AwaitReset,
}

/// Why a script does not go on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Until an event of the stack.
    Waits,
    /// Until this time.
    Sleeps(Duration),
    /// The connection is over.
    Finished,
    /// The stack delivered a wrong byte at this position.
    WrongByte(u64),
    /// The peer ended after this many bytes, earlier than the script says.
    EndedEarly(u64),
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: ConnectionId,
    pub(crate) flow: Flow,
    /// Last time that a byte or a step was done, or found to be acknowledged.
    pub(crate) last_progress: Duration,
    /// Bytes that the peer acknowledged when last looked at.
    acknowledged: u64,
    script: Rc<[Step]>,
    position: usize,
    /// Bytes done within the step.
    step_sent: u64,
    step_received: u64,
    wake: Option<Duration>,
    outbound: Content,
    inbound: Content,
}

/// Who has the ends of a new connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) seed: u64,
    pub(crate) host: NodeId,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

impl Endpoint {
    pub(crate) fn new(now: Duration, id: ConnectionId, ends: Ends, script: Rc<[Step]>) -> Endpoint {
        Endpoint {
            id,
            flow: Flow::new(now, ends.host, ends.local, ends.remote),
            last_progress: now,
            acknowledged: 0,
            script,
            position: 0,
            step_sent: 0,
            step_received: 0,
            wake: None,
            outbound: Content::new(ends.seed, ends.local, ends.remote),
            inbound: Content::new(ends.seed, ends.remote, ends.local),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.flow.outcome != Outcome::Running
    }

    /// The step that is not done.
    pub(crate) fn step(&self) -> Option<Step> {
        self.script.get(self.position).copied()
    }

    /// Plays on as far as the stack allows.
    pub(crate) fn advance(&mut self, clock: Clock, stack: &mut Stack) -> Turn {
        while let Some(step) = self.step() {
            match self.play(step, clock, stack) {
                Some(turn) => return turn,
                None => self.next_step(clock.now()),
            }
            if self.is_over() {
                return Turn::Finished;
            }
        }
        self.finish(clock, stack, Outcome::Done);
        stack.close(clock.instant(), self.id);
        Turn::Finished
    }

    /// The stack gave the connection up.
    pub(crate) fn reset(&mut self, now: Duration, reason: ResetReason) {
        self.flow.outcome = Outcome::Reset(reason);
        self.flow.finished = Some(now);
    }

    /// Looks whether the peer acknowledged something, which is progress as well.
    pub(crate) fn look_for_progress(&mut self, now: Duration, stack: &Stack) {
        let acknowledged = stack.status(self.id).map_or(0, |status| status.bytes_acknowledged);
        if acknowledged != std::mem::replace(&mut self.acknowledged, acknowledged) {
            self.last_progress = now;
        }
    }

    /// Whether it waits for the script and not for the stack.
    pub(crate) fn is_asleep(&self) -> bool {
        self.wake.is_some()
    }

    /// `None` if the step is done.
    fn play(&mut self, step: Step, clock: Clock, stack: &mut Stack) -> Option<Turn> {
        match step {
            Step::Send(count) => self.exchange(count, 0, clock, stack),
            Step::Receive(count) => self.exchange(0, count, clock, stack),
            Step::Exchange { send, receive } => self.exchange(send, receive, clock, stack),
            Step::Shutdown => {
                stack.shutdown(clock.instant(), self.id);
                None
            }
            Step::ReceiveEnd => {
                if let Err(position) = self.pull(u64::MAX, clock, stack) {
                    return Some(Turn::WrongByte(position));
                }
                (!stack.is_finished(self.id)).then_some(Turn::Waits)
            }
            Step::Pause(length) => {
                let wake = *self.wake.get_or_insert(clock.now() + length);
                if clock.now() < wake {
                    return Some(Turn::Sleeps(wake));
                }
                self.wake = None;
                None
            }
            Step::Abort => {
                self.finish(clock, stack, Outcome::Aborted);
                stack.abort(clock.instant(), self.id);
                None
            }
            Step::AwaitReset => Some(Turn::Waits),
        }
    }

    fn exchange(&mut self, send: u64, receive: u64, clock: Clock, stack: &mut Stack) -> Option<Turn> {
        self.push(send - self.step_sent, clock, stack);
        if let Err(position) = self.pull(receive - self.step_received, clock, stack) {
            return Some(Turn::WrongByte(position));
        }
        if self.step_received < receive && stack.is_finished(self.id) {
            return Some(Turn::EndedEarly(self.flow.received));
        }
        (self.step_sent < send || self.step_received < receive).then_some(Turn::Waits)
    }

    /// Hands over up to `count` bytes.
    fn push(&mut self, mut count: u64, clock: Clock, stack: &mut Stack) {
        while count > 0 {
            let space = stack.send_space(self.id, count.min(LARGEST_WRITE) as usize);
            let length = (space.len() as u64).min(count) as usize;
            if length == 0 {
                return;
            }
            self.outbound.fill(self.flow.sent, &mut space[..length]);
            stack.commit(clock.instant(), self.id, length);
            self.flow.sent += length as u64;
            self.step_sent += length as u64;
            self.last_progress = clock.now();
            count -= length as u64;
        }
    }

    /// Reads up to `count` bytes.
    ///
    /// # Errors
    /// The position of a byte that is not what was sent.
    fn pull(&mut self, mut count: u64, clock: Clock, stack: &mut Stack) -> Result<(), u64> {
        loop {
            let mut taken = 0;
            for chunk in stack.receive_chunks(self.id) {
                let length = (chunk.len() as u64).min(count - taken) as usize;
                if let Some(position) = self.inbound.first_difference(self.flow.received + taken, &chunk[..length]) {
                    return Err(position);
                }
                taken += length as u64;
            }
            if taken == 0 {
                return Ok(());
            }
            stack.consume(clock.instant(), self.id, taken as usize);
            self.step_received += taken;
            self.flow.receive(clock.now(), taken);
            self.last_progress = clock.now();
            count -= taken;
        }
    }

    fn next_step(&mut self, now: Duration) {
        self.position += 1;
        self.step_sent = 0;
        self.step_received = 0;
        self.last_progress = now;
    }

    fn finish(&mut self, clock: Clock, stack: &Stack, outcome: Outcome) {
        self.flow.outcome = outcome;
        self.flow.finished = Some(clock.now());
        self.flow.observe(stack.status(self.id).as_ref());
    }
}

/// What is asked of `send_space` at most at once.
const LARGEST_WRITE: u64 = 64 << 10;
