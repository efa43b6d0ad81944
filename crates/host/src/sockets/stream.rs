//! TCP connections that we make, and what passes through them.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        RecvFlags, Shutdown, SocketAddrAny, SocketFlags, SocketType, bind, connect as start_connect, getsockname,
        ipproto, recv, shutdown, socket_with, sockopt,
    },
};

use super::Failure;
use crate::{Family, plain, sock_diag::State, sys};

/// A peer that has vanished without a word is asked after this long without traffic …
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(600);
/// … this often …
const KEEP_ALIVE_PROBES: u32 = 10;
/// … with this much in between, before the connection is dead. Together they outlast twenty minutes without a path.
/// RFC 1122 §4.2.3.6 would wait for two hours; but nobody else would ever close what a relay holds.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(60);

/// A socket for [`connect_with`]: no delay, keep-alive, and urgent data in line.
///
/// # Errors
/// The machine does not have this family, or is short of something.
pub fn connecting_socket(family: Family) -> Result<OwnedFd, Failure> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family.domain(), SocketType::STREAM, flags, Some(ipproto::TCP))?;
    prepare(socket.as_fd())?;
    Ok(socket)
}

/// Starts a TCP connection with a new socket. The socket becomes writable when it is decided; then ask [`take_error`].
///
/// # Errors
/// A failure that is known at once, such as no route.
pub fn connect(remote: SocketAddr) -> Result<OwnedFd, Failure> {
    let socket = connecting_socket(Family::of(remote.ip()))?;
    start(socket.as_fd(), remote)?;
    not_to_itself(socket.as_fd(), remote)?;
    Ok(socket)
}

/// Sets on a connection of [`super::HeldPort::listen_plainly`] what one of [`super::HeldPort::listen`] has.
///
/// # Errors
/// It is gone.
pub fn prepare_accepted(socket: BorrowedFd<'_>) -> Result<(), Failure> {
    Ok(prepare(socket)?)
}

/// Starts a TCP connection with a socket of [`connecting_socket`]. True if it is connected already, as to a peer on this
/// machine, whose handshake takes place within the call. Otherwise as [`connect`].
///
/// # Errors
/// A failure that is known at once, such as no route or a closed port of this machine.
pub fn connect_with(socket: BorrowedFd<'_>, remote: SocketAddr) -> Result<bool, Failure> {
    start(socket, remote)?;
    // Said without waiting that the connection is under way; asked once more, the kernel says how far it is.
    let connected = match start_connect(socket, &remote) {
        Ok(()) | Err(Errno::ISCONN) => true,
        Err(Errno::ALREADY | Errno::INPROGRESS) => false,
        Err(errno) => return Err(errno.into()),
    };
    not_to_itself(socket, remote)?;
    Ok(connected)
}

/// RFC 9293 §3.5: two SYNs that cross make a connection, and so do one that meets itself, when the kernel has chosen the
/// very port that nobody listens at.
fn not_to_itself(socket: BorrowedFd<'_>, remote: SocketAddr) -> Result<(), Failure> {
    let itself = getsockname(socket).and_then(SocketAddr::try_from).is_ok_and(|local| local == remote);
    if itself { Err(Failure::Refused) } else { Ok(()) }
}

/// Sets what every connection of ours has, or inherits from the socket that listens.
pub(crate) fn prepare(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEP_ALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(socket, KEEP_ALIVE_EVERY)?;
    sockopt::set_tcp_keepcnt(socket, KEEP_ALIVE_PROBES)?;
    // RFC 6093 §4: the byte that urgent data points to is one of the stream. Otherwise it would be lost on the way.
    sockopt::set_socket_oobinline(socket, true)
}

/// Binds a socket from inside a host and starts to connect it; as [`connect`].
///
/// # Errors
/// A failure that is known at once; [`Failure::NoPort`] when `local` is taken.
pub fn bind_and_connect(socket: BorrowedFd<'_>, local: SocketAddr, remote: SocketAddr) -> Result<(), Failure> {
    bind(socket, &local)?;
    start(socket, remote)
}

