//! Frames between the TAP device and the stack, and what the stack makes of them.

use std::io;

use minato_transport::{ConnectionId, Event};

use super::poller::SHORTEST_SLEEP;
use super::{BUDGET, Plane};

/// Most frames taken from the TAP device in one turn.
const FRAMES: usize = 128;
/// A frame that is shorter is none of many in a row.
const SMALL: usize = 1500;
/// Most connections that are remembered because their acknowledgement waits.
const UNACKNOWLEDGED: usize = 64;
/// Most frames written to it in one turn.
const TRANSMITS: usize = 256;

impl Plane {
    pub(super) fn receive_frames(&mut self) -> io::Result<()> {
        let mut bytes = 0;
        for _ in 0..FRAMES {
            if !self.tap_readable {
                break;
            }
            match self.tap.recv(&mut self.frame)? {
                Some(length) => {
                    self.spare.used(self.now);
                    self.stack.receive(self.now, &mut self.frame[..length]);
                    bytes += length;
                    if bytes > BUDGET {
                        // The stack holds no more than some MiB of datagrams.
                        self.take_datagrams();
                        bytes = 0;
                    }
                    // Just after a look that found nothing a small frame is alone; if not, the next look says so.
                    if !self.frames_wait && length < SMALL {
                        break;
                    }
                }
                None => break,
            }
        }
        self.tap_readable = false;
        Ok(())
    }

    pub(super) fn handle_stack_events(&mut self) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Incoming(incoming) => self.incoming(incoming),
                Event::IncomingGone(incoming) => {
                    if let Some(id) = self.by_incoming.get(&incoming).copied() {
                        self.remove_flow(id);
                    }
                }
                Event::Connected(id) | Event::Readable(id) | Event::Writable(id) | Event::PeerClosed(id) => {
                    self.note_unacknowledged(id);
                    match self.flow_of(id) {
                        Some(flow) => self.enqueue(flow),
                        None => drop(self.stream_ready(id)),
                    }
                }
                Event::Reset(id, _) if self.stream_reset(id) => {}
                Event::Reset(id, _) => self.guest_reset(id),
                // RFC 9293 §3.6: closed is what both have sent, not what was read. The flow closes its connection when
                // it has passed on the last byte.
                Event::Closed(id) => match self.flow_of(id) {
                    Some(flow) => self.enqueue(flow),
                    None if self.stream_ready(id) => {}
                    None => self.stack.close(self.now, id),
                },
                Event::Echo(request) => self.echo(&request),
                _ => {}
            }
        }
        self.take_datagrams();
    }

    /// Remembers a connection whose acknowledgement waits for an answer for so short a time that the loop would oversleep it.
    fn note_unacknowledged(&mut self, id: ConnectionId) {
        if self.stack.acknowledgement_due(id).is_some_and(|at| at < self.now + SHORTEST_SLEEP) {
            if self.unacknowledged.len() == UNACKNOWLEDGED {
                // The loop has not slept for long, and what is forgotten goes by the stack's timer.
                self.unacknowledged.clear();
            }
            self.unacknowledged.push(id);
        }
    }

    /// Before the loop sleeps, those acknowledgements go. True if there were any.
    pub(super) fn acknowledge_early(&mut self) -> io::Result<bool> {
        if self.unacknowledged.is_empty() {
            return Ok(false);
        }
        for id in self.unacknowledged.drain(..) {
            self.stack.acknowledge_early(self.now, id);
        }
        self.transmit()?;
        Ok(true)
    }

    pub(super) fn transmit(&mut self) -> io::Result<()> {
        self.transmits_wait = false;
        for sent in 0.. {
            if !self.tap_writable {
                return Ok(());
            }
            if sent == TRANSMITS {
                self.transmits_wait = true;
                return Ok(());
            }
            let Some(transmit) = self.stack.poll_transmit(self.now) else { return Ok(()) };
            match self.tap.send(&transmit.io_slices()) {
                Ok(true) => {}
                Ok(false) => {
                    self.tap_writable = false;
                    self.poller.watch_tap(&self.tap, true)?;
                }
                // One frame that the device does not take is lost as on any link; a device that is gone is told by recv.
                Err(error) => tracing::debug!(%error, "a frame was not taken by the TAP device"),
            }
        }
        Ok(())
    }
}
