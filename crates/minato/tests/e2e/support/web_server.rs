//! A web server that tells what it was asked, sets a cookie, and echoes WebSocket messages.

use crate::machine::{Account, Program};

pub(crate) const SERVER: &str = include_str!("web_server.py");

/// Starts it in a host of network `shop`.
pub(crate) fn web_server(user: &Account<'_>, host: &str, port: u16) -> Program {
    user.run(&["--network", "shop", "--name", host], &["python3", "-c", SERVER, &port.to_string(), host])
}
