//! The sender's timers: retransmission (RFC 6298 §5), tail loss probe (RFC 8985 §7), reordering, and window probes
//! (RFC 9293 §3.8.6.1).

use super::SendHalf;
use crate::tcp::{Config, Seq};
use crate::time::{Interval, Time, earliest};

/// Least time until a tail loss probe, so that a peer on the same machine that is late is not probed.
const PROBE_MIN: Interval = Interval::from_millis(10);

/// RFC 8985 §7.2: a lone segment may wait for the peer's delayed acknowledgement.
const PEER_ACK_DELAY: Interval = Interval::from_millis(200);

/// Largest exponent of the back-off; `rto_max` bounds it before.
const BACKOFF_MAX: u8 = 16;

#[derive(Debug, Default)]
pub(super) struct SendTimers {
    /// RFC 6298's only timer.
    retransmit: Option<Time>,
    /// How often it was doubled since the round-trip time was measured last.
    backoff: u8,
    /// How often it ran out in a row.
    timeouts: u8,
    /// When to probe the tail.
    probe: Option<Time>,
    /// The probe timer ran out: one segment may go regardless of the congestion window.
    pub(super) probe_due: bool,
    /// TLP.end_seq and TLP.is_retrans of RFC 8985 §7.1, while a probe is under way.
    pub(super) tail_probe: Option<(Seq, bool)>,
    /// RFC 8985 §6.2: when what is not yet lost by time will be.
    pub(super) reorder: Option<Time>,
    persist: Option<Time>,
    persist_backoff: u8,
    /// When probing began.
    persist_since: Option<Time>,
    /// The window must be probed now.
    pub(super) window_probe_due: bool,
    /// Since when the peer acknowledges nothing although something is under way.
    unanswered_since: Option<Time>,
}

impl SendTimers {
    /// RFC 9293 §3.8.6.1: with an open window there is nothing to probe.
    pub(super) fn window_opened(&mut self) {
        self.persist = None;
        self.persist_since = None;
        self.persist_backoff = 0;
        self.window_probe_due = false;
    }
}

/// What the passing of time led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) enum Expired {
    /// Nothing was due, or it is done.
    Fine,
    /// The peer does not answer for as long as the user allows (R2 of RFC 9293 §3.8.3).
    GiveUp,
}

impl SendHalf {
    pub(in crate::tcp) fn deadline(&self) -> Option<Time> {
        let timers = &self.timers;
        earliest([timers.retransmit, timers.probe, timers.reorder, timers.persist])
    }

    /// The timeout with its back-off (RFC 6298 §5.5).
    fn timeout(&self, config: &Config, backoff: u8) -> Interval {
        let base = self.round_trip.timeout(config);
        (base * (1 << backoff.min(BACKOFF_MAX))).min(config.rto_max.into())
    }

    /// Something was sent: RFC 6298 §5.1, RFC 8985 §7.2.
    pub(super) fn start_timers(&mut self, now: Time, config: &Config) {
        self.timers.unanswered_since.get_or_insert(now);
        if self.timers.retransmit.is_none() {
            self.timers.retransmit = Some(now + self.timeout(config, self.timers.backoff));
        }
        self.schedule_probe(now);
    }

    /// RFC 6298 §5 and §3 (Karn): the timeout stays as long as it is until a round trip is measured, so that it comes to
    /// exceed that of a path that became slow.
    pub(super) fn end_backoff(&mut self) {
        self.timers.backoff = 0;
    }

    /// An acknowledgement was processed: RFC 6298 §5.2, §5.3.
    pub(super) fn restart_timers(&mut self, now: Time, config: &Config, advanced: bool) {
        if self.outstanding() == 0 {
            self.timers.retransmit = None;
            self.timers.probe = None;
            self.timers.reorder = None;
            self.timers.unanswered_since = None;
            self.timers.timeouts = 0;
        } else if advanced {
            self.timers.timeouts = 0;
            self.timers.unanswered_since = Some(now);
            self.timers.retransmit = Some(now + self.timeout(config, self.timers.backoff));
            self.schedule_probe(now);
        }
    }

    /// RFC 8985 §7.2: only outside of recovery, with SACK, and once per tail.
    fn schedule_probe(&mut self, now: Time) {
        let allowed = self.sack && self.recovery.is_open() && self.timers.tail_probe.is_none();
        let Some(smoothed) = self.round_trip.smoothed().filter(|_| allowed) else {
            self.timers.probe = None;
            return;
        };
        let lone = self.in_flight() <= self.payload_size();
        let wait = (smoothed * 2 + if lone { PEER_ACK_DELAY } else { Interval::ZERO }).max(PROBE_MIN);
        let at = now + wait;
        self.timers.probe = (self.timers.retransmit.is_none_or(|retransmit| at < retransmit)).then_some(at);
    }

