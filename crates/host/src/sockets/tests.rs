use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt,
};

use super::*;
use crate::Family;

mod trains;

const ADDRESSES: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

fn wait(socket: impl AsFd, flags: PollFlags) {
    let timeout = Timespec { tv_sec: 3, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&socket, flags)], Some(&timeout)).unwrap(), 1, "nothing happens");
}

/// Connects with our own call and says how it came out.
fn try_connect(remote: SocketAddr) -> Result<OwnedFd, Failure> {
    let socket = connect(remote)?;
    wait(&socket, PollFlags::OUT);
    take_error(socket.as_fd()).map_or(Ok(socket), Err)
}

#[test]
fn a_connection_on_this_machine_is_decided_within_the_call() {
    for address in ADDRESSES {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let remote = listener.local_addr().unwrap();
        // Where the queue of those that wait to be accepted is full, an opening has no answer.
        rustix::net::listen(&listener, 0).unwrap();
        let open = || {
            let socket = connecting_socket(Family::of(remote.ip())).unwrap();
            (connect_with(socket.as_fd(), remote), socket)
        };
        let (first, mut socket) = open();
        assert_eq!(first, Ok(true));
        assert_eq!(send(socket.as_fd(), &[std::io::IoSlice::new(b"hello")]), Ok(Transfer::Moved(5)));
        let mut others = Vec::new();
        let undecided = (0..8).any(|_| {
            let (opened, other) = open();
            others.push(other);
            opened == Ok(false)
        });
        assert!(undecided, "all of {} are connected", others.len() + 1);
        drop(listener);
        (_, socket) = open();
        assert_eq!(connect_with(socket.as_fd(), remote), Err(Failure::Refused), "asked twice");
        assert_eq!(open().0, Err(Failure::Refused));
    }
}

/// Tries to take the address as a server does, with `SO_REUSEADDR`.
fn steal(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address)
}

#[test]
fn refusal_follows_listening_and_the_port_stays_held() {
    for address in ADDRESSES {
        let Ok(held) = HeldPort::hold(address.parse().unwrap()) else { continue };
        let address = held.local_address().unwrap();
        let mut connections = Vec::new();
        for _ in 0..3 {
            assert_eq!(try_connect(address).unwrap_err(), Failure::Refused);
            assert!(steal(address).is_err(), "held, not listening");
            held.listen(16).unwrap();
            assert!(steal(address).is_err(), "listening");
            // Connections of before stay open over the next rounds.
            let client = try_connect(address).unwrap();
            wait(&held, PollFlags::IN);
            let Accepted::Connection(server, _) = held.accept().unwrap() else { panic!("no connection") };
            connections.push((client, server));
            assert!(matches!(held.accept().unwrap(), Accepted::None));
            held.unlisten().unwrap();
            assert_eq!(try_connect(address).unwrap_err(), Failure::Refused);
            assert!(steal(address).is_err(), "held again");
        }
        for (client, server) in connections {
            let (mut client, mut server) = (TcpStream::from(client), TcpStream::from(server));
            client.set_nonblocking(false).unwrap();
            client.write_all(b"still").unwrap();
            drop(client);
            server.set_nonblocking(false).unwrap();
            let mut text = String::new();
            server.read_to_string(&mut text).unwrap();
            assert_eq!(text, "still");
        }
    }
}

#[test]
fn unlisten_resets_what_waits_in_the_queue() {
    let held = HeldPort::hold("127.0.0.1:0".parse().unwrap()).unwrap();
    held.unlisten().unwrap();
    held.listen(16).unwrap();
    let client = try_connect(held.local_address().unwrap()).unwrap();
    held.unlisten().unwrap();
    wait(&client, PollFlags::IN);
    assert_eq!(receive(client.as_fd(), &mut [0; 10]), Err(Failure::Reset));
    assert!(matches!(held.accept().unwrap(), Accepted::None));
}

