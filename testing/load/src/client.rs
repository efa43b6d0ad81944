//! The measuring side.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::request::{DATAGRAM, MESSAGE, MOST_BYTES, Request};

/// A path that moves nothing for so long has stalled.
const STALL: Duration = Duration::from_secs(5);

/// Gbit/s for `bulk-1` and `bulk-4`, transactions per second for `exchange` and `connect`, datagrams per second
/// delivered for `datagrams`.
pub(crate) fn measure(address: SocketAddr, row: &str, duration: Duration) -> Result<f64> {
    match row {
        "bulk-1" => bulk(address, duration, 1),
        "bulk-4" => bulk(address, duration, 4),
        "exchange" => exchange(address, duration),
        "connect" => connect(address, duration),
        "datagrams" => datagrams(address, duration),
        _ => bail!("no such row: {row}"),
    }
}

fn bulk(address: SocketAddr, duration: Duration, streams: usize) -> Result<f64> {
    let start = Instant::now();
    let uploads: Vec<_> = (0..streams).map(|_| thread::spawn(move || upload(address, duration))).collect();
    let mut bytes = 0;
    for upload in uploads {
        bytes += upload.join().expect("an upload")?;
    }
    Ok(bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9)
}

/// The bytes that arrived.
fn upload(address: SocketAddr, duration: Duration) -> Result<u64> {
    let mut stream = open(address, Request::Upload)?;
    let block = vec![0x5a; 128 << 10];
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < duration && sent < MOST_BYTES {
        stream.write_all(&block).context("upload")?;
        sent += block.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let received = read_number(&mut stream)?;
    if received != sent {
        bail!("{received} of {sent} bytes arrived");
    }
    Ok(received)
}

fn exchange(address: SocketAddr, duration: Duration) -> Result<f64> {
    let mut stream = open(address, Request::Exchange)?;
    let (start, mut transactions) = (Instant::now(), 0);
    while start.elapsed() < duration {
        ask(&mut stream)?;
        transactions += 1;
    }
    Ok(f64::from(transactions) / start.elapsed().as_secs_f64())
}

fn connect(address: SocketAddr, duration: Duration) -> Result<f64> {
    let (start, mut transactions) = (Instant::now(), 0);
    while start.elapsed() < duration {
        let mut stream = open(address, Request::Once)?;
        ask(&mut stream)?;
        if stream.read(&mut [0])? != 0 {
            bail!("more than the answer");
        }
        transactions += 1;
    }
    Ok(f64::from(transactions) / start.elapsed().as_secs_f64())
}

fn datagrams(address: SocketAddr, duration: Duration) -> Result<f64> {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(address)?;
    let number = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
    let mut datagram = [0x5a; DATAGRAM];
    datagram[..4].copy_from_slice(&number.to_be_bytes());
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < duration && sent * (DATAGRAM as u64) < MOST_BYTES {
        // A full queue or a passing refusal costs this datagram, as it would cost any sender.
        let _ = socket.send(&datagram);
        sent += 1;
    }
    let elapsed = start.elapsed();
    thread::sleep(Duration::from_millis(300));
    let received = read_number(&mut open(address, Request::Count(number))?)?;
    if received == 0 {
        bail!("none of {sent} datagrams arrived");
    }
    Ok(received as f64 / elapsed.as_secs_f64())
}

fn open(address: SocketAddr, request: Request) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3)).context("connect")?;
    rustix::net::sockopt::set_tcp_congestion(&stream, "cubic").context("cubic")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    request.write(&mut stream)?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream) -> Result<()> {
    let mut message = [0x5a; MESSAGE];
    stream.write_all(&message).context("request")?;
    stream.read_exact(&mut message).context("response")
}

fn read_number(stream: &mut TcpStream) -> Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes).context("the server's count")?;
    Ok(u64::from_be_bytes(bytes))
}
