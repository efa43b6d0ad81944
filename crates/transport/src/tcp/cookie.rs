//! SYN cookies (RFC 4987 §3.6): under a flood of SYNs the answer itself carries what must be known of the request, so that
//! nothing is held until the client proves that it is there.
//!
//! The initial sequence number is five bits of a minute counter, three of the segment size, and 24 of a keyed hash. Window
//! scale, SACK and ECN travel in the low bits of our timestamp; without timestamps the connection does without them. What the
//! answer told of our window is in the hash, so that whoever checks a cookie can try what may have been told.

use std::hash::BuildHasher;

use super::{Request, Seq, SocketOptions};
use crate::demux::FourTuple;
use crate::hash::KeyedState;
use crate::time::{Interval, Time};
use crate::wire::tcp::{Segment, Timestamp};

/// What the counter counts.
const PERIOD: Interval = Interval::from_secs(64);

/// Segment sizes that three bits can tell: common ones, ascending.
const SIZES: [u16; 8] = [64, 512, 536, 1024, 1220, 1360, 1440, 1460];

/// Low bits of the timestamp that carry options: four of window scale (15 is none), SACK, ECN.
const OPTION_BITS: u32 = 6;

/// Makes and checks cookies.
#[derive(Debug)]
pub(crate) struct Cookies {
    key: KeyedState,
}

impl Cookies {
    pub(crate) fn new(key: &[u8; 16]) -> Cookies {
        Cookies { key: KeyedState::new(key, b'c') }
    }

    fn counter(&self, now: Time) -> u32 {
        (now.since_start().as_secs() / PERIOD.as_secs()) as u32
    }

    fn hash(&self, tuple: &FourTuple, client: Seq, counter: u32, size: u32, told: (u16, u8)) -> u32 {
        self.key.hash_one((tuple, client, counter, size, told)) as u32 & 0x00ff_ffff
    }

    /// The initial sequence number that answers `request` for a socket with `options`.
    pub(crate) fn make(&self, now: Time, tuple: &FourTuple, request: &Request, options: &SocketOptions) -> Seq {
        let counter = self.counter(now);
        let size = SIZES.iter().rposition(|size| *size <= request.maximum_segment_size).unwrap_or(0) as u32;
        let hash = self.hash(tuple, request.initial, counter, size, told(options));
        Seq((counter & 31) << 27 | size << 24 | hash)
    }

    /// The request that `segment`, the third of a handshake, completes, and our initial sequence number; `None` if it
    /// acknowledges no cookie of the last two minutes and of a socket with such `options`.
    pub(crate) fn check(
        &self,
        now: Time,
        tuple: &FourTuple,
        segment: &Segment<'_>,
        options: &SocketOptions,
    ) -> Option<(Request, Seq)> {
        let cookie = segment.ack?.minus(1);
        let client = segment.seq.minus(1);
        let (counter, size) = (cookie.0 >> 27, cookie.0 >> 24 & 7);
        let present = self.counter(now);
        let made = [Some(present), present.checked_sub(1)].into_iter().flatten().find(|at| at & 31 == counter)?;
        if self.hash(tuple, client, made, size, told(options)) != cookie.0 & 0x00ff_ffff {
            return None;
        }
        let bits = segment.options.timestamp.map_or(0x0f, |timestamp| timestamp.echo & ((1 << OPTION_BITS) - 1));
        let shift = (bits & 0x0f) as u8;
        let request = Request {
            initial: client,
            window: u16::MAX,
            maximum_segment_size: SIZES[size as usize],
            window_scale: (shift < 15).then_some(shift),
            sack_permitted: bits & 0x10 != 0,
            timestamp: segment.options.timestamp,
            ecn: bits & 0x20 != 0,
            succeeds: None,
        };
        Some((request, cookie))
    }
}

/// What an answer tells of our window: its field, and the shift of later ones.
fn told(options: &SocketOptions) -> (u16, u8) {
    (options.first_window(), options.window_shift())
}

/// Our timestamp on the answer, with the request's options in its low bits; not later than the clock says.
pub(crate) fn cookie_timestamp(clock: u32, request: &Request) -> Option<Timestamp> {
    let theirs = request.timestamp?;
    let options = u32::from(request.window_scale.unwrap_or(15))
        | u32::from(request.sack_permitted) << 4
        | u32::from(request.ecn) << 5;
    let mut value = clock >> OPTION_BITS << OPTION_BITS | options;
    if value.wrapping_sub(clock) as i32 > 0 {
        value = value.wrapping_sub(1 << OPTION_BITS);
    }
    Some(Timestamp { value, echo: theirs.value })
}
