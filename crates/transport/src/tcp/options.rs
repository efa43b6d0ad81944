//! What may differ from one connection to another: the socket options of an operating system.

use std::time::Duration;

use crate::wire::ip::Service;

/// Buffers are at least this long, as in Linux nearly, and at most RFC 7323's largest window.
const BUFFER_MIN: usize = 512;
const BUFFER_MAX: usize = 1 << 30;

/// Least size that a limit on segments may have (Linux: `TCP_MIN_MSS`).
pub(crate) const SEGMENT_SIZE_MIN: u16 = 88;

/// One less than what attempts are counted to.
const SYN_RETRIES_MAX: u8 = u8::MAX - 1;

/// Timers of the user's run in whole seconds, so that they can't keep the stack busy.
const TIME_MIN: Duration = Duration::from_secs(1);

/// Options of one connection. A listener's are those of the connections that it accepts; the stack's are those of the others,
/// until [`Stack::set_options`](crate::Stack::set_options) changes them. What a SYN tells (segment size, receive buffer) counts
/// if it is set before that left.
///
/// Values outside of what makes sense are taken as the nearest that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Hold small segments back while data is unacknowledged (RFC 9293 §3.7.4); `TCP_NODELAY` is its opposite. Off by
    /// default: a relay must not delay.
    pub nagle: bool,
    /// Longest time that an acknowledgement waits for company (at most 500 ms, RFC 9293 §3.8.6.3). Zero acknowledges each
    /// segment at once, as `TCP_QUICKACK` does for a while.
    pub ack_delay: Duration,
    /// The same for small segments among the first sixteen. These are acknowledged at once by default: the peer's window is
    /// small still, and a peer under Nagle's algorithm waits for each. A time that nobody notices lets an answer take the
    /// acknowledgement of a request along.
    pub first_ack_delay: Duration,
    /// `SO_KEEPALIVE`: probes of an idle peer; `None` sends none (RFC 9293 §3.8.4).
    pub keep_alive: Option<KeepAlive>,
    /// `TCP_USER_TIMEOUT`: how long unacknowledged data is retransmitted until the connection is given up (RFC 9293 §3.8.3 R2,
    /// RFC 5482).
    pub user_timeout: Duration,
    /// `TCP_SYNCNT`: retransmissions of SYN or SYN-ACK until the peer counts as unreachable.
    pub syn_retries: u8,
    /// `TCP_LINGER2`: how long a connection that the caller closed waits for the peer's FIN.
    pub fin_wait: Duration,
    /// `SO_LINGER`: how long a connection that the caller closed has to get its last data acknowledged. Then it is reset; with
    /// zero `close` resets it. `None` is as long as `user_timeout` allows, or nine probes of a window that stays shut (100 s or
    /// more).
    pub linger: Option<Duration>,
    /// `SO_RCVBUF` at the beginning: bytes offered to a new peer as its window. Grows to `receive_buffer_max` as fast as the
    /// reader proves to be.
    pub receive_buffer: usize,
    /// Most bytes that the unread data may take.
    pub receive_buffer_max: usize,
    /// `SO_SNDBUF`: most bytes that unacknowledged and unsent data may take.
    pub send_buffer_max: usize,
    /// `TCP_CONGESTION`: how the sending rate reacts to loss.
    pub congestion: CongestionControl,
    /// `TCP_MAXSEG`: largest segment to announce and to send, options included in the count, if the link allows more.
    pub segment_size_max: Option<u16>,
    /// Whether the path's packet size is searched by sending larger packets (RFC 4821).
    pub path_mtu: PathMtu,
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`.
    pub hop_limit: u8,
    /// `IP_TOS`, `IPV6_TCLASS`: the byte with the DSCP (RFC 2474) in its upper six bits. The lower two are ECN's, and not the
    /// caller's.
    pub traffic_class: u8,
}

impl SocketOptions {
    /// The nearest options that make sense.
    pub(crate) fn within_bounds(mut self) -> SocketOptions {
        for buffer in [&mut self.receive_buffer, &mut self.receive_buffer_max, &mut self.send_buffer_max] {
            *buffer = (*buffer).clamp(BUFFER_MIN, BUFFER_MAX);
        }
        self.keep_alive = self.keep_alive.map(KeepAlive::within_bounds);
        self.syn_retries = self.syn_retries.min(SYN_RETRIES_MAX);
        self.segment_size_max = self.segment_size_max.map(|most| most.max(SEGMENT_SIZE_MIN));
        let Service { hop_limit, traffic_class } = Service::new(self.hop_limit, self.traffic_class);
        (self.hop_limit, self.traffic_class) = (hop_limit, traffic_class);
        self
    }

    /// What IP is told about every packet.
    pub(crate) fn service(&self) -> Service {
        Service { hop_limit: self.hop_limit, traffic_class: self.traffic_class }
    }

    /// Most bytes to hold unread at first.
    pub(super) fn first_capacity(&self) -> usize {
        self.receive_buffer.min(self.receive_buffer_max)
    }

    /// The window field that our SYN has (never scaled).
    pub(crate) fn first_window(&self) -> u16 {
        u16::try_from(self.first_capacity()).unwrap_or(u16::MAX)
    }

    /// The shift that our SYN announces (RFC 7323 §2.2): the least with which the largest window fits 16 bits.
    pub(crate) fn window_shift(&self) -> u8 {
        (0..14).find(|shift| self.receive_buffer_max >> shift <= usize::from(u16::MAX)).unwrap_or(14)
    }
}

impl Default for SocketOptions {
    fn default() -> SocketOptions {
        let Service { hop_limit, traffic_class } = Service::DEFAULT;
        SocketOptions {
            nagle: false,
            ack_delay: Duration::from_millis(40),
            first_ack_delay: Duration::ZERO,
            keep_alive: None,
            user_timeout: Duration::from_secs(900),
            syn_retries: 6,
            fin_wait: Duration::from_secs(60),
            linger: None,
            receive_buffer: 64 << 10,
            receive_buffer_max: 6 << 20,
            send_buffer_max: 4 << 20,
            congestion: CongestionControl::Cubic,
            segment_size_max: None,
            path_mtu: PathMtu::AfterBlackHole,
            hop_limit,
            traffic_class,
        }
    }
}

/// Probes of an idle peer (RFC 9293 §3.8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// `TCP_KEEPIDLE`: how long nothing was heard until the first probe.
    pub idle: Duration,
    /// `TCP_KEEPINTVL`: time between probes.
    pub interval: Duration,
    /// `TCP_KEEPCNT`: probes in a row without an answer after which the connection is given up.
    pub probes: u8,
}

impl KeepAlive {
    /// Nine probes 75 s apart, as Linux sends them, after `idle`.
    #[must_use]
    pub fn after(idle: Duration) -> KeepAlive {
        KeepAlive { idle, interval: Duration::from_secs(75), probes: 9 }
    }

    fn within_bounds(self) -> KeepAlive {
        KeepAlive { idle: self.idle.max(TIME_MIN), interval: self.interval.max(TIME_MIN), probes: self.probes.max(1) }
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

/// Whether the path's packet size is searched by sending larger packets (RFC 4821), beside what ICMP says. Linux has the same
/// choices as `net.ipv4.tcp_mtu_probing` 0, 1 and 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathMtu {
    /// ICMP alone says how much the path takes.
    Icmp,
    /// Once timeouts in a row make it likely that the path swallows large packets, small ones are sent, and larger ones
    /// searched for.
    AfterBlackHole,
    /// Every connection begins with small packets and searches upwards.
    Always,
}
