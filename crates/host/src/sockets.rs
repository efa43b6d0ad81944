//! Sockets of the machine: forwards' ports, outbound connections, ping, pipes for splice.
//!
//! Everything here is non-blocking and close-on-exec. New sockets live in the caller's network namespace.

mod addressed;
mod failure;
mod held;
mod inbox;
mod lease;
mod message;
mod ping;
mod splice;
mod stream;
mod train;
mod udp;

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use self::{
    addressed::{Local, send_from},
    failure::Failure,
    held::{Accepted, HeldPort, HoldError, first_unprivileged_port, udp_bind},
    inbox::{Arrived, Inbox, take_trains},
    lease::{LeasedPort, listening_ports},
    ping::{PING_OVERHEAD, PingSocket, Pong},
    splice::{Pipe, PipePool, Spliced, splice_in, splice_out},
    stream::{
        Transfer, bind_and_connect, connect, connect_with, connecting_socket, discard, is_delivering, narrow_if_near,
        prepare_accepted, receive, reset, send, shutdown_write, take_error, widen,
    },
    train::{Cutting, Train, send_train_from, udp_send_train},
    udp::{send_to, udp_connect, udp_receive, udp_send},
};

pub(crate) use self::stream::{prepare, tcp_state};

/// Raises the limit of open files to the hard limit and returns it.
///
/// # Errors
/// The kernel's reason.
pub fn raise_file_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
