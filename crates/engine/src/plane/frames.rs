//! Frames between the TAP device and the stack, and what the stack makes of them.

use std::io;

use minato_transport::Event;

use super::{BUDGET, Plane};

/// Most frames taken from the TAP device in one turn.
const FRAMES: usize = 128;
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
                }
                None => self.tap_readable = false,
            }
        }
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
                Ok(taken) => self.tap_writable = taken,
                // One frame that the device does not take is lost as on any link; a device that is gone is told by recv.
                Err(error) => tracing::debug!(%error, "a frame was not taken by the TAP device"),
            }
        }
        Ok(())
    }
}