    /// The probe went out: the retransmission timer starts anew (RFC 8985 §7.3).
    pub(super) fn probe_sent(&mut self, now: Time, config: &Config, retransmission: bool) {
        self.timers.probe_due = false;
        self.timers.probe = None;
        self.timers.tail_probe = Some((self.next, retransmission));
        self.timers.retransmit = Some(now + self.timeout(config, self.timers.backoff));
    }

    /// Something waits that the peer's window does not let out, and nothing is under way that would be acknowledged.
    pub(super) fn start_persist(&mut self, now: Time, config: &Config) {
        if self.timers.persist.is_none() {
            self.timers.persist_since = Some(now);
            self.timers.persist = Some(now + self.timeout(config, self.timers.persist_backoff));
        }
    }

    /// Nothing could be sent, for want of a way: the timer that probes windows tries again.
    pub(in crate::tcp) fn retry_later(&mut self, now: Time, config: &Config) {
        if self.outstanding() == 0 && self.has_something_new() {
            self.start_persist(now, config);
        }
    }

    /// Probes since the peer's window was open last.
    pub(in crate::tcp) fn window_probes(&self) -> u8 {
        self.timers.persist_backoff
    }

    /// Does what is due. `patience` is how long the user waits for an answer, `heard` is when the peer last sent anything.
    pub(in crate::tcp) fn on_time(&mut self, now: Time, config: &Config, patience: Interval, heard: Time) -> Expired {
        if self.timers.reorder.is_some_and(|at| at <= now) && self.detect_by_time(now) {
            self.on_lost(now, self.outstanding(), self.scoreboard.sacked());
        }
        if self.timers.probe.is_some_and(|at| at <= now) {
            self.timers.probe = None;
            self.timers.probe_due = self.outstanding() > 0;
        }
        if self.timers.retransmit.is_some_and(|at| at <= now) && !self.retransmission_due(now, config, patience) {
            return Expired::GiveUp;
        }
        if self.timers.persist.is_some_and(|at| at <= now) {
            // RFC 9293 §3.8.6.1: a peer that answers probes keeps the connection however long its window is shut. That it said
            // nothing before it was asked does not count against it.
            let heard = self.timers.persist_since.map_or(heard, |began| began.max(heard));
            if now.since(heard) >= patience {
                return Expired::GiveUp;
            }
            self.timers.persist_backoff = (self.timers.persist_backoff + 1).min(BACKOFF_MAX);
            self.timers.persist = Some(now + self.timeout(config, self.timers.persist_backoff));
            self.timers.window_probe_due = true;
        }
        Expired::Fine
    }

    /// RFC 6298 §5.4 to §5.6; false if the user's patience ends.
    fn retransmission_due(&mut self, now: Time, config: &Config, patience: Interval) -> bool {
        let since = *self.timers.unanswered_since.get_or_insert(now);
        if now.since(since) >= patience {
            return false;
        }
        self.timers.probe = None;
        self.timers.probe_due = false;
        self.timers.tail_probe = None;
        self.timers.reorder = None;
        self.timers.backoff = (self.timers.backoff + 1).min(BACKOFF_MAX);
        self.timers.timeouts = self.timers.timeouts.saturating_add(1);
        self.timers.retransmit = Some(now + self.timeout(config, self.timers.backoff));
        self.enter_loss();
        self.suspect_path(now, self.timers.timeouts);
        true
    }

    /// The handshake's own retransmissions use the same timer.
    pub(in crate::tcp) fn start_handshake_timer(&mut self, now: Time, config: &Config, attempt: u8) {
        self.timers.retransmit = Some(now + self.timeout(config, attempt));
    }

    /// Our SYN is acknowledged.
    pub(in crate::tcp) fn stop_handshake_timer(&mut self) {
        self.timers.retransmit = None;
    }

    /// Whether the handshake's timer is set.
    pub(in crate::tcp) fn handshake_timer_runs(&self) -> bool {
        self.timers.retransmit.is_some()
    }

    /// Whether the handshake's timer ran out.
    pub(in crate::tcp) fn handshake_timer_due(&self, now: Time) -> bool {
        self.timers.retransmit.is_some_and(|at| at <= now)
    }
}
