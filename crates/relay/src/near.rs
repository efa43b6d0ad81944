//! A connection of the [`Stack`] as the near side of a [`Coupling`](crate::Coupling).

use std::time::Instant;

use minato_transport::{ConnectionId, RECEIVE_CHUNKS, Stack};

use crate::coupling::Memory;

/// Most bytes that one read from the far side is offered.
const WANT: usize = 256 << 10;

/// A connection, lent together with its stack for one pump.
#[derive(Debug)]
pub struct StackSide<'a> {
    stack: &'a mut Stack,
    now: Instant,
    id: ConnectionId,
}

impl<'a> StackSide<'a> {
    /// The connection `id` of `stack`, at the time `now`.
    pub fn new(stack: &'a mut Stack, now: Instant, id: ConnectionId) -> StackSide<'a> {
        StackSide { stack, now, id }
    }
}

impl Memory for StackSide<'_> {
    fn arrived(&self) -> [&[u8]; RECEIVE_CHUNKS] {
        self.stack.receive_chunks(self.id)
    }

    fn consume(&mut self, count: usize) {
        self.stack.consume(self.now, self.id, count);
    }

    fn ended(&self) -> bool {
        self.stack.is_finished(self.id)
    }

    fn space(&mut self) -> &mut [u8] {
        self.stack.send_space(self.id, WANT)
    }

    fn commit(&mut self, count: usize) {
        self.stack.commit(self.now, self.id, count);
    }

    fn end(&mut self) {
        self.stack.shutdown(self.now, self.id);
    }
}
