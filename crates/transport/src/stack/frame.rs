//! What the stack hands out: frames, datagrams, counters.

use std::io::IoSlice;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::tcp::ChunkQueue;

/// Most parts that a frame's payload comes in.
pub const BODY_SLICES: usize = 4;

/// Most parts that [`Stack::receive_chunks`](crate::Stack::receive_chunks) returns at once (64 KiB each at best).
pub const RECEIVE_CHUNKS: usize = 4;

/// A frame to write to the link: the concatenation of `head` and the parts of `body`, best by one `writev`.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// Headers, with the virtio-net header in front if the link has one; for small packets the whole frame.
    pub head: &'a [u8],
    /// Payload, straight from the send buffer. Unused parts are empty and come last.
    pub body: [&'a [u8]; BODY_SLICES],
    /// The send buffer, where the body starts in it, and its length.
    source: Option<(&'a ChunkQueue, usize, usize)>,
}

impl<'a> Transmit<'a> {
    /// A frame that is complete in one piece.
    pub(super) fn whole(frame: &'a [u8]) -> Transmit<'a> {
        Transmit { head: frame, body: [&[]; BODY_SLICES], source: None }
    }

    /// Headers with `length` bytes of a send buffer behind them.
    pub(super) fn of_stream(
        head: &'a [u8],
        body: [&'a [u8]; BODY_SLICES],
        queue: &'a ChunkQueue,
        offset: usize,
        length: usize,
    ) -> Transmit<'a> {
        Transmit { head, body, source: (length > 0).then_some((queue, offset, length)) }
    }

    /// The parts of `body` for others to hold: what `Stack::send_bytes` took is shared, anything else is copied. Unused ones
    /// are empty and come last.
    #[must_use]
    pub fn shared_body(&self) -> [Bytes; BODY_SLICES] {
        self.source.map(|(queue, offset, length)| queue.shared(offset, length)).unwrap_or_default()
    }

    /// Head and body as arguments for `writev`; unused ones are empty.
    #[must_use]
    pub fn io_slices(&self) -> [IoSlice<'a>; BODY_SLICES + 1] {
        let mut slices = [IoSlice::new(self.head); BODY_SLICES + 1];
        for (slice, part) in slices[1..].iter_mut().zip(self.body) {
            *slice = IoSlice::new(part);
        }
        slices
    }

    /// Length of the frame in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.head.len() + self.body.iter().map(|part| part.len()).sum::<usize>()
    }

    /// The frame as one new buffer, for links without `writev` and for tests.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.length());
        frame.extend_from_slice(self.head);
        for part in self.body {
            frame.extend_from_slice(part);
        }
        frame
    }
}

/// A datagram that arrived for a destination that no bound socket of the stack takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// Whom it shall reach.
    pub destination: SocketAddr,
    /// What it carries (may be empty).
    pub payload: &'a [u8],
}

/// Datagrams of one flow that have arrived one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramTrain<'a> {
    /// Who sent them.
    pub source: SocketAddr,
    /// Whom they shall reach.
    pub destination: SocketAddr,
    /// What they carry, one behind the other.
    pub payload: &'a [u8],
    /// Bytes of each, except that the last may be shorter.
    pub size: usize,
}

impl<'a> DatagramTrain<'a> {
    /// What each of them carries.
    pub fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let alone = self.payload.is_empty().then_some(self.payload);
        alone.into_iter().chain(self.payload.chunks(self.size.max(1)))
    }
}

/// Counters of the whole stack, since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames given to `receive`.
    pub frames_received: u64,
    /// Frames taken from `poll_transmit`.
    pub frames_sent: u64,
    /// Frames dropped because they are malformed, fail their checksum, or are not for us.
    pub frames_dropped: u64,
    /// Whatever a bound of `Limits` made us drop.
    pub limited: u64,
    /// Bytes of stream buffers, with those that are kept for reuse for a while.
    pub buffer_bytes: usize,
    /// Connections in any state but TIME-WAIT, and those that are over and that their caller has not closed yet: these may be
    /// in `time_wait` as well.
    pub connections: usize,
    /// Connections in TIME-WAIT.
    pub time_wait: usize,
    /// Requests that are held unanswered.
    pub incoming: usize,
}
