//! Sockets that are there and do nothing.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::{AddressFamily, SocketType, ipproto, socket};

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

/// How many milliseconds it takes to make a TCP socket for each of these ports at 127.0.0.1 and to bind it: two system
/// calls each, and no program that holds a port can do with fewer.
pub(crate) fn bind(first: u16, last: u16) -> Result<f64> {
    let start = Instant::now();
    let sockets = (first..=last).map(|port| {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP))?;
        rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        Ok(socket)
    });
    let sockets = sockets.collect::<rustix::io::Result<Vec<_>>>().context("TCP sockets; ulimit -n?")?;
    let elapsed = start.elapsed();
    drop(sockets);
    Ok(elapsed.as_secs_f64() * 1e3)
}
