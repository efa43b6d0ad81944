//! A socket of the machine as the far side of a coupling.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use minato_host::sockets::{self, Failure};
use minato_relay::{Socket, Transfer};
use minato_transport::RECEIVE_CHUNKS;

/// The socket, lent for one pump.
#[derive(Debug)]
pub(super) struct FarSide<'a>(pub(super) BorrowedFd<'a>);

impl Socket for FarSide<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Transfer {
        transfer(sockets::receive(self.0, buffer), buffer.len())
    }

    fn write(&mut self, chunks: [&[u8]; RECEIVE_CHUNKS]) -> Transfer {
        let most = chunks.iter().map(|chunk| chunk.len()).sum();
        transfer(sockets::send(self.0, &chunks.map(IoSlice::new)), most)
    }

    fn end(&mut self) {
        // It fails only if the connection is gone, which the next call tells.
        let _ = sockets::shutdown_write(self.0);
    }
}

/// What a call on a stream socket means, which moved at most `most` bytes: one that moves less has nothing left to read,
/// or no room to write.
pub(super) fn transfer(outcome: Result<sockets::Transfer, Failure>, most: usize) -> Transfer {
    match outcome {
        Ok(sockets::Transfer::Moved(count)) if count < most => Transfer::Last(count),
        Ok(sockets::Transfer::Moved(count)) => Transfer::Moved(count),
        Ok(sockets::Transfer::End) => Transfer::Ended,
        Ok(sockets::Transfer::WouldBlock) => Transfer::Blocked,
        Err(_) => Transfer::Failed,
    }
}
