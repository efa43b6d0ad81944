//! Mechanism 3: a relay inside the service's namespace that keeps the client's address.
#![allow(clippy::disallowed_methods)]

mod common;

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use common::{World, in_worlds, listener};
use minato_host::{
    Family,
    agent::{HostNamespace, InsideSocket},
    sockets::{Failure, bind_and_connect, take_error},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Clients that no interface of the host has: outside, the gateway, and (as a forward's client on the machine would
/// have, had it none of ours) any port below 1024.
const CLIENTS: [&str; 6] = [
    "198.51.100.7:40000",
    "10.77.0.1:1023",
    "203.0.113.255:65535",
    "[2001:db8::7]:40000",
    "[fd77::1]:1023",
    "[2001:db8:1::ffff]:65535",
];

#[test]
fn the_service_sees_the_client() {
    in_worlds("the_service_sees_the_client", || {
        let world = World::new();
        let host = world.host(2);
        for (bind, destinations) in [
            ("0.0.0.0:0", ["10.77.0.2", "127.0.0.1"].as_slice()),
            ("10.77.0.2:0", &["10.77.0.2"]),
            ("127.0.0.1:0", &["127.0.0.1"]),
            ("[::]:0", &["fd77::2", "::1", "10.77.0.2"]),
            ("[fd77::2]:0", &["fd77::2"]),
            ("[::1]:0", &["::1"]),
        ] {
            for destination in destinations {
                let destination: IpAddr = destination.parse().unwrap();
                for client in CLIENTS.iter().map(|client| client.parse::<SocketAddr>().unwrap()) {
                    if client.is_ipv4() == destination.is_ipv4() {
                        exchange(&world, &host, bind.parse().unwrap(), destination, client);
                    }
                }
            }
        }
    });
}

/// A connection with a service bound to `bind` sees `client`, carries bytes both ways and ends properly.
fn exchange(world: &World, host: &HostNamespace, bind: SocketAddr, destination: IpAddr, client: SocketAddr) {
    let what = format!("{client} to {destination}, service on {bind}");
    let listener = listener(world, host, bind);
    let service = SocketAddr::new(destination, listener.local_addr().unwrap().port());
    let socket = transparent(world, host, client);
    bind_and_connect(socket.as_fd(), client, service).unwrap_or_else(|failure| panic!("{what}: {failure}"));
    wait(&socket);
    assert_eq!(take_error(socket.as_fd()), None, "{what}");

    listener.set_nonblocking(true).unwrap();
    let (mut accepted, seen) = listener.accept().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(SocketAddr::new(seen.ip().to_canonical(), seen.port()), client, "{what}");
    let mut relay = TcpStream::from(socket);
    relay.set_nonblocking(false).unwrap();
    accepted.set_nonblocking(false).unwrap();
    for stream in [&relay, &accepted] {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    }
    let bulk: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    let sent = bulk.clone();
    let writer = std::thread::spawn(move || {
        relay.write_all(&sent).unwrap();
        relay.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        relay.read_to_string(&mut answer).unwrap();
        answer
    });
    let mut received = Vec::new();
    accepted.read_to_end(&mut received).unwrap();
    assert!(received == bulk, "{what}");
    accepted.write_all(b"thank you").unwrap();
    drop(accepted);
    assert_eq!(writer.join().unwrap(), "thank you", "{what}");
}

#[test]
fn a_refusal_comes_at_once() {
    in_worlds("a_refusal_comes_at_once", || {
        let world = World::new();
        let host = world.host(2);
        for client in CLIENTS.iter().map(|client| client.parse::<SocketAddr>().unwrap()) {
            let services =
                if client.is_ipv4() { ["10.77.0.2:81", "127.0.0.1:81"] } else { ["[fd77::2]:81", "[::1]:81"] };
            for service in services {
                let socket = transparent(&world, &host, client);
                let start = Instant::now();
                bind_and_connect(socket.as_fd(), client, service.parse().unwrap()).unwrap();
                wait(&socket);
                assert_eq!(take_error(socket.as_fd()), Some(Failure::Refused), "{client} to {service}");
                // A SYN that nobody had answered would be sent again after a second.
                assert!(start.elapsed() < Duration::from_millis(900), "{client} to {service}: {:?}", start.elapsed());
            }
        }
    });
}

#[test]
fn one_client_port_reaches_two_services() {
    in_worlds("one_client_port_reaches_two_services", || {
        let world = World::new();
        let host = world.host(2);
        let listeners = ["0.0.0.0:80", "0.0.0.0:81"].map(|address| listener(&world, &host, address.parse().unwrap()));
        let client: SocketAddr = "198.51.100.7:40000".parse().unwrap();
        let mut sockets = Vec::new();
        for port in [80, 81] {
            let socket = transparent(&world, &host, client);
            bind_and_connect(socket.as_fd(), client, SocketAddr::new("10.77.0.2".parse().unwrap(), port)).unwrap();
            sockets.push(socket);
        }
        for listener in listeners {
            assert_eq!(listener.accept().unwrap().1, client);
        }
    });
}

/// The client's connection comes a second time from the same port, right after the first has ended.
#[test]
fn a_client_port_can_be_used_again() {
    in_worlds("a_client_port_can_be_used_again", || {
        let world = World::new();
        let host = world.host(2);
        let listener = listener(&world, &host, "0.0.0.0:80".parse().unwrap());
        let client: SocketAddr = "198.51.100.7:40000".parse().unwrap();
        // Either end may be the one to close first, and so to keep TIME-WAIT.
        for service_first in [true, false, true, true, false, false] {
            let socket = transparent(&world, &host, client);
            bind_and_connect(socket.as_fd(), client, "10.77.0.2:80".parse().unwrap()).unwrap();
            let (accepted, seen) = listener.accept().unwrap();
            assert_eq!(seen, client);
            if service_first {
                drop(accepted);
                std::thread::sleep(Duration::from_millis(20));
                drop(socket);
            } else {
                minato_host::sockets::shutdown_write(socket.as_fd()).unwrap();
                std::thread::sleep(Duration::from_millis(20));
                drop(accepted);
                std::thread::sleep(Duration::from_millis(if has_reuse_delay() { 20 } else { 1100 }));
            }
        }
    });
}

fn has_reuse_delay() -> bool {
    std::path::Path::new("/proc/sys/net/ipv4/tcp_tw_reuse_delay").exists()
}

fn transparent(world: &World, host: &HostNamespace, client: SocketAddr) -> OwnedFd {
    let kind = InsideSocket::TransparentStream;
    world.fabric.sockets(&host.name, kind, Family::of(client.ip()), 1).unwrap().remove(0)
}

/// Waits until a connection is decided, at most a minute.
fn wait(socket: &OwnedFd) {
    let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&timeout)).unwrap();
    assert_eq!(ready, 1, "the connection is not decided");
}
