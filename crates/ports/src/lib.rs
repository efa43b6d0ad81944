//! Port numbers: what a port is, who may bind which, which one a client gets, and what its number is registered for.
//!
//! - [`Port`], [`PortRange`], [`Transport`] and [`PortClass`] are the vocabulary.
//! - [`registry`] knows what each number is registered for, and each name's number.
//! - [`PortArgument`], [`ForwardArgument`] and [`EgressRule`] read what people type.
//! - [`PortTable`] decides who may bind which address and port, with the verdict of Linux's `bind(2)` and `listen(2)`.
//! - [`EphemeralAllocator`] picks the source port of an outgoing connection: uniformly among the free ones, in constant
//!   time at any fill.
//!
//! Nothing here opens a socket, reads a clock or asks the system for randomness: time and randomness are arguments.
#![forbid(unsafe_code)]

mod ephemeral;
mod parse;
mod port;
mod range;
pub mod registry;
mod table;
mod transport;

pub use ephemeral::{AllocateError, EphemeralAllocator, Selection};
pub use parse::{
    EgressRule, EgressTarget, ForwardArgument, NamePattern, ParseError, ParseErrorKind, PortArgument, Prefix,
};
pub use port::{Port, PortClass};
pub use range::{PortRange, PortRangeError, Ports};
pub use table::{
    BindAddress, BindRequest, Binding, Family, Holder, PortTable, Reservation, ReservationId, ReserveError, SocketState,
};
pub use transport::Transport;
