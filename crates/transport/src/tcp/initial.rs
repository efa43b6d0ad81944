//! How a connection begins: initial sequence numbers (RFC 6528) and what a SYN asks for.

use std::hash::BuildHasher;

use super::Seq;
use crate::demux::FourTuple;
use crate::hash::KeyedState;
use crate::time::Time;
use crate::wire::tcp::{Segment, Timestamp};

/// How far the first sequence number of a connection is beyond the last of the one before: more than an unscaled window.
const LEAD: usize = 65_537;

/// RFC 6528 §3: ISN = M + F(both ends, secret), M a clock that ticks every four microseconds.
#[derive(Debug)]
pub(crate) struct InitialSequence {
    key: KeyedState,
}

impl InitialSequence {
    pub(crate) fn new(key: &[u8; 16]) -> InitialSequence {
        InitialSequence { key: KeyedState::new(key, b'i') }
    }

    /// The initial sequence number, and the zero of the timestamp clock. `former` is SND.NXT of the connection before.
    pub(crate) fn choose(&self, now: Time, tuple: &FourTuple, former: Option<Seq>) -> (Seq, u32) {
        let clock = (now.since_start().as_nanos() / 4000) as u32;
        let hash = self.key.hash_one(tuple);
        let chosen = Seq(clock.wrapping_add(hash as u32));
        // RFC 9293 §3.10.7.4 MAY-2: beyond all that the connection before sent, also if that was faster than the clock.
        let chosen = former.map_or(chosen, |next| chosen.max(next.plus(LEAD)));
        (chosen, timestamp_offset(hash))
    }

    /// The second of `choose` alone.
    pub(crate) fn timestamp_offset(&self, tuple: &FourTuple) -> u32 {
        timestamp_offset(self.key.hash_one(tuple))
    }
}

/// RFC 7323 §7.1: each pair of ends has its own zero of the timestamp clock, so that it tells nothing about the others.
fn timestamp_offset(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// What a SYN says about its sender, with defaults for what it leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// IRS: the initial receive sequence number.
    pub(crate) initial: Seq,
    pub(crate) window: u16,
    /// RFC 9293 §3.7.1: 536 over IPv4 and 1220 over IPv6 if it says none.
    pub(crate) maximum_segment_size: u16,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    pub(crate) timestamp: Option<Timestamp>,
    /// RFC 3168 §6.1.1: ECE and CWR both set.
    pub(crate) ecn: bool,
    /// SND.NXT of the connection in TIME-WAIT between the same ends that this one takes over from.
    pub(crate) succeeds: Option<Seq>,
}

/// A peer that announces less is not believed, so that nobody makes us send a header per byte.
const SEGMENT_SIZE_MIN: u16 = 64;

impl Request {
    pub(crate) fn new(segment: &Segment<'_>, ipv6: bool) -> Request {
        let default = if ipv6 { 1220 } else { 536 };
        Request {
            initial: segment.seq,
            window: segment.window,
            maximum_segment_size: segment.options.maximum_segment_size.unwrap_or(default).max(SEGMENT_SIZE_MIN),
            window_scale: segment.options.window_scale,
            sack_permitted: segment.options.sack_permitted,
            timestamp: segment.options.timestamp,
            ecn: segment.flags.ece && segment.flags.cwr,
            succeeds: None,
        }
    }
}
