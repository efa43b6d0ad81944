//! Datagrams of one flow that go by one call: the kernel cuts them apart, at best in the network device
//! (`UDP_SEGMENT`, Linux 4.18).

use std::{net::SocketAddr, os::fd::BorrowedFd};

use rustix::io::Errno;

use super::{
    Failure, Local, addressed,
    message::{self, Control},
    take_error, udp,
};

/// Datagrams that lie one behind the other, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Train<'a> {
    /// What they carry.
    pub payload: &'a [u8],
    /// Bytes of each, except that the last may be shorter.
    pub size: usize,
}

impl<'a> Train<'a> {
    /// One datagram.
    pub fn of_one(payload: &'a [u8]) -> Self {
        Self { payload, size: payload.len() }
    }

    /// What each of them carries.
    pub fn datagrams(self) -> impl Iterator<Item = &'a [u8]> {
        let alone = self.payload.is_empty().then_some(self.payload);
        alone.into_iter().chain(self.payload.chunks(self.size.max(1)))
    }

    fn is_of_one(self) -> bool {
        self.payload.len() <= self.size
    }

    /// What tells the kernel where to cut.
    fn control(self) -> Control {
        let mut control = Control::default();
        control.add(libc::SOL_UDP, libc::UDP_SEGMENT, self.size as u16);
        control
    }
}

/// What is known of a way: which datagrams the kernel cuts apart there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutting {
    /// The largest that it may be asked to.
    largest: usize,
}

impl Default for Cutting {
    fn default() -> Self {
        Self { largest: usize::from(u16::MAX) }
    }
}

impl Cutting {
    fn serves(self, train: Train<'_>) -> bool {
        !train.is_of_one() && train.size <= self.largest
    }

    /// Whether the kernel said that it does not cut these. It is asked about smaller ones again, if their size was to blame.
    fn is_refused(&mut self, size: usize, errno: Errno) -> bool {
        match errno {
            // Larger than what the path takes in one packet: these have to be sent in fragments.
            Errno::INVAL | Errno::MSGSIZE => self.largest = size.saturating_sub(1),
            // The device has no checksums, or what is sent there is encrypted.
            Errno::IO | Errno::OPNOTSUPP | Errno::NOPROTOOPT => self.largest = 0,
            _ => return false,
        }
        true
    }
}

/// Sends datagrams on a connected socket. What the socket's buffer has no room for is lost, as on any link.
///
/// # Errors
/// A failure that is known at once, or of an earlier datagram that nobody answered.
pub fn udp_send_train(socket: BorrowedFd<'_>, train: Train<'_>, cutting: &mut Cutting) -> Result<(), Failure> {
    let mut earlier = None;
    if cutting.serves(train) {
        let control = train.control();
        let send = || message::send(socket, None, train.payload, &control);
        let mut sent = send();
        if let Err(errno) = sent
            && !udp::is_lost(errno)
        {
            // It may have been the error of an earlier datagram, which says nothing of the kernel's cutting.
            earlier = Some(udp::failure(socket, errno)).filter(|failure| *failure == Failure::Refused);
            sent = send();
        }
        match sent {
            Err(errno) if cutting.is_refused(train.size, errno) => drop(take_error(socket)),
            Err(errno) if !udp::is_lost(errno) => return Err(udp::failure(socket, errno)),
            _ => return earlier.map_or(Ok(()), Err),
        }
    }
    // Each has its own fate, and the first failure is told.
    let failures = train.datagrams().filter_map(|payload| udp::udp_send(socket, payload).err());
    earlier.into_iter().chain(failures).reduce(|first, _| first).map_or(Ok(()), Err)
}

/// Sends datagrams on a socket without a peer, from `local` if that is given; otherwise from where the kernel would. What
/// the socket's buffer has no room for is lost.
///
/// # Errors
/// A failure that is known at once, or of an earlier datagram.
pub fn send_train_from(
    socket: BorrowedFd<'_>,
    local: Option<Local>,
    remote: SocketAddr,
    train: Train<'_>,
    cutting: &mut Cutting,
) -> Result<(), Failure> {
    if cutting.serves(train) {
        let mut control = train.control();
        local.inspect(|local| local.tell(&mut control));
        match message::send(socket, Some(remote), train.payload, &control) {
            Err(errno) if cutting.is_refused(train.size, errno) => {}
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
    train.datagrams().try_for_each(|payload| addressed::send_from(socket, local, remote, payload).map(drop))
}
