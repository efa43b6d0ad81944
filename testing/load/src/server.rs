//! The answering side: some threads for connections, one for datagrams.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};
use rustix::event::epoll;

use crate::request::{DATAGRAM, MESSAGE, Request};

/// More than any client has connections at once.
const THREADS: usize = 8;

/// Datagrams received, by the number that they carry.
type Counts = Arc<Mutex<HashMap<u32, u64>>>;

/// Serves until the process is ended.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let counts = Counts::default();
    let datagrams = UdpSocket::bind(address).context("UDP")?;
    // As large as the system lets it be.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&datagrams, 4 << 20);
    let counting = Arc::clone(&counts);
    thread::spawn(move || count(&datagrams, &counting));

    let listener = TcpListener::bind(address).context("TCP")?;
    listener.set_nonblocking(true)?;
    // A server only confirms, which no congestion control governs; not every guest may choose one.
    let _ = rustix::net::sockopt::set_tcp_congestion(&listener, "cubic");
    // All accept: a thread for each connection would cost more than a short connection itself.
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| accept_all(&listener, &counts));
        }
    });
    Ok(())
}

/// Waits for a connection and then accepts it, as servers with an event loop do: nginx, Apache, PostgreSQL, Go, Node.js. The
/// kernel wakes one thread for each connection.
fn accept_all(listener: &TcpListener, counts: &Counts) -> Result<()> {
    let connections = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let wanted = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
    epoll::add(&connections, listener, epoll::EventData::new_u64(0), wanted)?;
    let mut event = [MaybeUninit::uninit()];
    loop {
        rustix::io::retry_on_intr(|| epoll::wait(&connections, &mut event, None).map(drop))?;
        match listener.accept() {
            // What goes wrong on one connection is seen by its client.
            Ok((stream, _)) => drop(answer(stream, counts)),
            // Another thread was faster.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn count(datagrams: &UdpSocket, counts: &Counts) {
    let mut buffer = [0; 2 * DATAGRAM];
    let (mut current, mut received) = (0, 0);
    while let Ok(length) = datagrams.recv(&mut buffer) {
        let Some(number) = buffer[..length].first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else { continue };
        if number != current {
            (current, received) = (number, 0);
        }
        received += 1;
        // Not at each one: the lock is for the reader's sake. The client ends with a few that complete the number.
        if received % 64 == 0 {
            counts.lock().expect("counts").insert(current, received);
        }
    }
}

fn answer(mut stream: TcpStream, counts: &Counts) -> Result<()> {
    stream.set_nodelay(true)?;
    match Request::read(&mut stream)? {
        Request::Upload => {
            let mut buffer = vec![0; 256 << 10];
            let mut total: u64 = 0;
            loop {
                match stream.read(&mut buffer)? {
                    0 => break,
                    length => total += length as u64,
                }
            }
            stream.write_all(&total.to_be_bytes())?;
        }
        Request::Exchange => while echo(&mut stream).is_ok() {},
        Request::Once => echo(&mut stream)?,
        Request::Count(number) => {
            let received = counts.lock().expect("counts").get(&number).copied().unwrap_or(0);
            stream.write_all(&received.to_be_bytes())?;
        }
    }
    Ok(())
}

fn echo(stream: &mut TcpStream) -> Result<()> {
    let mut message = [0; MESSAGE];
    stream.read_exact(&mut message)?;
    Ok(stream.write_all(&message)?)
}
