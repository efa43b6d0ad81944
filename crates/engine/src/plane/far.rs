//! A socket of the machine as the far side of a coupling.

use std::os::fd::BorrowedFd;

use minato_relay::{Socket, Transfer};
use minato_transport::RECEIVE_CHUNKS;
use rustix::io::{Errno, IoSlice};
use rustix::net::{RecvFlags, Shutdown};

/// The socket, lent for one pump.
#[derive(Debug)]
pub(super) struct FarSide<'a>(pub(super) BorrowedFd<'a>);

impl Socket for FarSide<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Transfer {
        let room = buffer.len();
        match rustix::net::recv(self.0, buffer, RecvFlags::empty()) {
            Ok((0, _)) => Transfer::Ended,
            Ok((count, _)) => moved(count, room),
            Err(errno) => failed(errno),
        }
    }

    fn write(&mut self, chunks: [&[u8]; RECEIVE_CHUNKS]) -> Transfer {
        match rustix::io::writev(self.0, &chunks.map(IoSlice::new)) {
            Ok(count) => moved(count, chunks.iter().map(|chunk| chunk.len()).sum()),
            Err(errno) => failed(errno),
        }
    }

    fn end(&mut self) {
        let _ = rustix::net::shutdown(self.0, Shutdown::Write);
    }
}

/// What it means that a stream socket moved `count` of at most `most` bytes.
pub(super) fn moved(count: usize, most: usize) -> Transfer {
    if count < most { Transfer::Last(count) } else { Transfer::Moved(count) }
}

/// What it means that a stream socket moved none.
pub(super) fn failed(errno: Errno) -> Transfer {
    match errno {
        Errno::AGAIN | Errno::INTR => Transfer::Blocked,
        _ => Transfer::Failed,
    }
}
