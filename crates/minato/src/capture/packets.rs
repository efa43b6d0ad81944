//! Takes packets from the kernel, on a thread of its own: what is done with them must not keep the kernel waiting.

use std::io::{self, PipeReader, PipeWriter};
use std::sync::Arc;
use std::thread;

use minato_host::capture::{PacketInfo, PacketSocket};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::datagrams;

/// A packet as it came.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) info: PacketInfo,
    pub(super) bytes: Vec<u8>,
}

/// Most packets that are handed on at once.
const BATCH: usize = 256;
/// Most batches that are under way. More packets wait in the kernel, which drops those that it has no room for.
const UNDER_WAY: usize = 16;
/// Most batches that are taken after the end.
const LAST: usize = 64;

/// The packets of a socket, in batches.
#[derive(Debug)]
pub(super) struct Packets {
    pub(super) socket: Arc<PacketSocket>,
    batches: Receiver<io::Result<Vec<Seen>>>,
    /// Closing it ends the thread.
    stop: Option<PipeWriter>,
}

impl Packets {
    /// Begins to take packets, of each as much as fits into `snap_length` bytes.
    pub(super) fn of(socket: PacketSocket, snap_length: usize) -> io::Result<Packets> {
        let socket = Arc::new(socket);
        let (sender, batches) = channel(UNDER_WAY);
        let (stopped, stop) = io::pipe()?;
        let taken = Arc::clone(&socket);
        let work = move || {
            if let Err(error) = take_all(&taken, &stopped, snap_length, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        };
        thread::Builder::new().name("packets".into()).spawn(work)?;
        Ok(Packets { socket, batches, stop: Some(stop) })
    }

    /// Waits for packets. May be cancelled and called again.
    pub(super) async fn next(&mut self) -> io::Result<Vec<Seen>> {
        // It closes only after an error, which was told.
        self.batches.recv().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    }

    /// Stops, and gives what has come by now.
    pub(super) async fn rest(&mut self) -> Vec<Seen> {
        self.stop = None;
        let mut rest = Vec::new();
        while let Some(Ok(batch)) = self.batches.recv().await {
            rest.extend(batch);
        }
        rest
    }
}

/// Hands packets on until somebody says stop, and then those that are there.
fn take_all(
    socket: &PacketSocket,
    stopped: &PipeReader,
    snap_length: usize,
    sender: &Sender<io::Result<Vec<Seen>>>,
) -> io::Result<()> {
    let mut buffer = vec![0; snap_length];
    loop {
        let mut ready = [PollFd::new(socket, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut ready, None))?;
        let stop = !ready[1].revents().is_empty();
        // Where packets never end, so many must be enough.
        for _ in 0..if stop { LAST } else { 1 } {
            let batch = take(socket, &mut buffer)?;
            let more = batch.len() >= BATCH;
            if sender.blocking_send(Ok(batch)).is_err() {
                return Ok(());
            }
            if !more {
                break;
            }
        }
        if stop {
            return Ok(());
        }
    }
}

/// Takes packets until there are none, or [`BATCH`] and what the last one was cut into.
fn take(socket: &PacketSocket, buffer: &mut [u8]) -> io::Result<Vec<Seen>> {
    let mut batch = Vec::new();
    while batch.len() < BATCH {
        match socket.next(buffer) {
            Ok(info) => batch.extend(datagrams::apart(Seen { info, bytes: buffer[..info.captured].to_vec() })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // NetworkDown: an interface went; the others stay.
            Err(error) if matches!(error.kind(), io::ErrorKind::NetworkDown | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(batch)
}
