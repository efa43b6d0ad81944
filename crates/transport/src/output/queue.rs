//! Frames that wait for the link, in bounded memory, their buffers used again and again.

use std::collections::VecDeque;

use super::{Flow, SendError};
use crate::spare::Spare;
use crate::train::Train;

/// Buffers kept for reuse.
const SPARE_BUFFERS: usize = 64;

/// How far from the end a datagram's train is looked for: flows that send at the same time alternate.
const REACH: usize = 8;

#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    /// It is a datagram that others of its flow may join.
    train: Option<(Flow, Train)>,
}

/// Complete frames, oldest first.
#[derive(Debug)]
pub(crate) struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    limit: usize,
    spare: Spare<Vec<u8>>,
    /// Frames that found no room.
    pub(crate) refused: u64,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Queue {
        Queue { frames: VecDeque::new(), bytes: 0, limit, spare: Spare::new(SPARE_BUFFERS), refused: 0 }
    }

    /// A buffer of zeroes for a frame; `None` if too much waits already, here and (`elsewhere`) for neighbours.
    pub(crate) fn buffer(&mut self, length: usize, elsewhere: usize) -> Option<Vec<u8>> {
        if self.bytes + elsewhere + length > self.limit {
            self.refused += 1;
            return None;
        }
        let mut buffer = self.spare.take().unwrap_or_default();
        buffer.clear();
        buffer.resize(length, 0);
        Some(buffer)
    }

    /// Gives the allocator the buffers that are kept for reuse.
    pub(crate) fn release(&mut self) {
        self.spare.clear();
    }

    /// Gives the allocator what was not needed since the last call. Whether something is left.
    pub(crate) fn decay(&mut self) -> bool {
        self.spare.decay();
        self.has_spare()
    }

    /// Whether buffers are kept for reuse.
    pub(crate) fn has_spare(&self) -> bool {
        !self.spare.is_empty()
    }

    pub(crate) fn push(&mut self, frame: Vec<u8>) {
        self.bytes += frame.len();
        self.frames.push_back(Frame { bytes: frame, train: None });
    }

    /// The frame that was pushed last is a datagram of this flow.
    pub(crate) fn begin_train(&mut self, flow: Flow, train: Train) {
        if let Some(last) = self.frames.back_mut() {
            last.train = Some((flow, train));
        }
    }

    /// Adds a payload to the flow's last frame, whose headers are to be written again then; `None` if that takes no more or
    /// if something else than datagrams has come after it.
    pub(crate) fn couple(
        &mut self,
        flow: &Flow,
        payload: &[u8],
        elsewhere: usize,
    ) -> Result<Option<(&mut [u8], Train)>, SendError> {
        let mut datagrams = self.frames.iter_mut().rev().take(REACH).map_while(|frame| {
            let (flow, train) = frame.train.as_mut()?;
            Some((&*flow, train, &mut frame.bytes))
        });
        let Some((_, train, bytes)) = datagrams.find(|(other, ..)| *other == flow) else { return Ok(None) };
        if self.bytes + elsewhere + payload.len() > self.limit {
            self.refused += 1;
            return Err(SendError::Full);
        }
        if !train.add(payload.len()) {
            return Ok(None);
        }
        self.bytes += payload.len();
        bytes.extend_from_slice(payload);
        Ok(Some((bytes, *train)))
    }

    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.bytes.len();
        Some(frame.bytes)
    }

    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        self.spare.give(buffer);
    }
}
