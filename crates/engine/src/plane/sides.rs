//! What serves a flow: its sockets, and how their bytes are coupled.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use minato_host::sockets::{self, Failure, Pipe, PipePool, Spliced};
use minato_ports::Port;
use minato_relay::{Coupling, Pipeline, Side, Socket, Splice, Transfer};
use minato_transport::{ConnectionId, IncomingId, RECEIVE_CHUNKS};
use rustix::io::{Errno, IoSlice};
use rustix::net::{RecvFlags, Shutdown};

/// The sockets of one flow.
#[derive(Debug)]
pub(super) struct Sides {
    /// The flow waits in the queue of those to be pumped.
    pub(super) queued: bool,
    pub(super) kind: Kind,
}

/// What kind of flow it is.
#[derive(Debug)]
pub(super) enum Kind {
    /// Outbound TCP, with the machine's socket.
    Outbound { socket: OwnedFd, stage: Stage },
    /// Inbound TCP: the client's socket and one inside the host.
    Spliced(Box<SplicedSides>),
    /// Outbound UDP.
    Datagrams { socket: OwnedFd },
    /// Inbound UDP.
    Forwarded(ForwardedSides),
}

/// How far an outbound TCP flow is.
#[derive(Debug)]
pub(super) enum Stage {
    /// The machine's socket is being connected; the guest's SYN has no answer yet.
    Connecting {
        incoming: IncomingId,
        /// Which of the machine's resolvers is tried, for flows to port 53 of the gateway.
        resolver: Option<usize>,
    },
    /// Both sides are connected.
    Relayed { connection: ConnectionId, coupling: Coupling },
}

/// The two sockets of an inbound TCP flow.
#[derive(Debug)]
pub(super) struct SplicedSides {
    /// Place of the forward, which is there as long as the flow is.
    pub(super) forward: usize,
    pub(super) client: OwnedFd,
    pub(super) service: OwnedFd,
    pub(super) splice: Splice,
    pub(super) pipes: [Option<Pipe>; 2],
    pub(super) origin: Origin,
}

/// What serves an inbound UDP flow.
#[derive(Debug)]
pub(super) struct ForwardedSides {
    /// Place of the forward, whose socket answers go out of.
    pub(super) forward: usize,
    pub(super) origin: Origin,
    /// A socket inside the host, for services that are bound to its loopback only.
    pub(super) inside: Option<OwnedFd>,
}

/// Where an inbound flow seems to come from, for its service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The client's address, or the gateway's for clients that the host can't address.
    pub(super) seen_as: SocketAddr,
    /// The service, as connected to.
    pub(super) service: SocketAddr,
    /// The ephemeral port at the gateway that was allocated for it.
    pub(super) allocated: Option<Port>,
    /// Serial number of the host.
    pub(super) host: u32,
}

impl Kind {
    /// How many file descriptors a flow of this kind holds while idle.
    pub(super) fn descriptors(&self) -> usize {
        match self {
            Kind::Outbound { .. } | Kind::Datagrams { .. } => 1,
            Kind::Spliced(_) => 2,
            Kind::Forwarded(sides) => usize::from(sides.inside.is_some()),
        }
    }

    /// How the service sees an inbound flow.
    pub(super) fn origin(&self) -> Option<&Origin> {
        match self {
            Kind::Spliced(sides) => Some(&sides.origin),
            Kind::Forwarded(sides) => Some(&sides.origin),
            Kind::Outbound { .. } | Kind::Datagrams { .. } => None,
        }
    }
}

/// Makes the close of a socket send RST, whatever it still holds.
pub(super) fn reset_on_close(socket: BorrowedFd<'_>) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// A socket of the machine as the far side of a coupling.
#[derive(Debug)]
pub(super) struct FarSide<'a>(pub(super) BorrowedFd<'a>);

impl Socket for FarSide<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Transfer {
        match rustix::net::recv(self.0, buffer, RecvFlags::empty()) {
            Ok((0, _)) => Transfer::Ended,
            Ok((count, _)) => Transfer::Moved(count),
            Err(Errno::AGAIN | Errno::INTR) => Transfer::Blocked,
            Err(_) => Transfer::Failed,
        }
    }

    fn write(&mut self, chunks: [&[u8]; RECEIVE_CHUNKS]) -> Transfer {
        match rustix::io::writev(self.0, &chunks.map(IoSlice::new)) {
            Ok(count) => Transfer::Moved(count),
            Err(Errno::AGAIN | Errno::INTR) => Transfer::Blocked,
            Err(_) => Transfer::Failed,
        }
    }

    fn end(&mut self) {
        let _ = rustix::net::shutdown(self.0, Shutdown::Write);
    }

    fn reset(&mut self) {
        reset_on_close(self.0);
    }
}

/// Two sockets with their pipes, as a splice wants them.
#[derive(Debug)]
pub(super) struct Pipes<'a> {
    pub(super) sockets: [BorrowedFd<'a>; 2],
    pub(super) pipes: &'a mut [Option<Pipe>; 2],
    pub(super) pool: &'a mut PipePool,
    /// A pipe was wanted and none could be had: the flow has to be pumped again without an event.
    pub(super) starved: bool,
}

impl Pipes<'_> {
    fn source(&self, from: Side) -> BorrowedFd<'_> {
        self.sockets[place(from)]
    }

    fn sink(&self, from: Side) -> BorrowedFd<'_> {
        self.sockets[place(from.other())]
    }
}

fn place(side: Side) -> usize {
    usize::from(side == Side::Target)
}

fn transfer(spliced: Result<Spliced, Failure>) -> Transfer {
    match spliced {
        Ok(Spliced::Moved(count)) => Transfer::Moved(count),
        Ok(Spliced::End) => Transfer::Ended,
        Ok(Spliced::WouldBlock) => Transfer::Blocked,
        Err(_) => Transfer::Failed,
    }
}

impl Pipeline for Pipes<'_> {
    fn fill(&mut self, from: Side) -> Transfer {
        let pipe = self.pipes[place(from)].take().map_or_else(|| self.pool.take(), Ok);
        let Ok(mut pipe) = pipe else {
            self.starved = true;
            return Transfer::Blocked;
        };
        let transfer = transfer(sockets::splice_in(self.source(from), &mut pipe));
        self.pipes[place(from)] = Some(pipe);
        transfer
    }

    fn drain(&mut self, from: Side, _count: usize) -> Transfer {
        let Some(mut pipe) = self.pipes[place(from)].take() else { return Transfer::Failed };
        let transfer = transfer(sockets::splice_out(&mut pipe, self.sink(from)));
        self.pipes[place(from)] = Some(pipe);
        transfer
    }

    fn release(&mut self, from: Side) {
        if let Some(pipe) = self.pipes[place(from)].take() {
            self.pool.give(pipe);
        }
    }

    fn end(&mut self, from: Side) {
        let _ = rustix::net::shutdown(self.sink(from), Shutdown::Write);
    }

    fn reset(&mut self) {
        self.sockets.iter().for_each(|socket| reset_on_close(socket.as_fd()));
    }
}
