//! The two directions of an inbound TCP flow: small messages are copied through a buffer, which takes two system calls
//! each, and bulk goes through a pipe, which takes no copy.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use minato_host::sockets::{self, Failure, Pipe, PipePool, Spliced};
use minato_relay::{Pipeline, Side, Transfer};

use super::far;

/// Whatever fills the buffer is bulk.
pub(super) const BUFFER: usize = 16 << 10;

/// One direction of one flow, between two pumps.
#[derive(Debug, Default)]
pub(super) struct Lane {
    held: Held,
    /// The last message was bulk, so the next one will be.
    bulk: bool,
    /// Its sender's window was looked at. Those of sockets inside a host have their limit already.
    narrowed: bool,
}

/// Bytes that were taken from the sender and not yet given to the receiver.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Pipe(Pipe),
    /// Bytes that the receiver had no room for, from this place on.
    Bytes(Vec<u8>, usize),
}

/// Both directions of a flow, lent for one pump together with what they share with others.
#[derive(Debug)]
pub(super) struct Lanes<'a> {
    sockets: [BorrowedFd<'a>; 2],
    lanes: &'a mut [Lane; 2],
    pool: &'a mut PipePool,
    buffer: &'a mut [u8],
    /// Of the direction that is being pumped: what is in the buffer.
    buffered: std::ops::Range<usize>,
}

impl<'a> Lanes<'a> {
    /// `sockets` are the client's and the service's; `buffer` is of [`BUFFER`] bytes.
    pub(super) fn new(
        sockets: [BorrowedFd<'a>; 2],
        lanes: &'a mut [Lane; 2],
        pool: &'a mut PipePool,
        buffer: &'a mut [u8],
    ) -> Lanes<'a> {
        Lanes { sockets, lanes, pool, buffer, buffered: 0..0 }
    }

    fn receive(&mut self, from: Side) -> Transfer {
        let received = sockets::receive(self.sockets[place(from)], self.buffer);
        let transfer = far::transfer(received, self.buffer.len());
        self.buffered = 0..count(transfer);
        match transfer {
            Transfer::Moved(_) => self.begin_bulk(from),
            Transfer::Last(_) => self.lanes[place(from)].bulk = false,
            Transfer::Blocked | Transfer::Ended | Transfer::Failed => {}
        }
        transfer
    }

    fn begin_bulk(&mut self, from: Side) {
        let lane = &mut self.lanes[place(from)];
        lane.bulk = true;
        if from == Side::Initiating && !std::mem::replace(&mut lane.narrowed, true) {
            sockets::narrow_if_near(self.sockets[place(from)]);
        }
    }

    fn fill_pipe(&mut self, from: Side) -> Transfer {
        // At the limit of open files, bulk is copied too.
        let Ok(mut pipe) = self.pool.take() else { return self.receive(from) };
        let transfer = transfer(sockets::splice_in(self.sockets[place(from)], &mut pipe));
        let lane = &mut self.lanes[place(from)];
        lane.bulk = matches!(transfer, Transfer::Moved(count) if count >= BUFFER);
        lane.held = Held::Pipe(pipe);
        transfer
    }

    /// Sends bytes that are in our memory; how many went.
    fn send(&self, from: Side, bytes: &[u8]) -> Transfer {
        far::transfer(sockets::send(self.sockets[place(from.other())], &[IoSlice::new(bytes)]), bytes.len())
    }
}

impl Pipeline for Lanes<'_> {
    fn fill(&mut self, from: Side) -> Transfer {
        // What is left of an emptied pipe or buffer goes first.
        self.park(from);
        if self.lanes[place(from)].bulk { self.fill_pipe(from) } else { self.receive(from) }
    }

    fn drain(&mut self, from: Side, _count: usize) -> Transfer {
        match std::mem::take(&mut self.lanes[place(from)].held) {
            Held::Pipe(mut pipe) => {
                let transfer = transfer(sockets::splice_out(&mut pipe, self.sockets[place(from.other())]));
                self.lanes[place(from)].held = Held::Pipe(pipe);
                transfer
            }
            Held::Bytes(bytes, at) => {
                let transfer = self.send(from, &bytes[at..]);
                self.lanes[place(from)].held = Held::Bytes(bytes, at + count(transfer));
                transfer
            }
            Held::Nothing => {
                let transfer = self.send(from, &self.buffer[self.buffered.clone()]);
                self.buffered.start += count(transfer);
                transfer
            }
        }
    }

    fn park(&mut self, from: Side) {
        let buffered = std::mem::take(&mut self.buffered);
        let lane = &mut self.lanes[place(from)];
        if !buffered.is_empty() {
            lane.held = Held::Bytes(self.buffer[buffered].to_vec(), 0);
        }
        match std::mem::take(&mut lane.held) {
            Held::Pipe(pipe) if pipe.queued() == 0 => self.pool.give(pipe),
            Held::Bytes(bytes, at) if at == bytes.len() => {}
            held => lane.held = held,
        }
    }

    fn end(&mut self, from: Side) {
        // It fails only if the connection is gone, which the next call tells.
        let _ = sockets::shutdown_write(self.sockets[place(from.other())]);
    }

    fn discard(&mut self, from: Side) {
        sockets::discard(self.sockets[place(from)]);
    }
}

impl Lane {
    /// The pipe of a flow that ends.
    pub(super) fn into_pipe(self) -> Option<Pipe> {
        match self.held {
            Held::Pipe(pipe) => Some(pipe),
            Held::Nothing | Held::Bytes(..) => None,
        }
    }
}

fn place(side: Side) -> usize {
    usize::from(side == Side::Target)
}

fn count(transfer: Transfer) -> usize {
    match transfer {
        Transfer::Moved(count) | Transfer::Last(count) => count,
        Transfer::Blocked | Transfer::Ended | Transfer::Failed => 0,
    }
}

fn transfer(spliced: Result<Spliced, Failure>) -> Transfer {
    match spliced {
        Ok(Spliced::Moved(count)) => Transfer::Moved(count),
        Ok(Spliced::End) => Transfer::Ended,
        Ok(Spliced::WouldBlock) => Transfer::Blocked,
        Err(_) => Transfer::Failed,
    }
}
