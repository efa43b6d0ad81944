//! Connections to the outside over sockets of the machine, which a program holds itself: when it connects a TCP socket of
//! its host to somewhere outside, the socket is replaced by one of the machine's (`SECCOMP_IOCTL_NOTIF_ADDFD`), and then the
//! kernel goes on with the program's own `connect(2)`, so that blocking, signals, time limits and errors are the kernel's.
//!
//! The kernel reads the address, and the descriptor, once more than we do. So that nothing is gained by exchanging them where
//! some addresses are forbidden, a socket takes segments of one peer only then, the one that was judged (`lock`): any other
//! connection over it is never made.
//!
//! Connections that come in through a forward are replaced when the program accepts them (`accept`).
//!
//! Whatever is unusual about a socket leaves it where it is, and the connection takes the way through the network.

mod accept;
mod alarm;
mod gift;
mod lock;
mod options;
mod programs;

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::OFlags,
    net::{SocketFlags, SocketType, getsockname, ipproto, socket_with, sockopt},
};

pub use self::accept::{Accepting, HeldClient};
pub(crate) use self::options::asked_about;
use self::{
    accept::Accepts,
    options::{Extent, Options},
    programs::{Held, Programs},
};
use crate::{
    Family,
    binds::{seccomp::Notification, target},
    plain,
    sock_diag::State,
    sockets::tcp_state,
    sys,
};

/// The program's surroundings.
pub trait Outside: Send {
    /// Whether a connection to this address leaves the network, and may.
    fn is_outside(&self, remote: SocketAddr) -> bool;

    /// Whether connections to some addresses are forbidden.
    fn has_policy(&self) -> bool;

    /// A socket of the program's host as [`InsideSocket::Plain`](crate::agent::InsideSocket::Plain).
    fn plain_socket(&self, family: Family) -> Option<OwnedFd>;

    /// A socket was handed over. It is told before the program goes on.
    fn handed_over(&self, socket: HandedOver);

    /// A program listens at a port, or is about to.
    fn listens(&self, port: u16);

    /// A thread asks for connections to a port. `false`: nobody is held for it, nor will be for now, and what is there is the
    /// kernel's to give, as after [`waits`](Self::waits).
    fn asks(&self, who: Accepting) -> bool;

    /// The kernel gives it one, now or later. No client is to be held until it has, or asks again.
    fn waits(&self, who: Accepting);

    /// Takes the client that is held whose connection inside is this one. One of the following tells what became of it.
    fn take(&self, peer: SocketAddr, service: SocketAddr) -> Option<HeldClient>;

    /// A process has got the client's socket. Gives the other end of the connection inside, if it is known already.
    fn accepted(&self, client: HeldClient, pid: u32) -> Option<OwnedFd>;

    /// Neither connection is needed any more. Gives the other end too.
    fn dropped(&self, client: HeldClient) -> Option<OwnedFd>;

    /// The connection inside is in use: the client is to be relayed.
    fn relay(&self, client: HeldClient);

    /// The connection inside was closed, and the client needs another one.
    fn again(&self, client: HeldClient);
}

/// A socket of the machine that a program has got to connect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// The process.
    pub pid: u32,
    /// `SO_COOKIE` of the socket, by which the socket table knows it too.
    pub cookie: u64,
    /// Where it connects to, as a plain address.
    pub remote: SocketAddr,
}

