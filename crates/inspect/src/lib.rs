//! Plain serde types of everything minato's API shows.
//!
//! One type per thing that is seen (network, host, process, bound port, flow, forward) or asked for, and one for
//! what went wrong ([`Problem`]). No logic: the engine fills them in, the command line and other clients render them.
//! The JSON form is stable within [`API_VERSION`]; fields are added, never renamed or removed.
#![forbid(unsafe_code)]

mod egress;
mod event;
mod flow;
mod forward;
mod guest;
mod host;
mod network;
mod policy;
mod port;
mod problem;
mod session;

pub use egress::{EgressRefusal, EgressVerdict};
pub use event::{BoundSocket, Event, ForwardChange, Happening};
pub use flow::{Endpoint, Flow, FlowState};
pub use forward::{Forward, ForwardRequest, ForwardSpec, ForwardState};
pub use guest::{GuestEvent, GuestRequest, Joined, Named, Offers};
pub use host::{Host, Process};
pub use network::{Collision, Network};
pub use policy::{Policy, PolicyDefault};
pub use port::{AcceptQueue, PortClass, PortRow, Transport, Unknown};
pub use problem::{Holder, Problem, ProblemKind};
pub use session::{Enter, ExecRequest, HostRequest, SessionEnd, SessionEvent, SessionId};

/// Version of the control API; the first segment of every path (`/v1/…`).
pub const API_VERSION: &str = "v1";
