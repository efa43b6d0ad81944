//! Connections from outside over sockets of the machine. Who forwards a port holds the client's own connection, makes one
//! inside as ever, so that the program's listener becomes readable, and waits. Here the program's `accept(2)` gets the
//! client's connection in the place of the one inside.
//!
//! Nothing here ever waits: where no connection is there to take, the kernel goes on with the program's own call. And nobody
//! is lost: what can't be handed over is relayed, and what the program has no descriptor for queues up again.

use std::{
    collections::HashMap,
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SendFlags, SocketAddrAny, SocketFlags, acceptfrom_with, getsockname, ipproto, sockopt},
};

use super::{
    Direct,
    alarm::Alarm,
    gift::{Failed, Wants, give},
    lock,
    options::Extent,
    programs,
    programs::Held,
};
use crate::{Family, binds::seccomp::Notification, plain, sockets, sys};

/// A client of a forward: its connection, through which nothing has passed.
#[derive(Debug)]
pub struct HeldClient {
    /// Accepted from the forward's port; non-blocking.
    pub socket: OwnedFd,
    /// Its own address, which the connection inside has too.
    pub address: SocketAddr,
    /// Where the connection inside leads to.
    pub service: SocketAddr,
    /// The forward.
    pub forward: u64,
    /// Where whoever holds it has the forward.
    pub place: usize,
    /// The forward's address.
    pub entrance: SocketAddr,
}

impl HeldClient {
    /// `SO_COOKIE`, by which the socket table knows the socket too.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn cookie(&self) -> io::Result<u64> {
        Ok(sockopt::socket_cookie(&self.socket)?)
    }
}

/// What is known from one `accept(2)` to the next.
#[derive(Default)]
pub(super) struct Accepts {
    /// Of the thread that serves.
    alarm: Option<Alarm>,
    /// Connections of no client of ours that were taken for a program whose last descriptor another thread took meanwhile.
    strays: Vec<Stray>,
    /// A program may not be given sockets: the kernel serves it.
    refuses: bool,
    /// What is closed once the program goes on.
    finished: Option<Finished>,
    /// The last listener of which it was seen that it has nothing set, and when.
    plain: Option<(u64, Instant)>,
    /// Listeners of the host's network, by inode, and where they listen. Another address takes another `listen(2)`.
    listeners: HashMap<u64, SocketAddr>,
}

/// Whoever accepts next gets it.
struct Stray {
    /// Inode.
    listener: u64,
    connection: Connection,
    since: Instant,
}

/// A connection inside that is not needed: both ends, if the other one is known already.
struct Finished {
    accepted: OwnedFd,
    other_end: Option<OwnedFd>,
}

/// So long it is believed that a listener still has nothing set. To look costs more than everything else here together, and
/// the kernel too takes the options of the time when a connection was made, not of when it is accepted.
const BELIEVED: Duration = Duration::from_millis(10);

/// So long a connection waits for its program to accept again. Then it is reset, as by a listener that was closed, which it
/// may have been.
const STRAYS: Duration = Duration::from_secs(10);

impl fmt::Debug for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepts").field("strays", &self.strays.len()).finish_non_exhaustive()
    }
}

/// So long a program has to go on, until what it does not need is closed beside it.
const GOES_ON: Timespec = Timespec { tv_sec: 0, tv_nsec: 60_000 };

/// How many listeners are known before all are forgotten.
const MOST_LISTENERS: usize = 64;

/// Who calls `accept(2)` or `accept4(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepting {
    /// The port that its listener listens on.
    pub port: u16,
    /// Its number.
    pub thread: u32,
    /// Its descriptor of the listener.
    pub descriptor: RawFd,
    /// Whether the call waits until somebody comes.
    pub blocks: bool,
}

/// A call of `accept(2)` or `accept4(2)`, and the socket that it is about.
struct Listening {
    inode: u64,
    address: SocketAddr,
    who: Accepting,
}

/// What such a call asks for.
struct Asked {
    /// The socket that listens.
    held: Held,
    address: SocketAddr,
    who: Accepting,
    flags: SocketFlags,
    wants: Option<Wants>,
}

/// A connection that was taken from a queue.
struct Connection {
    socket: OwnedFd,
    peer: SocketAddrAny,
}

