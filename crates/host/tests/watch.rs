//! Who is bound where in a host, and the end of each socket as an event.
#![allow(clippy::disallowed_methods)]

mod common;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use common::{World, command, in_world_of, in_worlds, listener};
use minato_host::{
    Family, Transport,
    agent::InsideSocket,
    enter::Identity,
    holder::{HolderProcesses, holders},
    process::{self, Owner, SocketOwners},
    sock_diag::{Query, SockDiag, SocketInfo, State, States},
    sockets::bind_and_connect,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Waits for events and collects their transport and local address.
fn ended(table: &mut SockDiag) -> Vec<(Transport, SocketAddr)> {
    let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::from_borrowed_fd(table.events_fd().unwrap(), PollFlags::IN)], Some(&timeout));
    assert_eq!(ready.unwrap(), 1, "no event");
    let mut found = Vec::new();
    table.events(|socket| found.push((socket.transport, socket.local))).unwrap();
    found
}

#[test]
fn every_end_is_an_event() {
    in_worlds("every_end_is_an_event", || {
        let world = World::new();
        let host = world.host(2);
        let mut table = world.fabric.sock_diag(&host.name).unwrap();
        table.events(|socket| panic!("{socket:?}")).unwrap();
        for address in ["0.0.0.0:80", "[::]:81", "127.0.0.1:82", "[fd77::2]:83"] {
            let address: SocketAddr = address.parse().unwrap();
            let tcp = listener(&world, &host, address);
            // A connection that ends is none.
            let connection = world.fabric.sockets(&host.name, InsideSocket::Stream, Family::of(address.ip()), 1);
            let connection = connection.unwrap().remove(0);
            let target = SocketAddr::new(
                if address.ip().is_unspecified() { loopback(address) } else { address.ip() },
                address.port(),
            );
            bind_and_connect(connection.as_fd(), SocketAddr::new(target.ip(), 0), target).unwrap();
            drop((tcp.accept().unwrap(), connection));
            drop(tcp);
            assert_eq!(ended(&mut table), [(Transport::Tcp, address)]);

            let sockets = world.fabric.sockets(&host.name, InsideSocket::Datagram, Family::of(address.ip()), 1);
            let udp = sockets.unwrap().remove(0);
            rustix::net::bind(&udp, &address).unwrap();
            drop(udp);
            assert_eq!(ended(&mut table), [(Transport::Udp, address)]);
        }
    });
}

fn loopback(of_family: SocketAddr) -> IpAddr {
    if of_family.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

#[test]
fn an_end_by_kill_is_an_event_too() {
    in_worlds("an_end_by_kill_is_an_event_too", || {
        if std::process::Command::new("python3").arg("-V").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "needs python3");
            return eprintln!("SKIPPED: needs python3 (apt-get install python3)");
        }
        let world = World::new();
        let host = world.host(2);
        let mut table = world.fabric.sock_diag(&host.name).unwrap();
        let program = "import socket, time; s = socket.create_server(('', 80)); time.sleep(1000)";
        let mut service = command(&host, Identity::Own, &["python3", "-c", program]).spawn().unwrap();
        let query = Query::new(Family::V4, Transport::Tcp, States::LISTEN);
        let start = Instant::now();
        let socket: SocketInfo = loop {
            let mut found = None;
            table.dump(query, |socket| found = Some(*socket)).unwrap();
            match found {
                Some(socket) => break socket,
                None => assert!(start.elapsed() < Duration::from_secs(60), "the service does not listen"),
            }
        };
        assert_eq!((socket.local, socket.state), ("0.0.0.0:80".parse().unwrap(), State::Listen));
        assert_eq!(socket.uid, rustix::process::geteuid().as_raw());
        let pids = process::in_network(host.network_inode);
        assert_eq!(pids, [service.id()]);
        assert_eq!(SocketOwners::of(&pids).owner(socket.inode), Owner::Processes(&[service.id()]));
        assert_eq!(process::describe(service.id()).unwrap().name, "python3");
        service.kill().unwrap();
        service.wait().unwrap();
        assert_eq!(ended(&mut table), [(Transport::Tcp, socket.local)]);
    });
}

/// The machine's own socket table does not show what is in hosts.
#[test]
fn tables_are_apart() {
    in_worlds("tables_are_apart", || {
        let world = World::new();
        let host = world.host(2);
        let _inside = listener(&world, &host, "0.0.0.0:80".parse().unwrap());
        let _outside = TcpListener::bind("127.0.0.1:5050").unwrap();
        let listeners = |table: &mut SockDiag| {
            let mut ports = Vec::new();
            let query = Query::new(Family::V4, Transport::Tcp, States::LISTEN);
            table.dump(query, |socket| ports.push(socket.local.port())).unwrap();
            ports
        };
        assert_eq!(listeners(&mut SockDiag::open().unwrap()), [5050]);
        assert_eq!(listeners(&mut world.fabric.sock_diag(&host.name).unwrap()), [80]);
    });
}

#[test]
fn a_dump_of_thousands_is_complete() {
    in_world_of("a_dump_of_thousands_is_complete", &["ordinary"], || {
        minato_host::sockets::raise_file_limit().unwrap();
        let sockets: Vec<_> = (0..2000).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let udp: Vec<_> = (0..2000).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let mut table = SockDiag::open().unwrap();
        for (transport, states, want) in
            [(Transport::Tcp, States::LISTEN, sockets.len()), (Transport::Udp, States::UNCONNECTED, udp.len())]
        {
            let mut count = 0;
            table.dump(Query::new(Family::V4, transport, states), |_| count += 1).unwrap();
            assert_eq!(count, want);
        }
    });
}

/// As an ordinary user, another's socket has a holder that can't be named; one's own can.
#[test]
fn no_permission_is_not_nobody() {
    in_world_of("no_permission_is_not_nobody", &["root"], || {
        use std::os::unix::process::CommandExt;
        let listener = TcpListener::bind("127.0.0.1:80").unwrap();
        let client = TcpStream::connect("127.0.0.1:80").unwrap();
        let remains = client.local_addr().unwrap();
        // The client closes first: its end lingers in TIME-WAIT, without any process.
        drop(client);
        drop(listener.accept().unwrap());
        let names = |address: SocketAddr| {
            let found = holders(Transport::Tcp, address.ip(), address.port()).unwrap();
            found.into_iter().map(|holder| holder.processes).collect::<Vec<_>>()
        };
        assert!(matches!(names("127.0.0.1:80".parse().unwrap())[0], HolderProcesses::Known(_)));
        assert_eq!(names(remains)[0], HolderProcesses::Nobody);
        // In a child that becomes an ordinary user: what `pre_exec` returns is the verdict.
        let mut child = std::process::Command::new("true");
        let copy = listener.as_raw_fd();
        let verdict = move || {
            // SAFETY: nothing in the child uses its copy of the listener, which would make it a holder itself.
            unsafe { rustix::io::close(copy) };
            rustix::thread::set_thread_groups(&[])?;
            rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65_534))?;
            let found = holders(Transport::Tcp, "127.0.0.1".parse().unwrap(), 80)?;
            let told = found[0].processes == HolderProcesses::NoPermission && found[0].uid == 0;
            if told { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
        };
        // SAFETY: the test has one other thread, which waits for this one, and holds no lock of the allocator.
        unsafe { child.pre_exec(verdict) };
        assert!(child.status().unwrap().success());
        drop(listener);
    });
}
