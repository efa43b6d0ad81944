//! What is known about the service at a port: whether a client may be held for it.

use std::collections::HashMap;
use std::mem;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use minato_host::direct::Accepting;
use minato_host::process;

use super::allowance::Allowance;

/// For how long a service is not waited for that has left a client waiting. Twice as long each time, until it takes one:
/// so what its other ways to take connections cost its clients is nothing in the long run.
pub(super) const PAUSE: Duration = Duration::from_millis(200);
/// And at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// By then a thread has its answer from the kernel, if it is not one to wait for. Where a busy machine makes a thread later
/// than that, it may take the connection inside of a client that is held, who is relayed a little later then.
pub(super) const ANSWERED: Duration = Duration::from_millis(100);

/// What is known about one.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// It takes its connections by calls that are asked about.
    asks: bool,
    /// Threads that the kernel serves, and until when that is believed.
    served: HashMap<u32, Served>,
    /// How many clients it has left waiting since it has taken one.
    missed: u32,
    /// It is not waited for before then.
    pause: Option<Instant>,
    /// How many clients may be handed over to it.
    allowance: Allowance,
}

/// A thread that gets its connection from the kernel.
#[derive(Clone, Copy, Debug)]
struct Served {
    until: Instant,
    /// Its descriptor of the listener.
    descriptor: RawFd,
    /// It may wait for one for longer.
    blocks: bool,
}

impl Service {
    /// It listens anew, and is expected to ask. Threads may wait in the kernel still.
    pub(super) fn listens(&mut self) {
        *self = Service { asks: true, served: mem::take(&mut self.served), ..Service::default() };
    }

    /// Whether it is to be waited for when a client comes, which counts.
    pub(super) fn is_expected(&mut self, now: Instant) -> bool {
        self.asks && self.is_due(now) && !self.is_served(now) && self.allowance.take(now)
    }

    /// A thread asks, and is not served by the kernel any more. Whether it may be given a client.
    pub(super) fn asks(&mut self, now: Instant, thread: u32) -> bool {
        self.asks = true;
        self.served.remove(&thread);
        self.is_due(now)
    }

    /// The kernel serves a thread.
    pub(super) fn leave(&mut self, now: Instant, who: Accepting) {
        self.served
            .insert(who.thread, Served { until: now + ANSWERED, descriptor: who.descriptor, blocks: who.blocks });
    }

    /// It has taken a client.
    pub(super) fn has_taken(&mut self) {
        (self.missed, self.pause) = (0, None);
    }

    /// It has left a client waiting.
    pub(super) fn has_missed(&mut self, now: Instant) {
        let pause = PAUSE.saturating_mul(1 << self.missed.min(16)).min(LONGEST_PAUSE);
        self.asks = false;
        self.missed += 1;
        self.pause = Some(now + pause);
    }

    /// Whether clients are held for it, as far as it depends on what has come before.
    fn is_due(&mut self, now: Instant) -> bool {
        self.pause.is_none_or(|until| until <= now) && self.allowance.has_some(now)
    }

    /// Whether the kernel may give a thread a connection. Those of which it is known that it does not are forgotten.
    fn is_served(&mut self, now: Instant) -> bool {
        while let Some((thread, served)) = self.served.iter_mut().next() {
            if served.until > now {
                return true;
            }
            if served.blocks && process::accepts(*thread, served.descriptor) {
                served.until = now + ANSWERED;
                return true;
            }
            let thread = *thread;
            self.served.remove(&thread);
        }
        false
    }
}
