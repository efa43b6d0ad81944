//! What serves a flow: its sockets, and how their bytes are coupled.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use minato_host::sockets::{self, Cutting, Local};
use minato_ports::Port;
use minato_relay::{Coupling, Splice};
use minato_transport::{ConnectionId, IncomingId};

use super::lanes::Lane;

/// The sockets of one flow.
#[derive(Debug)]
pub(super) struct Sides {
    /// The flow waits in the queue of those to be pumped.
    pub(super) queued: bool,
    /// One side is dead, and the other one has not got everything yet.
    pub(super) dying: bool,
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
    Datagrams(DatagramSides),
    /// Inbound UDP.
    Forwarded(ForwardedSides),
}

/// What serves an outbound UDP flow.
#[derive(Debug)]
pub(super) struct DatagramSides {
    /// Connected to the target.
    pub(super) socket: OwnedFd,
    pub(super) cutting: Cutting,
    /// It has an error to tell.
    pub(super) failed: bool,
    /// Datagrams that come together are taken as one message. For a question and its answer that would be a system call for
    /// nothing.
    bulk: bool,
}

impl DatagramSides {
    pub(super) fn new(socket: OwnedFd) -> DatagramSides {
        DatagramSides { socket, cutting: Cutting::default(), failed: false, bulk: false }
    }

    /// Much comes at once.
    pub(super) fn expect_bulk(&mut self) {
        if !std::mem::replace(&mut self.bulk, true) {
            sockets::take_trains(self.socket.as_fd());
        }
    }
}

/// How far an outbound TCP flow is.
#[derive(Debug)]
pub(super) enum Stage {
    /// The machine's socket is being connected; the guest's SYN has no answer yet.
    Connecting { incoming: IncomingId },
    /// Both sides are connected.
    Relayed { connection: ConnectionId, coupling: Coupling },
}

/// The two sockets of an inbound TCP flow.
#[derive(Debug)]
pub(super) struct SplicedSides {
    /// Place of the forward, which is there as long as the flow is, until the host ends.
    pub(super) forward: Option<usize>,
    pub(super) client: OwnedFd,
    pub(super) service: OwnedFd,
    pub(super) splice: Splice,
    /// What is on its way, from the client and from the service.
    pub(super) lanes: [Lane; 2],
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
    /// Of that socket.
    pub(super) cutting_inside: Cutting,
    /// Of the way to the client.
    pub(super) cutting: Cutting,
    /// The machine's address that the client speaks to, if the forward is bound to several.
    pub(super) local: Option<Local>,
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
            Kind::Outbound { .. } | Kind::Datagrams(_) => 1,
            Kind::Spliced(_) => 2,
            Kind::Forwarded(sides) => usize::from(sides.inside.is_some()),
        }
    }

    /// How the service sees an inbound flow.
    pub(super) fn origin(&self) -> Option<&Origin> {
        match self {
            Kind::Spliced(sides) => Some(&sides.origin),
            Kind::Forwarded(sides) => Some(&sides.origin),
            Kind::Outbound { .. } | Kind::Datagrams(_) => None,
        }
    }
}

/// Makes the close of a socket send RST, whatever it still holds.
pub(super) fn reset_on_close(socket: BorrowedFd<'_>) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}
