//! TCP's limits and choices.

use std::time::Duration;

/// Limits and choices that hold for every connection of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes offered to a new peer as its window. Grows to `receive_buffer_max` as fast as the reader proves to be.
    pub receive_buffer: usize,
    /// Most bytes that one connection's unread data may take.
    pub receive_buffer_max: usize,
    /// Most bytes that one connection's unacknowledged and unsent data may take.
    pub send_buffer_max: usize,
    /// How the sending rate reacts to loss.
    pub congestion: CongestionControl,
    /// Hold small segments back while data is unacknowledged (RFC 9293 §3.7.4). Off by default: a relay must not delay.
    pub nagle: bool,
    /// Offer and use selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Offer and use timestamps (RFC 7323).
    pub timestamps: bool,
    /// Negotiate and react to explicit congestion notification (RFC 3168).
    pub ecn: bool,
    /// Longest time that an acknowledgement waits for company (at most 500 ms, RFC 9293 §3.8.6.3).
    pub ack_delay: Duration,
    /// Least time by which the retransmission timeout exceeds the smoothed round-trip time. RFC 6298 suggests 1 s for both
    /// together; Linux and we take 200 ms.
    pub rto_min: Duration,
    /// Largest retransmission timeout (RFC 6298 §2.5).
    pub rto_max: Duration,
    /// Retransmissions of SYN or SYN-ACK until the peer counts as unreachable.
    pub syn_retries: u8,
    /// How long unacknowledged data is retransmitted until the connection is given up (RFC 9293 §3.8.3 R2, RFC 5482).
    pub user_timeout: Duration,
    /// Idle time until the first keep-alive probe; `None` sends none (RFC 9293 §3.8.4).
    pub keep_alive: Option<Duration>,
    /// How long a closed connection is remembered (2 MSL).
    pub time_wait: Duration,
    /// How long a connection that the caller closed waits for the peer's FIN.
    pub fin_wait: Duration,
}

impl Config {
    /// The shift that our SYNs announce (RFC 7323 §2.2): the least with which the largest window fits 16 bits.
    pub(crate) fn window_shift(&self) -> u8 {
        (0..14).find(|shift| self.receive_buffer_max >> shift <= usize::from(u16::MAX)).unwrap_or(14)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            receive_buffer: 64 << 10,
            receive_buffer_max: 6 << 20,
            send_buffer_max: 4 << 20,
            congestion: CongestionControl::Cubic,
            nagle: false,
            sack: true,
            timestamps: true,
            ecn: true,
            ack_delay: Duration::from_millis(40),
            rto_min: Duration::from_millis(200),
            rto_max: Duration::from_secs(120),
            syn_retries: 6,
            user_timeout: Duration::from_secs(900),
            keep_alive: None,
            time_wait: Duration::from_secs(60),
            fin_wait: Duration::from_secs(60),
        }
    }
}

/// How the sending rate reacts to loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CongestionControl {
    /// RFC 9438.
    Cubic,
    /// RFC 5681 with RFC 6582.
    NewReno,
}