impl Direct {
    /// `accept(2)` and `accept4(2)`: gives the program a client's own connection, or the one inside that is next. `false`: the
    /// kernel goes on.
    pub(super) fn accept(&mut self, call: &Notification, listener: BorrowedFd<'_>) -> bool {
        self.reset_strays();
        let Some(listening) = self.listening(call) else { return false };
        let who = listening.who;
        let stray = self.accepts.strays.iter().position(|stray| stray.listener == listening.inode);
        if stray.is_none() && !self.outside.asks(who) {
            return false;
        }
        // The kernel looks for a descriptor before it takes a connection from the queue.
        let can_be_given = !self.accepts.refuses && programs::has_room(who.thread);
        let Some(asked) = can_be_given.then(|| self.asked(call, &listening)).flatten() else {
            self.outside.waits(who);
            return false;
        };
        if let Some(index) = stray {
            let stray = self.accepts.strays.swap_remove(index);
            return self.give_other(call, listener, asked, stray.connection);
        }
        // What the kernel takes of its own accord may belong to a client that is held only now. So it takes nothing unless no
        // client is held until this thread asks again.
        match self.take_inner(&asked) {
            Ok(inner) => self.give_next(call, listener, asked, inner),
            Err(Errno::AGAIN) if !who.blocks => {
                drop(asked);
                call.answer(listener, &Err(Errno::AGAIN.into()));
                true
            }
            Err(_) => {
                self.outside.waits(who);
                false
            }
        }
    }

    /// A program is about to listen: where a socket of its listens may be another address from now on.
    pub(super) fn forget_listeners(&mut self) {
        self.accepts.listeners.clear();
    }

    /// Gives the program a connection that was taken for it, or that of its client.
    fn give_next(&mut self, call: &Notification, listener: BorrowedFd<'_>, asked: Asked, inner: Connection) -> bool {
        let ends =
            (SocketAddr::try_from(inner.peer.clone()), getsockname(&inner.socket).and_then(SocketAddr::try_from));
        let (Ok(peer), Ok(service)) = ends else { return self.give_other(call, listener, asked, inner) };
        match self.outside.take(plain(peer), plain(service)) {
            Some(client) => self.give_client(call, listener, asked, inner, client),
            None => self.give_other(call, listener, asked, inner),
        }
    }

