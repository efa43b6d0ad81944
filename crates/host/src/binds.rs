//! Binds that fail, told to who asks: a seccomp filter makes the kernel ask about each `bind(2)` of a program and of what
//! it starts, and whoever holds the other end binds the very socket on its behalf, so that it knows the result.
//!
//! The program goes on with exactly the result that its own call would have had. What can't be told, or is none of our
//! business, the kernel does by itself: sockets of other families, port 0, programs that have confined themselves, and
//! those that have left the host's network. It also refuses by itself whoever lacks the privilege that a port needs, which we
//! have. `listen(2)` is performed likewise, so that forwards are open before anybody hears of the port.

mod faults;
mod place;
pub(crate) mod seccomp;
pub(crate) mod target;

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
        socketpair, sockopt,
    },
};

pub use self::place::Place;
use self::{
    seccomp::Notification,
    target::{Target, Wanted},
};
use crate::{
    Transport,
    direct::{self, Direct},
    passing, plain,
};

/// Whether this machine's processors are known to the filter.
pub const SUPPORTED: bool = seccomp::ARCHITECTURE.is_some();

/// Where a program's listener comes out, once the program runs.
#[derive(Debug)]
pub struct Pending(OwnedFd);

/// What a program asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Its binds.
    Binds,
    /// Its binds, and whatever [`Direct`] must know of.
    BindsAndConnections,
}

/// Makes `command` ask. Call it after [`Enter::apply`](crate::enter::Enter::apply), which gives the child
/// the right to install a filter. A program for which that is impossible runs without one: inside a host of another minato,
/// or another supervisor, whose filter there may be only one of; and on Linux before 5.19.
///
/// What comes out of [`Pending::take`] must live as long as the program and everything that it starts: once it is closed,
/// each of their binds fails with `ENOSYS`.
///
/// # Errors
/// No socket pair can be made.
pub fn ask(command: &mut Command, asked: Asked) -> io::Result<Pending> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let filter = match asked {
        Asked::Binds => seccomp::filter(seccomp::BINDS, &[]),
        Asked::BindsAndConnections => seccomp::filter(seccomp::BINDS_AND_CONNECTIONS, &direct::asked_about()),
    };
    // SAFETY: `install` runs in the child of a possibly threaded process: it makes system calls only, and neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(move || install(theirs.as_fd(), filter.as_deref())) };
    Ok(Pending(ours))
}

impl Pending {
    /// The listener; `None` if the program runs without one. Call it when the program has been started, and after its
    /// `Command` was dropped.
    ///
    /// # Errors
    /// This process is out of descriptors.
    pub fn take(self) -> io::Result<Option<OwnedFd>> {
        let message = passing::receive::<serde_json::Value>(self.0.as_fd())?;
        Ok(message.and_then(|(_, descriptors)| descriptors.into_iter().next()))
    }
}

/// In the child. Async-signal-safe.
fn install(parent: BorrowedFd<'_>, filter: Option<&[libc::sock_filter]>) -> io::Result<()> {
    let Some(Ok(listener)) = filter.map(seccomp::install) else { return Ok(()) };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [listener.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(parent, &[IoSlice::new(b"{}")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The binds of one program and of everything that it has started.
#[derive(Debug)]
pub struct Binds {
    listener: OwnedFd,
    /// Where they count.
    place: Place,
    /// For programs that ask about more.
    direct: Option<Direct>,
}

/// A bind that failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FailedBind {
    /// The process.
    pub pid: u32,
    /// What it wanted. IPv4-mapped addresses are plain ones.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub transport: Transport,
    /// Whether `[::]` is every IPv4 address too, as it is unless the program has set `IPV6_V6ONLY`.
    pub dual_stack: bool,
    /// Why not.
    pub reason: BindRefusal,
}

/// A TCP socket that a program has begun to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// What it is bound to.
    pub address: SocketAddr,
    /// Whether it leaves IPv4 alone (`IPV6_V6ONLY`).
    pub v6_only: bool,
}

/// Why a bind fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindRefusal {
    /// Another socket holds the port (`EADDRINUSE`).
    InUse,
    /// The address is none of the host's (`EADDRNOTAVAIL`).
    NotOurs,
    /// The port needs a privilege that the program does not have (`EACCES`).
    Privileged {
        /// First port that everybody may bind there (`net.ipv4.ip_unprivileged_port_start`).
        first: u16,
    },
    /// The kernel forbids it for another reason (`EACCES`).
    Forbidden,
}

impl FailedBind {
    /// Every address that the bind would have taken.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let v4 = self.dual_stack.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        std::iter::once(self.address.ip()).chain(v4).collect()
    }
}