/// Why sockets can't be replaced.
#[derive(Debug, thiserror::Error)]
pub enum NotDirect {
    /// The host has a policy, which could not be enforced.
    #[error("the kernel locks a socket to a peer for administrators only")]
    CannotLock(#[source] io::Error),
    /// The kernel can't tell sockets of several networks apart; Linux 5.14 can.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Replaces the sockets of one program and of everything that it has started.
pub struct Direct {
    outside: Box<dyn Outside>,
    programs: Programs,
    /// `SO_NETNS_COOKIE` of the machine's network.
    machine: u64,
    /// Plain sockets' options in the host, by family.
    plain: [Option<Plain>; 2],
    /// Whether a program has set an option that programs seldom set.
    sets_seldom: bool,
    /// The next sockets to hand over, by family: made while the program does something else.
    spare: [Option<Spare>; 2],
    /// The last socket that was replaced, until the program goes on.
    replaced: Option<Candidate>,
    accepts: Accepts,
}

/// A socket of the machine, with its `SO_COOKIE`.
struct Spare {
    socket: OwnedFd,
    cookie: u64,
}

impl Spare {
    fn new(family: Family) -> io::Result<Self> {
        let socket = machine_socket(family)?;
        let cookie = sockopt::socket_cookie(&socket)?;
        Ok(Self { socket, cookie })
    }
}

/// What a socket is like of which nothing was set.
struct Plain {
    options: Options,
    /// `SO_NETNS_COOKIE`.
    network: u64,
}

/// A TCP socket of a program.
struct Candidate {
    held: Held,
    family: Family,
    /// What it is bound to.
    bound: SocketAddr,
    /// `SO_NETNS_COOKIE`.
    network: u64,
    /// Whether it has no connection: not yet, or no more.
    is_closed: bool,
}

impl Candidate {
    /// `None` if it is no TCP socket.
    fn of(held: Held) -> Option<Self> {
        let socket = held.socket.as_fd();
        if sockopt::socket_protocol(socket).ok()? != Some(ipproto::TCP) {
            return None;
        }
        let bound = getsockname(socket).and_then(SocketAddr::try_from).ok()?;
        let family = if bound.is_ipv4() { Family::V4 } else { Family::V6 };
        // Another protocol's raw socket has no state.
        let is_closed = tcp_state(socket)? == State::Close as u8;
        let network = sys::network_of(socket).ok()?;
        Some(Self { held, family, bound, network, is_closed })
    }

    fn is_bound(&self) -> bool {
        self.bound.port() != 0 || !self.bound.ip().is_unspecified()
    }
}

impl Direct {
    /// For a program with these surroundings; called in the machine's network.
    ///
    /// # Errors
    /// See [`NotDirect`].
    pub fn new(outside: Box<dyn Outside>) -> Result<Self, NotDirect> {
        let socket = machine_socket(Family::V4)?;
        let machine = sys::network_of(socket.as_fd())?;
        if outside.has_policy() {
            lock::to_peer(socket.as_fd(), SocketAddr::from(([0; 4], 0))).map_err(NotDirect::CannotLock)?;
        }
        Ok(Self {
            outside,
            programs: Programs::default(),
            machine,
            plain: [None, None],
            sets_seldom: false,
            spare: [None, None],
            replaced: None,
            accepts: Accepts::default(),
        })
    }

    /// Does what is to be done before the kernel goes on with a call. `true`: it was done, and answered.
    pub(crate) fn before(&mut self, call: &Notification, listener: BorrowedFd<'_>) -> bool {
        match call.call() {
            libc::SYS_accept | libc::SYS_accept4 => return self.accept(call, listener),
            libc::SYS_connect => self.before_connect(call, listener),
            libc::SYS_bind | libc::SYS_listen => self.before_serving(call, listener),
            // The filter asks about options that are seldom set. Other protocols' sockets are never replaced.
            libc::SYS_setsockopt => self.sets_seldom = self.sets_seldom || self.candidate(call).is_some(),
            // `epoll_create(2)`: what was known of the program's epoll instances may be wrong from now on.
            _ => self.programs.forget_epolls(call.thread()),
        }
        false
    }

    /// Does what the program need not wait for, which goes on by now.
    pub(crate) fn after(&mut self, listener: BorrowedFd<'_>) {
        self.close_finished(listener);
        let Some(replaced) = self.replaced.take() else { return };
        // It was woken to run here next.
        rustix::thread::sched_yield();
        let spare = &mut self.spare[usize::from(replaced.family == Family::V6)];
        if spare.is_none() {
            *spare = Spare::new(replaced.family).ok();
        }
    }

    /// `connect(2)`: hands a socket of the machine over, or takes one back that is to connect to somewhere inside.
    fn before_connect(&mut self, call: &Notification, listener: BorrowedFd<'_>) {
        let Some(bytes) = target::spelled(call) else { return };
        let Some(family) = bytes.get(..2).map(|family| i32::from(u16::from_ne_bytes([family[0], family[1]]))) else {
            return;
        };
        if ![libc::AF_INET, libc::AF_INET6, libc::AF_UNSPEC].contains(&family) {
            return;
        }
        let remote = target::parse(&bytes).filter(|remote| remote.port() != 0);
        let remote = remote.map(plain).filter(|remote| self.outside.is_outside(*remote));
        let Some(socket) = self.candidate(call) else { return };
        let is_machines = socket.network == self.machine;
        let done = match remote {
            // One of the machine's is free again after an attempt that failed. It may be locked to the peer of that one.
            Some(remote) if socket.is_closed => self.hand_over(call, listener, &socket, remote),
            None if is_machines && (socket.is_closed || family == libc::AF_UNSPEC) => {
                self.take_back(call, listener, &socket)
            }
            _ => return,
        };
        self.replaced = done.map(|()| socket);
    }

    /// `bind(2)` and `listen(2)`: a socket of the machine that has failed to connect is taken back first. The program's
    /// services are its host's.
    fn before_serving(&mut self, call: &Notification, listener: BorrowedFd<'_>) {
        if call.call() == libc::SYS_listen {
            self.forget_listeners();
        }
        let Some(socket) = self.candidate(call) else { return };
        if socket.network == self.machine && socket.is_closed {
            let _ = self.take_back(call, listener, &socket);
        } else if call.call() == libc::SYS_listen && socket.is_bound() {
            self.outside.listens(socket.bound.port());
        }
    }

    /// The TCP socket that a call is about.
    fn candidate(&mut self, call: &Notification) -> Option<Candidate> {
        // The lower half of the register; descriptors are ints.
        Candidate::of(self.programs.copy(call.thread(), call.argument(0) as i32)?)
    }

    /// Gives the program a socket of the machine for a free one. `None` if it stays where it is.
    fn hand_over(
        &mut self,
        call: &Notification,
        listener: BorrowedFd<'_>,
        candidate: &Candidate,
        remote: SocketAddr,
    ) -> Option<()> {
        let Candidate { held, family, network, .. } = candidate;
        if held.raises_signals {
            return None;
        }
        let spare = &mut self.spare[usize::from(*family == Family::V6)];
        let Spare { socket, cookie } = spare.take().map_or_else(|| Spare::new(*family), Ok).ok()?;
        if *network == self.machine {
            carry_back(candidate, socket.as_fd())?;
        } else {
            let extent = if self.sets_seldom { Extent::All } else { Extent::Often };
            let plain = self.plain(*family)?;
            if candidate.is_bound() || *network != plain.network {
                return None;
            }
            plain.options.carry_over(extent, held.socket.as_fd(), socket.as_fd()).ok()?;
        }
        if self.outside.has_policy() {
            lock::to_peer(socket.as_fd(), remote).ok()?;
        }
        // An epoll instance knows the file, and would never hear of the new one.
        if self.programs.watches(held.process, held.descriptor) {
            return None;
        }
        replace(call, listener, held, socket.as_fd())?;
        self.outside.handed_over(HandedOver { pid: held.process, cookie, remote });
        Some(())
    }

    /// Gives the program a socket of its host for one of the machine's.
    fn take_back(&mut self, call: &Notification, listener: BorrowedFd<'_>, candidate: &Candidate) -> Option<()> {
        let socket = self.outside.plain_socket(candidate.family)?;
        carry_back(candidate, socket.as_fd())?;
        replace(call, listener, &candidate.held, socket.as_fd())
    }

    fn plain(&mut self, family: Family) -> Option<&Plain> {
        let known = &mut self.plain[usize::from(family == Family::V6)];
        if known.is_none() {
            let socket = self.outside.plain_socket(family)?;
            let network = sys::network_of(socket.as_fd()).ok()?;
            *known = Some(Plain { options: Options::of(socket.as_fd(), family), network });
        }
        known.as_ref()
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct")
            .field("programs", &self.programs)
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

/// Carries options over from one of the machine's sockets that a program has had.
fn carry_back(candidate: &Candidate, to: BorrowedFd<'_>) -> Option<()> {
    let family = candidate.family;
    let untouched = Options::of(machine_socket(family).ok()?.as_fd(), family);
    untouched.but_used().carry_over(Extent::All, candidate.held.socket.as_fd(), to).ok().map(drop)
}

/// Puts a socket that is new in the place of one that a waiting call is about. It fails if nothing waits any more.
fn replace(call: &Notification, listener: BorrowedFd<'_>, held: &Held, socket: BorrowedFd<'_>) -> Option<()> {
    let flags = rustix::fs::fcntl_getfl(&held.socket).ok()?;
    if flags != OFlags::RDWR {
        rustix::fs::fcntl_setfl(socket, flags).ok()?;
    }
    call.replace(listener, held.descriptor, socket, held.close_on_exec).ok()
}

/// A TCP socket of the calling thread's network.
fn machine_socket(family: Family) -> io::Result<OwnedFd> {
    Ok(socket_with(family.domain(), SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?)
}
