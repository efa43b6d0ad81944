//! The programs of the demo: three small servers and a client, plain blocking sockets.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use minato_host::plain;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::report::Report;
use crate::commands::DONE;
use crate::failure::Failure;
use crate::flags::raw::{DemoPart, DemoRole};
use crate::program;
use crate::terminal::Terminal;

/// For how long a peer may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Plays one part.
pub(crate) fn part(part: &DemoPart, terminal: &Terminal) -> Result<u8, Failure> {
    program::rename(&format!("demo-{}", part.role.word()));
    let tell = |report: &Report| terminal.print(&format!("{}\n", serde_json::json!(report)));
    let played = match part.role {
        DemoRole::Client => client(part, &tell),
        role => serve(role, &part.place, &tell),
    };
    played.map(|()| DONE).map_err(|error| Failure::caused("this part of the demo failed", error))
}

fn serve(role: DemoRole, place: &str, tell: &impl Fn(&Report)) -> io::Result<()> {
    let port = place.parse().map_err(io::Error::other)?;
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = match TcpListener::bind(any) {
        // A kernel without IPv6.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
        bound => bound,
    };
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            tell(&Report::BindRefused { wanted: any, reason: error.to_string() });
            return Ok(());
        }
    };
    tell(&Report::Bound { local: listener.local_addr()? });
    std::thread::scope(|threads| {
        loop {
            let (stream, client) = listener.accept()?;
            tell(&Report::Accepted { client: plain(client), local: plain(stream.local_addr()?) });
            // A client that goes away in the middle is its own business.
            threads.spawn(move || converse(role, &stream, plain(client)));
        }
    })
}

fn converse(role: DemoRole, stream: &TcpStream, client: SocketAddr) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let local = plain(stream.local_addr()?);
    let where_to = format!("port {} of {}, process {}", local.port(), local.ip(), std::process::id());
    match role {
        DemoRole::Web => web(stream, &format!("You are {client}. You have reached {where_to}.\n")),
        DemoRole::Mail => greet(stream, &format!("minato demo mail server: {where_to}")),
        DemoRole::Files | DemoRole::Client => greet(stream, &format!("minato demo file server: {where_to}")),
    }
}

/// Answers one request (RFC 9112) and closes.
fn web(mut stream: &TcpStream, page: &str) -> io::Result<()> {
    let mut lines = BufReader::new(stream.take(16 * 1024)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let status = if request.contains(" HTTP/1.") { "200 OK" } else { "400 Bad Request" };
    if status == "200 OK" {
        // The rest of the head; closing with unread bytes would reset the connection (RFC 9112 §9.6).
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
    }
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n", page.len());
    stream.write_all(format!("{head}Connection: close\r\n\r\n{page}").as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)
}

/// Greets as SMTP (RFC 5321 §4.2) and FTP (RFC 959 §5.4) servers both do, and is polite until `QUIT`.
fn greet(mut stream: &TcpStream, greeting: &str) -> io::Result<()> {
    stream.write_all(format!("220 {greeting}\r\n").as_bytes())?;
    for line in BufReader::new(stream).lines() {
        let line = line?.to_ascii_uppercase();
        let answer = match line.split_whitespace().next() {
            Some("QUIT") => {
                stream.write_all(b"221 Goodbye\r\n")?;
                break;
            }
            Some("HELO" | "EHLO") => "250 Hello",
            _ => "502 This server only greets; try QUIT",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}

/// Opens connections, has all of them open at once, talks on each, closes and looks whether the ports are free.
fn client(part: &DemoPart, tell: &impl Fn(&Report)) -> io::Result<()> {
    let destination: SocketAddr = part.place.parse().map_err(io::Error::other)?;
    let mut streams = Vec::new();
    for _ in 0..part.parallel {
        match connect(destination, part.source_port) {
            Ok(stream) => {
                tell(&Report::Connected { source: stream.local_addr()? });
                streams.push(stream);
            }
            Err(error) => {
                let wanted = SocketAddr::from((Ipv4Addr::UNSPECIFIED, part.source_port.unwrap_or_default()));
                tell(&Report::BindRefused { wanted, reason: error.to_string() });
            }
        }
    }
    for mut stream in &streams {
        stream.write_all(question(part.speaks.unwrap_or(DemoRole::Web)))?;
    }
    for mut stream in streams {
        let source = stream.local_addr()?;
        let mut answer = String::new();
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_to_string(&mut answer)?;
        tell(&Report::Answered { source, text: telling_line(&answer).to_owned() });
        drop(stream);
        tell(&Report::Released { source, after_micros: time_until_free(source) });
    }
    Ok(())
}

fn connect(destination: SocketAddr, source_port: Option<u16>) -> io::Result<TcpStream> {
    let Some(port) = source_port else { return TcpStream::connect_timeout(&destination, PATIENCE) };
    let socket = bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
    rustix::net::connect(&socket, &destination)?;
    Ok(socket.into())
}

/// Binds without `SO_REUSEADDR`, so that it succeeds only where nothing at all holds the port.
fn bind(address: SocketAddr) -> io::Result<std::os::fd::OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// What a client of each service says, in full: the server closes after its answer.
fn question(service: DemoRole) -> &'static [u8] {
    match service {
        DemoRole::Web => b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n",
        _ => b"QUIT\r\n",
    }
}

/// The status line where the answer is none of `200 OK`, else the first line of the page; a greeting's first line.
fn telling_line(answer: &str) -> &str {
    let (head, page) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let text = if head.contains(" 200 ") { page } else { head };
    text.lines().next().unwrap_or_default()
}

/// Microseconds until a port that was just closed can be bound.
fn time_until_free(source: SocketAddr) -> Option<u64> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        if bind(source).is_ok() {
            return u64::try_from(started.elapsed().as_micros()).ok();
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    None
}
