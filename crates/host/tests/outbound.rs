//! What the machine's network says reaches the caller as exactly that.
#![allow(clippy::disallowed_methods)]

mod common;

use std::{
    io::IoSlice,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    process::Command,
    time::Duration,
};

use common::{World, in_world_of, in_world_with, in_worlds, listener};
use minato_host::{
    Family,
    agent::InsideSocket,
    sockets::{
        Cutting, Failure, HeldPort, HoldError, PING_OVERHEAD, PingSocket, Pong, Train, Transfer, bind_and_connect,
        connect, send, take_error, udp_connect, udp_send_train,
    },
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Waits for a decision, at most `seconds`. `None`: still open.
fn decided(socket: &impl AsFd, flags: PollFlags, seconds: i64) -> Option<PollFlags> {
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let mut polled = [PollFd::new(socket, flags)];
    (poll(&mut polled, Some(&timeout)).unwrap() > 0).then(|| polled[0].revents())
}

fn outcome(remote: &str) -> Result<OwnedFd, Failure> {
    let socket = connect(remote.parse().unwrap())?;
    decided(&socket, PollFlags::OUT, 60).ok_or(Failure::TimedOut)?;
    take_error(socket.as_fd()).map_or(Ok(socket), Err)
}

/// Routes that answer in every way a router can, on this side of it.
#[test]
fn local_routes_answer_as_they_are_meant() {
    // The world's routes can only be made by root; what they answer is the same for everybody.
    in_world_of("local_routes_answer_as_they_are_meant", &["root"], || {
        let routes = "ip route add unreachable 203.0.113.0/25 && ip route add prohibit 203.0.113.128/25 \
                      && ip -6 route add unreachable 2001:db8:1::/48 && ip -6 route add prohibit 2001:db8:2::/48";
        assert!(Command::new("sh").args(["-c", routes]).status().unwrap().success());
        for (remote, failure) in [
            ("203.0.113.1:80", Failure::HostUnreachable),
            ("203.0.113.129:80", Failure::Prohibited),
            ("[2001:db8:1::1]:80", Failure::HostUnreachable),
            ("[2001:db8:2::1]:80", Failure::Prohibited),
            ("[2001:db8:3::1]:80", Failure::NetUnreachable),
            ("127.0.0.1:9", Failure::Refused),
            ("[::1]:9", Failure::Refused),
            ("192.0.2.1:9", Failure::Refused),
        ] {
            assert_eq!(outcome(remote).unwrap_err(), failure, "{remote}");
        }
        let udp = |remote: &str| udp_connect(remote.parse().unwrap()).map(drop).unwrap_err();
        assert_eq!(udp("203.0.113.1:53"), Failure::HostUnreachable);
        assert_eq!(udp("[2001:db8:3::1]:53"), Failure::NetUnreachable);
        assert_eq!(PingSocket::open("203.0.113.129".parse().unwrap(), 1).map(drop).unwrap_err(), Failure::Prohibited);
    });
}

/// A host that does not answer ARP: TCP, UDP and ping are all told, after the kernel's three questions.
#[test]
fn a_silent_neighbour_is_unreachable() {
    in_world_of("a_silent_neighbour_is_unreachable", &["root"], || {
        // A neighbour on the machine's own network, which has a carrier.
        let link = "ip link add wire type veth peer name end && ip link set wire up && ip link set end up \
                    && ip addr add 198.51.100.1/24 dev wire";
        assert!(Command::new("sh").args(["-c", link]).status().unwrap().success());
        let tcp = connect("198.51.100.9:80".parse().unwrap()).unwrap();
        let udp = udp_connect("198.51.100.9:53".parse().unwrap()).unwrap();
        assert_eq!(send(udp.as_fd(), &[IoSlice::new(b"?")]), Ok(Transfer::Moved(1)));
        let ping = PingSocket::open("198.51.100.9".parse().unwrap(), 1).unwrap();
        ping.send(1, b"?").unwrap();
        for socket in [&tcp, &udp] {
            decided(socket, PollFlags::ERR, 60).expect("an error");
            assert_eq!(take_error(socket.as_fd()), Some(Failure::HostUnreachable));
        }
        decided(&ping, PollFlags::ERR, 60).expect("an error");
        let mut buffer = [0; PING_OVERHEAD + 1];
        assert_eq!(ping.receive(&mut buffer), Some(Pong::Failed(Failure::HostUnreachable)));
        assert_eq!(ping.receive(&mut buffer), None);
        assert_eq!(decided(&ping, PollFlags::IN, 0), None, "no error is left");
    });
}

/// A datagram that is larger than the path takes names itself.
#[test]
fn a_datagram_that_is_too_big_is_told() {
    in_worlds("a_datagram_that_is_too_big_is_told", || {
        let socket = udp_connect("192.0.2.1:53".parse().unwrap()).unwrap();
        assert_eq!(send(socket.as_fd(), &[IoSlice::new(&[0; 65_535])]), Err(Failure::TooBig));
    });
}

/// Datagrams that don't fit into a packet are not cut apart by the kernel, but arrive in fragments; smaller ones are.
#[test]
fn datagrams_larger_than_the_path_are_sent_one_by_one() {
    in_world_of("datagrams_larger_than_the_path_are_sent_one_by_one", &["root"], || {
        assert!(Command::new("ip").args(["link", "set", "lo", "mtu", "1500"]).status().unwrap().success());
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let socket = udp_connect(server.local_addr().unwrap()).unwrap();
        let mut cutting = Cutting::default();
        for size in [4000, 1400, 3000] {
            udp_send_train(socket.as_fd(), Train { payload: &vec![7; 2 * size + 1], size }, &mut cutting).unwrap();
            let mut buffer = [0; 10_000];
            let sizes: Vec<usize> = (0..3).map(|_| server.recv(&mut buffer).unwrap()).collect();
            assert_eq!(sizes, [size, size, 1]);
            assert_ne!(cutting, Cutting::default(), "{size}: what was refused is remembered");
        }
    });
}

#[test]
fn a_privileged_port_names_the_first_free_one() {
    in_world_of("a_privileged_port_names_the_first_free_one", &["ordinary"], || {
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let Err(HoldError::Privileged { address: at, first }) = HeldPort::hold(address) else { panic!("must fail") };
        assert_eq!((at, first), (address, 1024));
    });
}

/// The limit of open files is named, and leaves what there is alone.
#[test]
fn the_file_limit_is_named() {
    in_world_with("the_file_limit_is_named", &["ordinary"], &[], || {
        use rustix::process::{Resource, Rlimit, setrlimit};
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
        let mut held = Vec::new();
        let error = loop {
            match HeldPort::hold("127.0.0.1:0".parse().unwrap()) {
                Ok(port) => held.push(port),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, HoldError::FileLimit { limit: 64 }), "{error}");
        assert!(held.len() > 40);
        assert_eq!(connect("127.0.0.1:9".parse().unwrap()).unwrap_err(), Failure::NoResources);
    });
}

/// A client whose own port number is one that the host listens on at every address: its address can't be bound there. The
/// caller is told, and goes by the TAP device.
#[test]
fn a_clients_port_that_the_host_listens_on_is_taken() {
    in_worlds("a_clients_port_that_the_host_listens_on_is_taken", || {
        let world = World::new();
        let host = world.host(2);
        let _service = listener(&world, &host, "0.0.0.0:40000".parse().unwrap());
        let kind = InsideSocket::TransparentStream;
        let socket = world.fabric.sockets(&host.name, kind, Family::V4, 1).unwrap().remove(0);
        let client = "198.51.100.7:40000".parse().unwrap();
        let taken = bind_and_connect(socket.as_fd(), client, "10.77.0.2:40000".parse().unwrap());
        assert_eq!(taken, Err(Failure::NoPort));
    });
}