/// A forward that starts again finds its port full of TIME-WAIT, and holds it all the same.
#[test]
fn holds_a_port_with_remains_of_old_connections() {
    let held = HeldPort::hold("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_address().unwrap();
    held.listen(16).unwrap();
    let client = try_connect(address).unwrap();
    wait(&held, PollFlags::IN);
    let Accepted::Connection(..) = held.accept().unwrap() else { panic!("no connection") };
    wait(&client, PollFlags::IN);
    drop((client, held));
    // The server closed first: its port is in TIME-WAIT.
    let held = HeldPort::hold(address).unwrap();
    assert_eq!(try_connect(address).unwrap_err(), Failure::Refused);
    assert!(steal(address).is_err());
    held.listen(16).unwrap();
    try_connect(address).unwrap();
}

#[test]
fn a_port_in_use_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert!(matches!(HeldPort::hold(address), Err(HoldError::InUse(at)) if at == address));
    let held = HeldPort::hold("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_address().unwrap();
    assert!(matches!(HeldPort::hold(address), Err(HoldError::InUse(_))));
    let foreign = "192.0.2.77:0".parse().unwrap();
    assert!(matches!(HeldPort::hold(foreign), Err(HoldError::NoSuchAddress(at)) if at == foreign));
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(matches!(udp_bind(udp.local_addr().unwrap()), Err(HoldError::InUse(_))));
}

/// Both families of one port: an IPv6 wildcard of ours leaves IPv4 alone.
#[test]
fn families_are_held_apart() {
    let v4 = HeldPort::hold("0.0.0.0:0".parse().unwrap()).unwrap();
    let port = v4.local_address().unwrap().port();
    let Ok(v6) = HeldPort::hold(SocketAddr::new("::".parse().unwrap(), port)) else { return };
    v6.listen(1).unwrap();
    assert_eq!(try_connect(SocketAddr::new("127.0.0.1".parse().unwrap(), port)).unwrap_err(), Failure::Refused);
    try_connect(SocketAddr::new("::1".parse().unwrap(), port)).unwrap();
}

#[test]
fn reset_reaches_the_peer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = try_connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    reset(client);
    assert_eq!(server.read(&mut [0; 10]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

/// A port that nobody is bound to, and a socket that is connected to it.
fn into_the_void() -> (SocketAddr, OwnedFd) {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    (closed, udp_connect(closed).unwrap())
}

#[test]
fn udp_refusal_is_told_and_cleared() {
    let (_, socket) = into_the_void();
    udp_send(socket.as_fd(), b"anybody?").unwrap();
    wait(&socket, PollFlags::IN);
    assert_eq!(take_error(socket.as_fd()), Some(Failure::Refused));
    assert_eq!(take_error(socket.as_fd()), None);
    let timeout = Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&timeout)).unwrap(), 0, "no error is left");
}

#[test]
fn udp_goes_both_ways() {
    for address in ADDRESSES {
        let Ok(server) = udp_bind(address.parse().unwrap()) else { continue };
        let remote = rustix::net::getsockname(&server).unwrap().try_into().unwrap();
        let client = udp_connect(remote).unwrap();
        udp_send(client.as_fd(), b"ping").unwrap();
        let (mut buffer, mut inbox) = ([0; 100], Inbox::default());
        assert_eq!(inbox.receive(server.as_fd()), Ok(false));
        let arrived = inbox.messages().next().unwrap();
        assert_eq!(arrived.train, Train::of_one(b"ping"));
        assert_eq!(send_to(server.as_fd(), arrived.sender, b"pong"), Ok(Transfer::Moved(4)));
        assert_eq!(udp_receive(client.as_fd(), &mut buffer), Ok(Some(4)));
        assert_eq!(udp_receive(client.as_fd(), &mut buffer), Ok(None));
        assert_eq!((inbox.receive(server.as_fd()), inbox.messages().count()), (Ok(false), 0));
    }
}

/// The sizes of the datagrams of each message that comes, until there is none.
fn sizes(inbox: &mut Inbox, socket: &OwnedFd) -> Vec<Vec<usize>> {
    wait(socket, PollFlags::IN);
    let mut sizes = Vec::new();
    while inbox.receive(socket.as_fd()).unwrap() || inbox.messages().next().is_some() {
        sizes.extend(inbox.messages().map(|arrived| arrived.train.datagrams().map(<[u8]>::len).collect::<Vec<_>>()));
    }
    sizes
}

#[test]
fn ping_gets_its_reply() {
    for address in ["127.0.0.1", "::1"] {
        let socket = match PingSocket::open(address.parse().unwrap(), 77) {
            Ok(socket) => socket,
            Err(failure) => {
                eprintln!("SKIPPED: ping {address}: {failure}");
                continue;
            }
        };
        socket.send(7, b"hello").unwrap();
        wait(&socket, PollFlags::IN);
        let mut payload = [0; PING_OVERHEAD + 5];
        assert_eq!(socket.receive(&mut payload), Some(Pong::Reply { sequence: 7, length: 5 }));
        assert_eq!(&payload[..5], b"hello");
        assert_eq!(socket.receive(&mut payload), None);
    }
}

