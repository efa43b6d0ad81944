//! One direction of a link: a queue, a sender of finite speed, a distance, and faults.
//!
//! The queue is not kept as a list. Since frames leave in order and at a known speed, the time at which the last one is
//! sent says how many bytes wait, and when a new frame arrives is known at once.

mod config;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::packet::{self, Medium};
use crate::random::Random;

pub use config::{LinkConfig, Loss};

/// One direction of a link.
#[derive(Clone, Debug)]
pub struct Link {
    config: LinkConfig,
    medium: Medium,
    random: Random,
    /// When the last frame of the queue is sent.
    busy_until: Duration,
    /// When the last frame that was not held up arrives; none in order arrives before it.
    last_arrival: Duration,
    /// State of the model of bursty loss, and when it was last looked at.
    bad: bool,
    looked: Duration,
    statistics: LinkStatistics,
}

/// What happened on one direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Frames offered.
    pub offered: u64,
    /// Bytes that were sent, lost ones included.
    pub sent_bytes: u64,
    /// Frames dropped because the queue was full.
    pub overflowed: u64,
    /// Frames dropped because they were larger than the link's MTU.
    pub too_big: u64,
    /// Frames that vanished by chance.
    pub lost: u64,
    /// Frames that were held up, so that others might overtake them.
    pub reordered: u64,
    /// Frames that arrived twice.
    pub duplicated: u64,
    /// Frames that arrived with a flipped bit.
    pub corrupted: u64,
    /// Frames that got an ECN mark.
    pub marked: u64,
    /// Most bytes that the queue held.
    pub queue_peak: usize,
}

/// A frame at the far end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Virtual time of its last bit.
    pub at: Duration,
    /// What arrives.
    pub frame: Vec<u8>,
}

/// What becomes of a frame that does arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The frame.
    pub arrival: Arrival,
    /// Once more, if the link duplicated it.
    pub duplicate: Option<Arrival>,
}

/// Why a frame does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Larger than the MTU.
    TooBig,
    /// The queue was full.
    Overflow,
    /// Chance.
    Lost,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DropReason::TooBig => "too big",
            DropReason::Overflow => "queue full",
            DropReason::Lost => "lost",
        })
    }
}

impl Link {
    /// An idle link. `random` decides its faults.
    #[must_use]
    pub fn new(config: LinkConfig, medium: Medium, random: Random) -> Link {
        Link {
            config,
            medium,
            random,
            busy_until: Duration::ZERO,
            last_arrival: Duration::ZERO,
            bad: false,
            looked: Duration::ZERO,
            statistics: LinkStatistics::default(),
        }
    }

    /// Takes a frame at its near end, and tells when it arrives.
    ///
    /// # Errors
    /// If it does not.
    pub fn offer(&mut self, now: Duration, mut frame: Vec<u8>) -> Result<Delivery, DropReason> {
        self.statistics.offered += 1;
        if self.medium.exceeds(&frame, self.config.mtu) {
            self.statistics.too_big += 1;
            return Err(DropReason::TooBig);
        }
        let queued = self.queued(now);
        if queued + frame.len() > self.config.queue {
            self.statistics.overflowed += 1;
            return Err(DropReason::Overflow);
        }
        self.statistics.queue_peak = self.statistics.queue_peak.max(queued + frame.len());
        if self.config.ecn_threshold.is_some_and(|threshold| queued > threshold) {
            self.statistics.marked += u64::from(packet::mark_congestion(self.medium.packet_mut(&mut frame)));
        }
        self.busy_until = self.busy_until.max(now) + self.sending_time(frame.len());
        self.statistics.sent_bytes += frame.len() as u64;
        if self.loses(now) {
            self.statistics.lost += 1;
            return Err(DropReason::Lost);
        }
        self.corrupt(&mut frame);
        Ok(self.deliver(frame))
    }

    /// Bytes that wait or are being sent.
    #[must_use]
    pub fn queued(&self, now: Duration) -> usize {
        let remaining = self.busy_until.saturating_sub(now).as_nanos();
        let bandwidth = u128::from(self.config.bandwidth.unwrap_or(0));
        (remaining * bandwidth / NANOBITS_PER_BYTE) as usize
    }

    /// Goes on with other properties. Frames under way arrive as they would have.
    pub fn change(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// What the link does now.
    #[must_use]
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// How its frames are laid out.
    #[must_use]
    pub fn medium(&self) -> Medium {
        self.medium
    }

    /// What happened so far.
    #[must_use]
    pub fn statistics(&self) -> LinkStatistics {
        self.statistics
    }

    fn sending_time(&self, bytes: usize) -> Duration {
        self.config.bandwidth.map_or(Duration::ZERO, |bandwidth| {
            Duration::from_nanos((bytes as u128 * NANOBITS_PER_BYTE).div_ceil(u128::from(bandwidth)) as u64)
        })
    }

    fn loses(&mut self, now: Duration) -> bool {
        let idle = now.saturating_sub(std::mem::replace(&mut self.looked, now));
        match self.config.loss {
            Loss::None => false,
            Loss::Independent(probability) => self.random.happens(probability),
            Loss::Bursty { worsen, recover, good, bad } => {
                self.bad &= idle < BURST_END;
                self.bad ^= self.random.happens(if self.bad { recover } else { worsen });
                self.random.happens(if self.bad { bad } else { good })
            }
        }
    }

    fn corrupt(&mut self, frame: &mut [u8]) {
        let packet = self.medium.packet_mut(frame);
        if !packet.is_empty() && self.random.happens(self.config.corrupt) {
            let bit = self.random.below(packet.len() as u64 * 8) as usize;
            packet[bit / 8] ^= 1 << (bit % 8);
            self.statistics.corrupted += 1;
        }
    }

    fn deliver(&mut self, frame: Vec<u8>) -> Delivery {
        let at = self.busy_until + self.config.delay + self.random.duration(self.config.jitter);
        let at = if self.random.happens(self.config.reorder) {
            self.statistics.reordered += 1;
            at.max(self.last_arrival) + self.random.duration(self.config.reorder_delay)
        } else {
            self.last_arrival = self.last_arrival.max(at);
            self.last_arrival
        };
        let duplicate = self.random.happens(self.config.duplicate).then(|| {
            self.statistics.duplicated += 1;
            Arrival { at: at + self.random.duration(self.config.reorder_delay), frame: frame.clone() }
        });
        Delivery { arrival: Arrival { at, frame }, duplicate }
    }
}

/// See [`Loss::Bursty`].
const BURST_END: Duration = Duration::from_millis(100);

/// A bit in a second is this many bytes in a nanosecond, the other way round.
const NANOBITS_PER_BYTE: u128 = 8 * 1_000_000_000;
