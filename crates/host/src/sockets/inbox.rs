//! Where datagrams of sockets are received, many with one call (`recvmmsg(2)`), and those that the kernel has put together
//! (`UDP_GRO`, Linux 5.0) as it has.

use std::{
    io,
    mem::zeroed,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::io::Errno;

use super::{
    Failure, Local, Train,
    message::{self, ROOM},
};
use crate::sys;

/// Room for the largest datagram that there can be, or for those that came together. No power of two: the beginnings of
/// most messages are all that is used, and would share a place in the processor's cache.
const STRIDE: usize = (64 << 10) + (4 << 10) + 64;

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived<'a> {
    /// One datagram, or some that came from the same place to the same place.
    pub train: Train<'a>,
    /// Where it comes from.
    pub sender: SocketAddr,
    /// Where it came to, if the socket tells (those of [`super::udp_bind`] do when several addresses are possible) and it
    /// was sent to one machine only.
    pub local: Option<Local>,
}

/// Room for messages, used for one socket after the other. It takes memory with its first use.
#[derive(Debug, Default)]
pub struct Inbox {
    payloads: Box<[u8]>,
    slots: Box<[Slot]>,
    /// How many messages are asked for at once: twice as many as came the last time, so that few are asked for in vain.
    wanted: usize,
    filled: usize,
}

/// What is known of a message, beside its payload.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
struct Slot {
    control: [u8; ROOM],
    control_length: usize,
    name: libc::sockaddr_storage,
    length: usize,
}

impl Default for Slot {
    fn default() -> Self {
        // SAFETY: an all-zero sockaddr_storage is valid: it consists of integers.
        Self { control: [0; ROOM], control_length: 0, name: unsafe { zeroed() }, length: 0 }
    }
}

impl Inbox {
    /// Most messages of one call.
    const MOST: usize = 32;

    /// Receives what waits at the socket, as far as there is room. Whether more may wait.
    ///
    /// # Errors
    /// The kernel is short of memory, or an earlier datagram of a connected socket failed.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<bool, Failure> {
        if self.slots.is_empty() {
            self.payloads = vec![0; Inbox::MOST * STRIDE].into_boxed_slice();
            self.slots = vec![Slot::default(); Inbox::MOST].into_boxed_slice();
        }
        let wanted = self.wanted.clamp(2, Inbox::MOST);
        self.filled = 0;
        match self.receive_messages(socket, wanted) {
            Ok(count) => {
                self.filled = count;
                self.wanted = 2 * count;
                Ok(count == wanted)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn receive_messages(&mut self, socket: BorrowedFd<'_>, wanted: usize) -> Result<usize, Errno> {
        // SAFETY: all-zero structures of integers and null pointers are valid.
        let (mut vectors, mut messages): ([libc::iovec; Inbox::MOST], [libc::mmsghdr; Inbox::MOST]) =
            unsafe { (zeroed(), zeroed()) };
        let places = self.payloads.chunks_exact_mut(STRIDE).zip(&mut self.slots);
        for ((message, vector), (payload, slot)) in messages.iter_mut().zip(&mut vectors).zip(places).take(wanted) {
            *vector = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut slot.name).cast();
            header.msg_namelen = size_of_val(&slot.name) as libc::socklen_t;
            header.msg_iov = &raw mut *vector;
            header.msg_iovlen = 1;
            header.msg_control = slot.control.as_mut_ptr().cast();
            header.msg_controllen = ROOM as _;
        }
        let (first, descriptor) = (messages.as_mut_ptr(), socket.as_raw_fd());
        let none = std::ptr::null_mut();
        // SAFETY: each pointer of the first `wanted` messages comes with the size of what it points to, all of which
        // outlives the call.
        let count = unsafe { libc::recvmmsg(descriptor, first, wanted as libc::c_uint, libc::MSG_DONTWAIT as _, none) };
        let count = usize::try_from(count)
            .map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))?;
        for (message, slot) in messages.iter().zip(&mut self.slots).take(count) {
            slot.length = message.msg_len as usize;
            slot.control_length = message.msg_hdr.msg_controllen as _;
        }
        Ok(count)
    }

    /// What was received last.
    pub fn messages(&self) -> impl Iterator<Item = Arrived<'_>> {
        let filled = self.slots.iter().zip(self.payloads.chunks_exact(STRIDE)).take(self.filled);
        filled.filter_map(|(slot, payload)| slot.arrived(payload))
    }
}

impl Slot {
    fn arrived<'a>(&self, payload: &'a [u8]) -> Option<Arrived<'a>> {
        let mut train = Train::of_one(&payload[..self.length]);
        let mut local = None;
        for (level, kind, data) in message::entries(self.control.get(..self.control_length)?) {
            match (level, kind) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size: libc::c_int = message::read(data)?;
                    train.size = usize::try_from(size).ok().filter(|size| *size > 0)?;
                }
                _ => local = local.or_else(|| Local::told(level, kind, data)),
            }
        }
        Some(Arrived { train, sender: message::socket_address(&self.name)?, local })
    }
}

/// Lets the kernel give datagrams that came together as one message, where it knows how to. Only an [`Inbox`] can tell them
/// apart.
pub fn take_trains(socket: BorrowedFd<'_>) {
    let _ = sys::set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1);
}