fn start(socket: BorrowedFd<'_>, remote: SocketAddr) -> Result<(), Failure> {
    match start_connect(socket, &remote) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Throws away what has arrived and was not read. The close of a socket that holds such bytes resets the connection, and
/// what was sent may be lost (RFC 2525 §2.17); so this is for a peer that is to get everything, whatever it sends.
pub fn discard(socket: BorrowedFd<'_>) {
    let mut buffer = [0; 16 << 10];
    // A peer that never stops is not waited for.
    for _ in 0..DISCARDS {
        match recv(socket, &mut buffer, RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
            Ok((_, 1..)) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Most reads of one [`discard`].
const DISCARDS: usize = 256;

/// Lets the kernel take `READY` bytes on a connected socket before anybody reads, where it would begin with 64 KiB: so
/// an answer before a reset is here before the reset, however late we come to read. The window goes on to grow by itself,
/// which it would not after `SO_RCVBUF`. It grows without this as its limit only if called once connected: the window's
/// scale follows from what is set before.
pub fn widen(socket: BorrowedFd<'_>) {
    for low_water in [READY, 1] {
        // That fewer bytes make the socket readable again is all that the second call does.
        let _ = sys::set_option(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, low_water);
    }
}

/// See [`widen`].
const READY: libc::c_int = 512 << 10;

/// Limits the window of a connection whose peer is so near that it needs no more. The kernel would let it grow to many
/// megabytes as soon as we are the slower side, and what waits there has left the processor's cache before we read it.
pub fn narrow_if_near(socket: BorrowedFd<'_>) {
    if round_trip(socket).is_some_and(|time| time < NEAR) {
        // What it can't be limited to, it is not.
        let _ = sys::set_option(socket, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, NEAR_WINDOW);
    }
}

/// With [`NEAR_WINDOW`] it is 20 Gbit/s over a path with just this round-trip time.
const NEAR: Duration = Duration::from_micros(200);
const NEAR_WINDOW: libc::c_int = 512 << 10;

/// The smoothed round-trip time, once it was measured.
fn round_trip(socket: BorrowedFd<'_>) -> Option<Duration> {
    // SAFETY: an all-zero tcp_info is valid: it consists of integers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: TCP_INFO writes at most `length` bytes, which is the size of what the pointer points to.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut length)
    };
    (result == 0 && info.tcpi_rtt > 0).then(|| Duration::from_micros(info.tcpi_rtt.into()))
}

/// Whether the peer may still acknowledge something: the connection is alive, and bytes are sent and not acknowledged,
/// or not sent yet.
pub fn is_delivering(socket: BorrowedFd<'_>) -> bool {
    let mut unacknowledged: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which is TIOCOUTQ, writes one int to the address that it gets.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unacknowledged) };
    result == 0 && unacknowledged > 0 && !is_closed(socket)
}

/// Whether there is no connection (RFC 9293 §3.3.2: CLOSED): not yet, or no more, as after a reset.
pub(crate) fn is_closed(socket: BorrowedFd<'_>) -> bool {
    tcp_state(socket).is_none_or(|state| state == State::Close as u8)
}

/// The state of a TCP socket, with the kernel's number; `None` for another kind.
pub(crate) fn tcp_state(socket: BorrowedFd<'_>) -> Option<u8> {
    // `struct tcp_info` begins with the state.
    let mut state = [0];
    sys::get_option(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut state).ok()?;
    Some(state[0])
}

/// The pending error of a socket (`SO_ERROR`), which is cleared. On a socket of [`super::udp_connect`] or a
/// [`super::PingSocket`] it also empties the error queue, without which the socket would stay in `EPOLLERR`.
pub fn take_error(socket: BorrowedFd<'_>) -> Option<Failure> {
    let mut failure = pending_error(socket);
    let mut none = [0u8; 0];
    // Each message taken from the queue sets the pending error of the next; a socket without a queue says EAGAIN.
    while recv(socket, &mut none, RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT).is_ok() {
        failure = pending_error(socket).or(failure);
    }
    failure
}

fn pending_error(socket: BorrowedFd<'_>) -> Option<Failure> {
    match sockopt::socket_error(socket) {
        Ok(Ok(())) => None,
        Ok(Err(errno)) | Err(errno) => Some(errno.into()),
    }
}

/// What a call on a stream moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// This many bytes, at least one.
    Moved(usize),
    /// The peer has sent its last byte.
    End,
    /// Nothing now: wait until the socket is ready.
    WouldBlock,
}

/// Reads what has arrived.
///
/// # Errors
/// The connection's failure.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Transfer, Failure> {
    match rustix::io::retry_on_intr(|| rustix::io::read(socket, &mut *buffer)) {
        Ok(0) if !buffer.is_empty() => Ok(Transfer::End),
        Ok(length) => Ok(Transfer::Moved(length)),
        Err(Errno::AGAIN) => Ok(Transfer::WouldBlock),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes as much as the socket takes. Never raises `SIGPIPE` in a Rust program, which ignores it.
///
/// # Errors
/// The connection's failure.
pub fn send(socket: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> Result<Transfer, Failure> {
    match rustix::io::retry_on_intr(|| rustix::io::writev(socket, pieces)) {
        Ok(length) => Ok(Transfer::Moved(length)),
        Err(Errno::AGAIN) => Ok(Transfer::WouldBlock),
        Err(errno) => Err(errno.into()),
    }
}

/// Sends FIN after what is queued.
///
/// # Errors
/// The connection is gone.
pub fn shutdown_write(socket: BorrowedFd<'_>) -> Result<(), Failure> {
    Ok(shutdown(socket, Shutdown::Write)?)
}

/// Closes with RST (`SO_LINGER` with 0 seconds).
pub fn reset(socket: OwnedFd) {
    // It can only fail for something that is no socket.
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
    drop(socket);
}

/// A socket address of an IP family; IPv4-mapped ones as IPv4.
pub(super) fn socket_address(address: &SocketAddrAny) -> io::Result<SocketAddr> {
    let address = SocketAddr::try_from(address.clone())?;
    Ok(plain(address))
}