/// As real root both kinds can be had: they must not differ.
#[test]
fn raw_and_unprivileged_ping_agree() {
    for address in ["127.0.0.1", "::1"] {
        let Ok(socket) = PingSocket::raw(address.parse().unwrap(), 4711) else {
            return eprintln!("SKIPPED: raw sockets need CAP_NET_RAW");
        };
        socket.send(65_535, &[7; 1000]).unwrap();
        let mut payload = [0; PING_OVERHEAD + 1000];
        loop {
            wait(&socket, PollFlags::IN);
            // Our own request passes by too, on loopback.
            if let Some(pong) = socket.receive(&mut payload) {
                assert_eq!(pong, Pong::Reply { sequence: 65_535, length: 1000 });
                assert_eq!(payload[..1000], [7; 1000]);
                break;
            }
        }
    }
}

#[test]
fn splice_moves_bytes_and_the_end() {
    let [(mut source, from), (to, mut sink)] = [pair(), pair()];
    from.set_nonblocking(true).unwrap();
    to.set_nonblocking(true).unwrap();
    let mut pool = PipePool::new(1, 1 << 16);
    let mut pipe = pool.take().unwrap();
    assert_eq!(splice_in(from.as_fd(), &mut pipe), Ok(Spliced::WouldBlock));
    source.write_all(b"some bytes").unwrap();
    wait(&from, PollFlags::IN);
    assert_eq!(splice_in(from.as_fd(), &mut pipe), Ok(Spliced::Moved(10)));
    assert_eq!(pipe.queued(), 10);
    assert_eq!(splice_out(&mut pipe, to.as_fd()), Ok(Spliced::Moved(10)));
    assert_eq!(splice_out(&mut pipe, to.as_fd()), Ok(Spliced::Moved(0)));
    let mut buffer = [0; 10];
    sink.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"some bytes");
    drop(source);
    wait(&from, PollFlags::IN);
    assert_eq!(splice_in(from.as_fd(), &mut pipe), Ok(Spliced::End));
    shutdown_write(to.as_fd()).unwrap();
    assert_eq!(sink.read(&mut buffer).unwrap(), 0);
    pool.give(pipe);
    let (pipe, second) = (pool.take().unwrap(), pool.take().unwrap());
    assert_eq!((pipe.queued(), pool.descriptors()), (0, 4));
    pool.give(pipe);
    pool.give(second);
    assert_eq!(pool.descriptors(), 2, "one is kept");
    pool.limit_descriptors(3);
    let kept = pool.take().unwrap();
    assert_eq!(pool.take().unwrap_err(), Failure::NoResources);
    pool.give(kept);
}

/// Two connected ends.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    client.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    (client, server)
}

#[test]
fn the_file_limit_is_the_hard_limit() {
    let limit = raise_file_limit().unwrap();
    assert_eq!(rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX), limit);
}

#[test]
fn connections_do_not_wait_to_send_and_notice_a_vanished_peer() {
    let held = HeldPort::hold("127.0.0.1:0".parse().unwrap()).unwrap();
    held.listen(1).unwrap();
    let client = try_connect(held.local_address().unwrap()).unwrap();
    wait(&held, PollFlags::IN);
    let Accepted::Connection(server, remote) = held.accept().unwrap() else { panic!("no connection") };
    for socket in [&server, &client] {
        assert!(sockopt::tcp_nodelay(socket).unwrap());
        assert!(sockopt::socket_keepalive(socket).unwrap() && sockopt::socket_oobinline(socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(socket).unwrap(), Duration::from_secs(600));
        assert_eq!(sockopt::tcp_keepcnt(socket).unwrap(), 10);
    }
    assert!(remote.ip().is_loopback());
}

#[test]
fn answers_leave_from_where_the_question_came_to() {
    for (bound, asked) in [("0.0.0.0:0", "127.0.0.7"), ("[::]:0", "::1")] {
        let Ok(server) = udp_bind(bound.parse().unwrap()) else { continue };
        let port = UdpSocket::from(server.try_clone().unwrap()).local_addr().unwrap().port();
        let local = if bound.starts_with('0') { "127.0.0.1:0" } else { "[::1]:0" };
        let client = UdpSocket::bind(local).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        client.connect((asked, port)).unwrap();
        client.send(b"ping").unwrap();
        wait(&server, PollFlags::IN);
        let (mut buffer, mut inbox) = ([0; 10], Inbox::default());
        assert_eq!(inbox.receive(server.as_fd()), Ok(false));
        let arrived = inbox.messages().next().unwrap();
        assert_eq!(arrived.train.payload.len(), 4);
        assert_eq!(arrived.sender, client.local_addr().unwrap());
        assert_eq!(arrived.local.map(|local| local.address().to_string()).as_deref(), Some(asked));
        assert_eq!(send_from(server.as_fd(), arrived.local, arrived.sender, b"pong"), Ok(Transfer::Moved(4)));
        // A connected socket takes it from there only.
        assert_eq!(client.recv(&mut buffer).unwrap(), 4);
    }
}
