//! One connection: its state, its two directions, and what the caller does with it.

use std::sync::Arc;

use super::buffer::ChunkPool;
use super::receive::ReceiveHalf;
use super::send::{Expired, SendHalf};
use super::state::{Disposition, Ended};
use super::status::State;
use super::{Config, KeepAlive, Request, Seq, SocketOptions};
use crate::demux::FourTuple;
use crate::event::ResetReason;
use crate::leases::Lease;
use crate::time::{Interval, Time, earliest};

/// Window probes in a row for a connection that the caller closed.
const ORPHAN_PROBES: u8 = 8;

/// What connections share while something happens to one.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) config: &'a Config,
    pub(crate) pool: &'a mut ChunkPool,
}

impl<'a> Context<'a> {
    pub(crate) fn new(now: Time, config: &'a Config, pool: &'a mut ChunkPool) -> Context<'a> {
        Context { now, config, pool }
    }
}

/// What the caller shall be told; cleared when it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    pub(crate) connected: bool,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) peer_closed: bool,
    pub(crate) closed: bool,
}

/// What both sides agreed to in their SYNs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Agreed {
    /// The largest segment that the peer takes.
    pub(super) segment_size: u16,
    pub(super) timestamps: bool,
    pub(super) window_scale: bool,
    pub(super) ecn: bool,
}

/// What a connection begins with, whoever opens it.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    pub(crate) now: Time,
    pub(crate) tuple: FourTuple,
    /// ISS.
    pub(crate) initial: Seq,
    pub(crate) timestamp_offset: u32,
    /// Our own largest.
    pub(crate) segment_size: u16,
    pub(crate) options: Arc<SocketOptions>,
}

/// A TCP connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) tuple: FourTuple,
    /// Shared with all that have the same.
    pub(super) options: Arc<SocketOptions>,
    pub(super) state: State,
    pub(super) send: SendHalf,
    pub(super) receive: ReceiveHalf,
    pub(super) agreed: Agreed,
    /// Whether we opened actively: decides where SYN-RECEIVED goes back to.
    pub(super) active: bool,
    /// SYN or SYN-ACK must be sent (again).
    pub(super) synchronize_due: bool,
    pub(super) attempts: u8,
    /// When our SYN was sent, if only once.
    pub(super) synchronized_at: Option<Time>,
    pub(super) timestamp_offset: u32,
    /// When the peer last sent anything.
    pub(super) heard: Time,
    /// When a bare segment out of place was answered last.
    pub(super) answered_at: Option<Time>,
    pub(super) keep_alive_at: Option<Time>,
    pub(super) keep_alive_probes: u8,
    pub(super) keep_alive_due: bool,
    /// The caller gave the connection up; it finishes alone, until `expires` at the latest.
    pub(crate) orphan: bool,
    pub(super) expires: Option<Time>,
    pub(crate) notices: Notices,
    /// What it holds of our own port space.
    pub(crate) lease: Lease,
    /// Index of the listener whose backlog it counts to, until it is accepted.
    pub(crate) listener: Option<u32>,
    /// In the stack's queue of connections that may have something to send.
    pub(crate) queued: bool,
    /// The earliest entry that the timer heap has for it.
    pub(crate) armed: Option<Time>,
    /// Events of these kinds wait in the stack's queue.
    pub(crate) announced: Notices,
}

impl Connection {
    fn new(beginning: Beginning) -> Connection {
        let Beginning { now, tuple, initial, timestamp_offset, segment_size, options } = beginning;
        Connection {
            tuple,
            state: State::Closed,
            send: SendHalf::new(initial, segment_size, tuple.is_ipv6(), &options),
            receive: ReceiveHalf::new(now, &options),
            options,
            agreed: Agreed::default(),
            active: false,
            synchronize_due: true,
            attempts: 0,
            synchronized_at: None,
            timestamp_offset,
            heard: now,
            answered_at: None,
            keep_alive_at: None,
            keep_alive_probes: 0,
            keep_alive_due: false,
            orphan: false,
            expires: None,
            notices: Notices::default(),
            lease: Lease::default(),
            listener: None,
            queued: false,
            armed: None,
            announced: Notices::default(),
        }
    }

