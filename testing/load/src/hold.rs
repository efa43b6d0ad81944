//! Sockets that are there and do nothing, for those who list them.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};

/// Longest time.
const BOUND: Duration = Duration::from_secs(600);

/// Binds so many sockets at loopback, half of them TCP, says that it has them, and stays until it is killed.
pub(crate) fn hold(count: usize) -> Result<()> {
    let tcp = (0..count / 2).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>();
    let tcp = tcp.context("TCP sockets; ulimit -n?")?;
    let udp = (0..count - tcp.len()).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>();
    let udp = udp.context("UDP sockets; ulimit -n?")?;
    println!("ready");
    std::io::stdout().flush()?;
    std::thread::sleep(BOUND);
    drop((tcp, udp));
    Ok(())
}
