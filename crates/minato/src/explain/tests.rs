//! Facts go in, and what is said about them comes out.

mod candidates;
mod forwards;
mod hosts;
mod machine;
mod meanings;
mod policies;
mod proxied;
mod silence;
mod targets;
mod world;

use minato_inspect::ForwardState;

use super::facts::{Network, Subject};
use super::probe::Outcome;
use crate::render::samples;
use world::World;
