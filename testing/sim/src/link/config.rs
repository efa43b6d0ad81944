//! What a link does to the frames that it carries.

use std::time::Duration;

/// One direction of a link. Start from [`LinkConfig::default`] (infinitely fast, no delay, no fault) or
/// [`LinkConfig::new`], and change fields.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// Bits per second; `None` takes no time to send.
    pub bandwidth: Option<u64>,
    /// From the last bit sent to the last bit received.
    pub delay: Duration,
    /// Up to this much more, uniformly; frames keep their order.
    pub jitter: Duration,
    /// Bytes that wait or are being sent. A frame that would exceed it is dropped (tail drop).
    pub queue: usize,
    /// Above this many bytes in the queue, packets of ECN-capable transports are marked (RFC 3168 §5).
    pub ecn_threshold: Option<usize>,
    /// Frames that vanish after they were sent.
    pub loss: Loss,
    /// Probability that a frame is held up by up to `reorder_delay`, so that later ones overtake it.
    pub reorder: f64,
    /// Longest time that a reordered frame is held up.
    pub reorder_delay: Duration,
    /// Probability that a frame arrives twice.
    pub duplicate: f64,
    /// Probability that one bit of a frame's IP packet is flipped. One and not more: that is what a 16-bit ones' complement
    /// sum always finds, while two flips may cancel each other.
    pub corrupt: f64,
    /// Largest IP packet in bytes; larger ones vanish, or are answered by ICMP if a router is to send them.
    pub mtu: usize,
}

impl LinkConfig {
    /// A link without faults, whose queue holds what it carries in 100 ms, but at least 20 full packets.
    #[must_use]
    pub fn new(bandwidth: u64, delay: Duration) -> LinkConfig {
        let queue = (bandwidth / 80).max(30_000) as usize;
        LinkConfig { bandwidth: Some(bandwidth), delay, queue, ..LinkConfig::default() }
    }
}

impl Default for LinkConfig {
    fn default() -> LinkConfig {
        LinkConfig {
            bandwidth: None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            queue: usize::MAX,
            ecn_threshold: None,
            loss: Loss::None,
            reorder: 0.0,
            reorder_delay: Duration::ZERO,
            duplicate: 0.0,
            corrupt: 0.0,
            mtu: 1500,
        }
    }
}

/// Which frames vanish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// None.
    None,
    /// Each with this probability, whatever happened to the others.
    Independent(f64),
    /// In bursts, by the model of Gilbert and Elliott: the link is good or bad, and changes with each frame by chance. Since
    /// bad times pass without frames as well, a link that had none for 100 ms is good again.
    Bursty {
        /// Probability that a good link turns bad before a frame.
        worsen: f64,
        /// Probability that a bad link turns good before a frame; its inverse is the mean length of a burst in frames.
        recover: f64,
        /// Probability that a frame vanishes while the link is good.
        good: f64,
        /// Probability that a frame vanishes while the link is bad.
        bad: f64,
    },
}

impl Loss {
    /// Bursts of `length` frames on average, in which every frame vanishes, such that `share` of all frames vanish.
    #[must_use]
    pub fn bursts(share: f64, length: f64) -> Loss {
        let recover = 1.0 / length;
        Loss::Bursty { worsen: recover * share / (1.0 - share), recover, good: 0.0, bad: 1.0 }
    }
}