    /// Opens actively: RFC 9293 §3.10.1.
    pub(crate) fn active(beginning: Beginning, config: &Config) -> Connection {
        let mut connection = Connection::new(beginning);
        connection.state = State::SynSent;
        connection.active = true;
        connection.agreed.timestamps = config.timestamps;
        connection
    }

    /// Answers a request: RFC 9293 §3.10.7.2.
    pub(crate) fn passive(beginning: Beginning, request: &Request, config: &Config) -> Connection {
        let now = beginning.now;
        let mut connection = Connection::new(beginning);
        connection.state = State::SynReceived;
        connection.agree(now, request, config);
        connection
    }

    /// The third segment of a handshake whose first was answered by a SYN cookie: as if that answer had been ours.
    pub(crate) fn from_cookie(beginning: Beginning, request: &Request, config: &Config) -> Connection {
        let mut connection = Connection::passive(beginning, request, config);
        connection.synchronize_due = false;
        connection.attempts = 1;
        connection.send.next = connection.send.initial.plus(1);
        connection.receive.initial_window();
        connection
    }

    /// The peer's SYN settles what both use (RFC 7323 §1.3, §2.2, §3.2; RFC 2018 §2; RFC 3168 §6.1.1).
    pub(super) fn agree(&mut self, now: Time, request: &Request, config: &Config) {
        self.receive.begin(now, request);
        self.agreed.timestamps = config.timestamps && request.timestamp.is_some();
        self.agreed.window_scale = request.window_scale.is_some();
        match request.window_scale {
            Some(shift) => self.send.window_shift = shift,
            None => self.receive.window_shift = 0,
        }
        let sack = config.sack && request.sack_permitted;
        self.send.sack = sack;
        self.receive.sack = sack;
        self.agreed.ecn = config.ecn && request.ecn;
        self.send.ecn = self.agreed.ecn;
        self.agreed.segment_size = request.maximum_segment_size;
        self.agree_sizes(now, self.send.segment_size);
        self.send.begin_window(request.initial, usize::from(request.window));
    }

    /// What each end takes, and how much of it is sent at first. `own` is our own largest.
    pub(super) fn agree_sizes(&mut self, now: Time, own: u16) {
        let option_bytes = if self.agreed.timestamps { 12 } else { 0 };
        self.send.set_segment_size(own.min(self.agreed.segment_size), option_bytes);
        self.send.begin_search(now);
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::TimeWait)
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Nobody waits for the peer's FIN any more, so it does not wait for ever.
    pub(super) fn expires_when_waiting(&mut self, ctx: &Context<'_>) {
        if self.orphan && self.state == State::FinWait2 {
            self.expires = Some(ctx.now + self.options.fin_wait);
        }
    }

    /// There is no way to the peer just now: what waits is tried again later.
    pub(crate) fn on_no_way(&mut self, ctx: &Context<'_>) {
        match self.state {
            // Who opened hears at once that there is none.
            State::SynSent => {}
            State::SynReceived => self.count_attempt(ctx),
            _ => self.send.retry_later(ctx.now, ctx.config),
        }
    }

