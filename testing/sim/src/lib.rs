//! A simulated network for tests: stacks, links with faults, and a clock that only the simulation moves.
//!
//! A [`World`] is built from one seed, which decides everything that happens in it. Hosts play scripts ([`Step`]) over
//! their connections, every byte that arrives is compared with the byte that was sent, and a run that makes no progress
//! ends in a panic that names the seed. See docs/theory/simulator.md.
#![forbid(unsafe_code)]

mod clock;
mod content;
mod endpoint;
mod link;
mod packet;
mod random;
mod report;
mod trace;
mod world;

pub use endpoint::Step;
pub use link::{Arrival, Delivery, DropReason, Link, LinkConfig, LinkStatistics, Loss};
pub use packet::Medium;
pub use random::{Random, mix};
pub use report::{Flow, Outcome, Report, jain};
pub use trace::Trace;
pub use world::{Bounds, HostConfig, LinkId, NodeId, Opening, World, seed};