impl BindRefusal {
    fn of(error: &io::Error) -> Option<Self> {
        match error.raw_os_error()? {
            libc::EADDRINUSE => Some(Self::InUse),
            libc::EADDRNOTAVAIL => Some(Self::NotOurs),
            libc::EACCES => Some(Self::Forbidden),
            _ => None,
        }
    }
}

impl Binds {
    /// Those of a listener, for programs in a network namespace. `direct` serves what programs of
    /// [`Asked::BindsAndConnections`] ask beside; without it they do everything themselves.
    pub fn of(listener: OwnedFd, place: Place, direct: Option<Direct>) -> Self {
        Self { listener, place, direct }
    }

    /// Serves binds until every program is gone. Before a program learns that its bind has failed, `failed` is called,
    /// while what is in its way is still there; and before it learns that it listens, `listens`, where we could listen on
    /// its behalf. `inside` makes an IPv4 socket in the network in which they count.
    ///
    /// # Errors
    /// The listener can't be used.
    pub fn serve(
        &mut self,
        inside: impl Fn() -> Option<OwnedFd>,
        mut failed: impl FnMut(FailedBind),
        listens: impl Fn(Listening),
    ) -> io::Result<()> {
        seccomp::wake_at_once(self.listener.as_fd());
        while let Some(notification) = next(self.listener.as_fd())? {
            let listener = self.listener.as_fd();
            let done = self.direct.as_mut().is_some_and(|direct| direct.before(&notification, listener));
            match notification.call() {
                _ if done => {}
                libc::SYS_bind => self.answer(&notification, &inside, &mut failed),
                libc::SYS_listen => self.listen(&notification, &listens),
                _ => notification.go_on(listener),
            }
            if let Some(direct) = &mut self.direct {
                direct.after(listener);
            }
        }
        Ok(())
    }

    /// Whatever happens, the notification gets its answer.
    fn answer(
        &self,
        notification: &Notification,
        inside: &impl Fn() -> Option<OwnedFd>,
        failed: &mut impl FnMut(FailedBind),
    ) {
        let target = Target::of(notification, &self.place);
        // The process may have ended, and its number be another one's, unless the kernel still waits for this answer.
        let target = target.filter(|_| notification.is_valid(self.listener.as_fd()));
        let Some(Target { socket, wanted, pid, first_allowed }) = target else {
            return notification.go_on(self.listener.as_fd());
        };
        let Wanted { address, transport, .. } = wanted;
        let dual_stack =
            address.is_ipv6() && address.ip().is_unspecified() && sockopt::ipv6_v6only(&socket) == Ok(false);
        let mut failed = |reason| failed(FailedBind { pid, address: plain(address), transport, dual_stack, reason });
        if let Some(first) = first_allowed {
            // We would be let, as the owner of the namespace or as root; the kernel refuses the program.
            let reason = faults::first_of(socket.as_fd(), &wanted, first, inside);
            drop(socket);
            reason.into_iter().for_each(&mut failed);
            return notification.go_on(self.listener.as_fd());
        }
        let result = seccomp::bind(socket.as_fd(), &wanted.bytes);
        // Nothing may keep the socket open once the program goes on.
        drop(socket);
        if let Some(reason) = result.as_ref().err().and_then(BindRefusal::of) {
            failed(reason);
        }
        notification.answer(self.listener.as_fd(), &result);
    }

    /// Listens on the program's behalf, so that what is to follow has done so when it goes on.
    fn listen(&self, notification: &Notification, listens: &impl Fn(Listening)) {
        let listener = self.listener.as_fd();
        let socket = target::listener(notification, &self.place).filter(|_| notification.is_valid(listener));
        let Some((socket, listening)) = socket else { return notification.go_on(listener) };
        // The lower half of the register; the kernel limits it to what the socket's network has as `somaxconn`.
        let result = rustix::net::listen(&socket, notification.argument(1) as i32).map_err(io::Error::from);
        drop(socket);
        if result.is_ok() {
            listens(listening);
        }
        notification.answer(listener, &result);
    }
}

/// Waits for the next call that is asked about; `None` when none can come any more.
fn next(listener: BorrowedFd<'_>) -> io::Result<Option<Notification>> {
    loop {
        let mut ready = [PollFd::new(&listener, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut ready, None))?;
        if !ready[0].revents().contains(PollFlags::IN) {
            return Ok(None);
        }
        match Notification::receive(listener) {
            Ok(notification) => return Ok(Some(notification)),
            // NotFound: the program was killed meanwhile.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}
