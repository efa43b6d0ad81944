//! TCP's limits and choices.

use std::time::Duration;

use super::SocketOptions;

/// Limits and choices that hold for every connection of a stack, and the options that connections begin with.
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
