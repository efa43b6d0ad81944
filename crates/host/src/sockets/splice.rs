//! splice(2): bytes from socket to socket through a pipe, without a copy.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::{
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice},
};

use super::Failure;

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// A pipe for [`splice_in`] and [`splice_out`], taken from a [`PipePool`].
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    queued: usize,
    capacity: usize,
}

impl Pipe {
    /// Bytes that are inside.
    pub fn queued(&self) -> usize {
        self.queued
    }
}

/// What a splice did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spliced {
    /// This many bytes moved.
    Moved(usize),
    /// The socket has ended (end of file); for `splice_in` only.
    End,
    /// Nothing now: wait until the socket is ready. If the pipe holds bytes, `splice_in` may also mean that it is full:
    /// empty it first.
    WouldBlock,
}

/// Moves bytes from a socket into a pipe.
///
/// # Errors
/// The socket's error.
pub fn splice_in(socket: BorrowedFd<'_>, pipe: &mut Pipe) -> Result<Spliced, Failure> {
    let want = pipe.capacity.saturating_sub(pipe.queued);
    if want == 0 {
        return Ok(Spliced::WouldBlock);
    }
    match rustix::io::retry_on_intr(|| splice(socket, None, &pipe.write, None, want, FLAGS)) {
        Ok(0) => Ok(Spliced::End),
        Ok(length) => {
            pipe.queued += length;
            Ok(Spliced::Moved(length))
        }
        Err(Errno::AGAIN) => Ok(Spliced::WouldBlock),
        Err(errno) => Err(errno.into()),
    }
}

/// Moves bytes from a pipe into a socket. An empty pipe moves nothing: `Moved(0)`.
///
/// # Errors
/// The socket's error.
pub fn splice_out(pipe: &mut Pipe, socket: BorrowedFd<'_>) -> Result<Spliced, Failure> {
    if pipe.queued == 0 {
        return Ok(Spliced::Moved(0));
    }
    match rustix::io::retry_on_intr(|| splice(&pipe.read, None, socket, None, pipe.queued, FLAGS)) {
        Ok(length) => {
            pipe.queued = pipe.queued.saturating_sub(length);
            Ok(Spliced::Moved(length))
        }
        Err(Errno::AGAIN) => Ok(Spliced::WouldBlock),
        Err(errno) => Err(errno.into()),
    }
}

/// Empty pipes for reuse, so that an idle connection costs none.
#[derive(Debug, Default)]
pub struct PipePool {
    idle: Vec<Pipe>,
    keep: usize,
    capacity: usize,
    /// Pipes that exist, idle or taken.
    open: usize,
    /// Most descriptors that they may use.
    limit: usize,
}

impl PipePool {
    /// A pool that keeps at most `keep` idle pipes of `capacity` bytes (rounded up by the kernel). An ordinary user who
    /// has used up `fs.pipe-user-pages-soft` gets smaller ones.
    pub fn new(keep: usize, capacity: usize) -> Self {
        Self { idle: Vec::new(), keep, capacity, open: 0, limit: usize::MAX }
    }

    /// How many descriptors its pipes use, idle ones included.
    pub fn descriptors(&self) -> usize {
        2 * self.open
    }

    /// Opens no pipe from now on that would make them use more descriptors than that.
    pub fn limit_descriptors(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes a pipe.
    ///
    /// # Errors
    /// [`Failure::NoResources`]: the kernel has none, or the limit is reached.
    pub fn take(&mut self) -> Result<Pipe, Failure> {
        if let Some(pipe) = self.idle.pop() {
            return Ok(pipe);
        }
        if self.descriptors() + 2 > self.limit {
            return Err(Failure::NoResources);
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let capacity = match fcntl_setpipe_size(&write, self.capacity) {
            Ok(capacity) => capacity,
            Err(_) => fcntl_getpipe_size(&write)?,
        };
        self.open += 1;
        Ok(Pipe { read, write, queued: 0, capacity })
    }

    /// Gives a pipe of this pool back; one that still holds bytes is closed.
    pub fn give(&mut self, pipe: Pipe) {
        if pipe.queued == 0 && self.idle.len() < self.keep {
            self.idle.push(pipe);
        } else {
            self.open -= 1;
        }
    }
}