    /// When `on_time` has something to do. A connection that is over waits for its caller only.
    pub(crate) fn deadline(&self) -> Option<Time> {
        if self.is_over() {
            return None;
        }
        earliest([self.send.deadline(), self.receive.acknowledge_at, self.keep_alive_at, self.expires])
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, ctx: &mut Context<'_>) -> Disposition {
        let now = ctx.now;
        if self.is_over() {
            return Disposition::Kept;
        }
        if self.expires.is_some_and(|at| at <= now) {
            return Disposition::Ended(match self.state {
                State::FinWait2 => Ended::Forgotten,
                // SO_LINGER: the last data had its time.
                _ => Ended::Reset(ResetReason::TimedOut),
            });
        }
        if matches!(self.state, State::SynSent | State::SynReceived) {
            return self.on_handshake_time(ctx);
        }
        if self.receive.acknowledge_at.is_some_and(|at| at <= now) {
            self.receive.acknowledge_at = None;
            self.receive.acknowledge_now = true;
        }
        if self.send.on_time(now, ctx.config, self.options.user_timeout.into(), self.heard) == Expired::GiveUp {
            return Disposition::Ended(Ended::Reset(ResetReason::TimedOut));
        }
        // A peer may shut its window for ever, but not on what nobody waits for.
        if self.orphan && self.send.window_probes() > ORPHAN_PROBES {
            return Disposition::Ended(Ended::Reset(ResetReason::TimedOut));
        }
        self.on_keep_alive_time(ctx)
    }

    /// RFC 6298 §5.7 for SYN and SYN-ACK; RFC 9293 §3.8.3 R2 for SYN.
    fn on_handshake_time(&mut self, ctx: &mut Context<'_>) -> Disposition {
        if !self.send.handshake_timer_due(ctx.now) {
            return Disposition::Kept;
        }
        if self.attempts > self.options.syn_retries {
            return Disposition::Ended(Ended::Reset(ResetReason::TimedOut));
        }
        self.send.stop_handshake_timer();
        self.synchronize_due = true;
        Disposition::Kept
    }

    /// RFC 9293 §3.8.4.
    fn on_keep_alive_time(&mut self, ctx: &mut Context<'_>) -> Disposition {
        let Some(KeepAlive { idle, interval, probes }) = self.options.keep_alive else { return Disposition::Kept };
        let (idle, interval) = (Interval::from(idle), Interval::from(interval));
        if self.keep_alive_at.is_none_or(|at| at > ctx.now) {
            return Disposition::Kept;
        }
        let quiet = ctx.now.since(self.heard);
        if quiet < idle || !self.send.is_idle() {
            self.keep_alive_probes = 0;
            self.keep_alive_at = Some((self.heard + idle).max(ctx.now + interval.min(idle)));
            return Disposition::Kept;
        }
        if self.keep_alive_probes >= probes {
            return Disposition::Ended(Ended::Reset(ResetReason::TimedOut));
        }
        self.keep_alive_probes += 1;
        self.keep_alive_due = true;
        self.keep_alive_at = Some(ctx.now + interval);
        Disposition::Kept
    }

    /// Whether `seq` is sent and not acknowledged (RFC 5927 §4.1).
    pub(crate) fn is_under_way(&self, seq: Seq) -> bool {
        seq.is_at_or_after(self.send.unacknowledged) && seq.is_before(self.send.next)
    }

    /// Where the byte with this sequence number is in the send buffer; `None` if it is acknowledged.
    pub(crate) fn offset_of(&self, seq: Seq) -> Option<usize> {
        seq.is_at_or_after(self.send.unacknowledged).then(|| seq.since(self.send.unacknowledged))
    }

    /// A router says that the path takes less (RFC 1191, RFC 8201).
    pub(crate) fn on_packet_too_big(&mut self, ctx: &mut Context<'_>, mtu: u16) {
        let headers = if self.tuple.is_ipv6() { 60 } else { 40 };
        self.send.on_packet_too_big(ctx, mtu.saturating_sub(headers));
    }

    /// Keeps no memory that an idle connection does not need.
    pub(crate) fn shrink(&mut self, pool: &mut ChunkPool) {
        self.send.shrink(pool);
        self.receive.queue.trim(pool);
    }

    /// Gives all memory back.
    pub(crate) fn clear(&mut self, pool: &mut ChunkPool) {
        self.send.clear(pool);
        self.receive.clear(pool);
    }

    /// Where a reset of ours must stand so that the peer believes it.
    pub(crate) fn reset_sequence(&self) -> (Seq, Option<Seq>) {
        let acknowledges = !matches!(self.state, State::SynSent);
        (self.send.next, acknowledges.then_some(self.receive.next))
    }
}
