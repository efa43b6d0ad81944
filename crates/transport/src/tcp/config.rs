//! TCP's limits and choices.

use std::time::Duration;

use super::SocketOptions;

/// Least retransmission timeout whatever is asked for: the clock's granularity of RFC 6298 §2, so that timers let time pass.
const RTO_MIN: Duration = Duration::from_millis(1);

/// Limits and choices that hold for every connection of a stack, and the options that connections begin with.
///
/// Values outside of what makes sense are taken as the nearest that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What connections and listeners begin with.
    pub options: SocketOptions,
    /// Offer and use selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Offer and use timestamps (RFC 7323).
    pub timestamps: bool,
    /// Negotiate and react to explicit congestion notification (RFC 3168).
    pub ecn: bool,
    /// Least time by which the retransmission timeout exceeds the smoothed round-trip time. RFC 6298 suggests 1 s for both
    /// together; Linux and we take 200 ms.
    pub rto_min: Duration,
    /// Largest retransmission timeout (RFC 6298 §2.5).
    pub rto_max: Duration,
    /// How long a closed connection is remembered (2 MSL).
    pub time_wait: Duration,
}

impl Config {
    /// The nearest that makes sense.
    pub(crate) fn within_bounds(mut self) -> Config {
        self.options = self.options.within_bounds();
        self.rto_min = self.rto_min.max(RTO_MIN);
        self.rto_max = self.rto_max.max(self.rto_min);
        self
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            options: SocketOptions::default(),
            sack: true,
            timestamps: true,
            ecn: true,
            rto_min: Duration::from_millis(200),
            rto_max: Duration::from_secs(120),
            time_wait: Duration::from_secs(60),
        }
    }
}