    /// Closes what the program need not wait for.
    pub(super) fn close_finished(&mut self, listener: BorrowedFd<'_>) {
        if let Some(Finished { accepted, other_end }) = self.accepts.finished.take() {
            // It was woken to run here next, and may have asked again. To yield would take longer where the packet loop is
            // of our group of the scheduler: then it runs first as well, for a time slice.
            let _ = poll(&mut [PollFd::new(&listener, PollFlags::IN)], Some(&GOES_ON));
            // RFC 2525 §2.17: what was not read makes the close a reset, and nothing lingers in TIME-WAIT. With `SO_LINGER`
            // the kernel would forget the peer first, and the end look like that of the listener.
            if let Some(other_end) = &other_end {
                let _ = rustix::net::send(other_end, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            }
            drop(accepted);
        }
    }

    /// The listener of a call, if it is one of the host's. It costs little where it is known already.
    fn listening(&mut self, call: &Notification) -> Option<Listening> {
        let (thread, descriptor) = (call.thread(), call.argument(0) as i32);
        let info = self.programs.info(thread, descriptor)?;
        let at = |inode, address: SocketAddr| {
            let blocks = info.flags & libc::O_NONBLOCK == 0;
            let who = Accepting { port: address.port(), thread, descriptor, blocks };
            Some(Listening { inode, address, who })
        };
        if let Some(address) = self.accepts.listeners.get(&info.inode) {
            return at(info.inode, *address);
        }
        let Held { socket, inode, .. } = self.programs.copy(thread, descriptor)?;
        if sockopt::socket_protocol(&socket).ok()? != Some(ipproto::TCP) || !sockopt::socket_acceptconn(&socket).ok()? {
            return None;
        }
        let address = getsockname(&socket).and_then(SocketAddr::try_from).ok()?;
        let network = sys::network_of(socket.as_fd()).ok()?;
        if self.plain(Family::of(address.ip()))?.network != network {
            return None;
        }
        if self.accepts.listeners.len() >= MOST_LISTENERS {
            self.accepts.listeners.clear();
        }
        self.accepts.listeners.insert(inode, address);
        at(inode, address)
    }

    /// `None` where the kernel is to do everything.
    fn asked(&mut self, call: &Notification, listening: &Listening) -> Option<Asked> {
        let flags = if call.call() == libc::SYS_accept { 0 } else { call.argument(3) as u32 };
        let flags = SocketFlags::from_bits(flags)?;
        if !(SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).contains(flags) {
            return None;
        }
        let wants = if call.argument(1) == 0 { None } else { Some(Wants::of(call)?) };
        let held = self.programs.copy(call.thread(), call.argument(0) as i32)?;
        let Listening { inode, address, who } = *listening;
        (held.inode == inode).then_some(Asked { held, address, who, flags, wants })
    }

    fn reset_strays(&mut self) {
        let is_old = |stray: &mut Stray| stray.since.elapsed() > STRAYS;
        self.accepts.strays.extract_if(.., is_old).for_each(|stray| sockets::reset(stray.connection.socket));
    }

    /// Takes the first connection in the queue. Another one may be faster, and the program may let the listener block
    /// meanwhile.
    fn take_inner(&mut self, asked: &Asked) -> Result<Connection, Errno> {
        if !has_connection(asked.held.socket.as_fd()) {
            return Err(Errno::AGAIN);
        }
        if self.accepts.alarm.is_none() {
            self.accepts.alarm = Some(Alarm::new().map_err(|_| Errno::NOMEM)?);
        }
        let alarm = self.accepts.alarm.as_ref().ok_or(Errno::NOMEM)?;
        let (socket, peer) = alarm.during(|| acceptfrom_with(&asked.held.socket, SocketFlags::CLOEXEC))?;
        Ok(Connection { socket, peer: peer.ok_or(Errno::CONNABORTED)? })
    }

    /// Gives the program a connection that was made inside for no client of ours.
    fn give_other(&mut self, call: &Notification, listener: BorrowedFd<'_>, asked: Asked, inner: Connection) -> bool {
        let Asked { held: Held { socket, inode, .. }, flags, wants, .. } = asked;
        drop(socket);
        match give(call, listener, &inner.socket, &inner.peer, flags, wants) {
            // The program has its own copy. Or it was killed, and the kernel would close it too.
            Ok(()) | Err(Failed::Gone) => {}
            Err(Failed::Before(errno)) => {
                self.accepts.strays.push(Stray { listener: inode, connection: inner, since: Instant::now() });
                call.answer(listener, &Err(errno.into()));
            }
            Err(Failed::Refused(errno)) => {
                self.accepts.refuses = true;
                call.answer(listener, &Err(errno.into()));
            }
            Err(Failed::Behind(errno)) => {
                drop(inner);
                call.answer(listener, &Err(errno.into()));
            }
        }
        true
    }

    /// Gives the program the client's own connection for the one inside. Where that can't be, the one inside, and the client
    /// is relayed.
    fn give_client(
        &mut self,
        call: &Notification,
        listener: BorrowedFd<'_>,
        asked: Asked,
        inner: Connection,
        client: HeldClient,
    ) -> bool {
        let is_prepared = self.prepare_client(&asked, &client).is_some();
        let Asked { held, who, flags, wants, .. } = asked;
        let pid = held.process;
        drop(held);
        let socket = if is_prepared { &client.socket } else { &inner.socket };
        match give(call, listener, socket, &inner.peer, flags, wants) {
            Ok(()) if is_prepared => {
                let other_end = self.outside.accepted(client, pid);
                self.accepts.finished = Some(Finished { accepted: inner.socket, other_end });
                true
            }
            Ok(()) => {
                self.outside.relay(client);
                true
            }
            Err(failed) => self.not_given(call, listener, who, inner, client, failed),
        }
    }

    /// A program did not get a client's connection, neither its own nor the one inside.
    fn not_given(
        &mut self,
        call: &Notification,
        listener: BorrowedFd<'_>,
        who: Accepting,
        inner: Connection,
        client: HeldClient,
        failed: Failed,
    ) -> bool {
        if let Failed::Behind(errno) = failed {
            let other_end = self.outside.dropped(client);
            self.accepts.finished = Some(Finished { accepted: inner.socket, other_end });
            call.answer(listener, &Err(errno.into()));
            return true;
        }
        if let Failed::Refused(_) = failed {
            // No client is held any more when the kernel goes on.
            self.accepts.refuses = true;
            self.outside.waits(who);
        }
        // A new connection inside makes the listener readable again.
        sockets::reset(inner.socket);
        self.outside.again(client);
        match failed {
            Failed::Before(errno) => call.answer(listener, &Err(errno.into())),
            Failed::Refused(_) => return false,
            Failed::Behind(_) | Failed::Gone => {}
        }
        true
    }

    /// Makes the client's connection what the program would have got of this listener. `None` if that can't be.
    fn prepare_client(&mut self, asked: &Asked, client: &HeldClient) -> Option<()> {
        let (family, socket) = (Family::of(asked.address.ip()), client.socket.as_fd());
        if Family::of(client.address.ip()) != family {
            return None;
        }
        // To be locked does not matter to a client that is relayed after all; the options would.
        if self.outside.has_policy() {
            lock::to_peer(socket, client.address).ok()?;
        }
        let extent = if self.sets_seldom { Extent::All } else { Extent::Often };
        let inode = asked.held.inode;
        let is_plain = self.accepts.plain.is_some_and(|(known, at)| known == inode && at.elapsed() < BELIEVED);
        if extent == Extent::All || !is_plain {
            // A connection inherits the options of the socket that listens, whose buffers nothing but the program has changed.
            let plain = &self.plain(family)?.options;
            let carried = plain.carry_over(extent, asked.held.socket.as_fd(), socket).ok()?;
            self.accepts.plain = (carried == 0).then(|| (inode, Instant::now()));
        }
        Some(())
    }
}

/// Whether a connection waits to be accepted.
fn has_connection(listener: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
    poll(&mut polled, Some(&now)).is_ok_and(|ready| ready > 0)
}
