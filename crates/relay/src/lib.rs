//! Flow table, forwarding rules and the coupling of a flow's two sides.
//!
//! A *flow* is a conversation between two sockets; it has an initiating and a target side. This crate decides what
//! the target of a flow is ([`Rules`], [`Services`]) and whether a host may reach it ([`Egress`]), keeps the flows with their life cycle and counters
//! ([`FlowTable`], [`IdleQueue`]), and moves bytes, ends and resets from one side to the other ([`Coupling`],
//! [`Splice`]). It owns no socket and no clock: the engine does, and lends them through small traits.
#![forbid(unsafe_code)]

mod coupling;
mod egress;
mod flow;
mod idle;
mod lifecycle;
mod near;
mod rules;
mod service;
mod splice;

pub use coupling::{Coupling, Memory, Progress, Socket, Transfer, Verdict};
pub use egress::{Destination, Egress, EgressRefusal, Verdict as EgressVerdict};
pub use flow::{Counters, Flow, FlowId, FlowTable, TableFull};
pub use idle::IdleQueue;
pub use lifecycle::{IllegalOperation, Lifecycle, Operation, Side};
pub use near::StackSide;
pub use rules::{DOMAIN, Network, Refusal, Rules, Target};
pub use service::{Listener, Reach, Services};
pub use splice::{Pipeline, Splice, Spliced};
