use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType, ipproto, socket};

use super::*;

fn pair(family: Family) -> (Options, OwnedFd, OwnedFd) {
    let domain = if family == Family::V4 { AddressFamily::INET } else { AddressFamily::INET6 };
    let plain = || socket(domain, SocketType::STREAM, Some(ipproto::TCP)).unwrap();
    (Options::of(plain().as_fd(), family), plain(), plain())
}

#[test]
fn what_a_program_sets_is_carried_over() {
    for family in [Family::V4, Family::V6] {
        let (plain, from, to) = pair(family);
        for (level, name, number) in [
            (SOL_SOCKET, libc::SO_KEEPALIVE, 1),
            (SOL_SOCKET, libc::SO_SNDBUF, 30_000),
            (SOL_SOCKET, libc::SO_RCVBUF, 40_000),
            (SOL_SOCKET, libc::SO_PRIORITY, 3),
            (SOL_IP, libc::IP_TTL, 33),
            (IPPROTO_TCP, libc::TCP_NODELAY, 1),
            (IPPROTO_TCP, libc::TCP_KEEPIDLE, 77),
            (IPPROTO_TCP, libc::TCP_KEEPINTVL, 7),
            (IPPROTO_TCP, libc::TCP_KEEPCNT, 3),
            (IPPROTO_TCP, libc::TCP_SYNCNT, 2),
            (IPPROTO_TCP, libc::TCP_MAXSEG, 1000),
            (IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 9000),
            (IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 5000),
            (IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1),
        ] {
            sys::set_option(from.as_fd(), level, name, number).unwrap();
        }
        if family == Family::V6 {
            sys::set_option(from.as_fd(), SOL_IPV6, libc::IPV6_V6ONLY, 1).unwrap();
            sys::set_option(from.as_fd(), SOL_IPV6, libc::IPV6_UNICAST_HOPS, 44).unwrap();
        }
        let linger: Vec<u8> = [1i32, 5].iter().flat_map(|number| number.to_ne_bytes()).collect();
        sys::set_bytes(from.as_fd(), SOL_SOCKET, libc::SO_LINGER, &linger).unwrap();
        let seconds: Vec<u8> = [2i64, 500_000].iter().flat_map(|number| number.to_ne_bytes()).collect();
        for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
            sys::set_bytes(from.as_fd(), SOL_SOCKET, name, &seconds).unwrap();
        }
        sys::set_bytes(from.as_fd(), IPPROTO_TCP, libc::TCP_CONGESTION, b"reno").unwrap();

        plain.carry_over(Extent::All, from.as_fd(), to.as_fd()).unwrap();
        for (name, _) in all(family) {
            assert_eq!(value(to.as_fd(), name), value(from.as_fd(), name), "{family:?} {name:?}");
        }
        // It was no comparison of nothing with nothing.
        let set = all(family).zip(&plain.values).filter(|((name, _), before)| value(from.as_fd(), *name) != **before);
        assert!(set.count() >= 18);
    }
}

#[test]
fn what_is_of_one_network_only_is_refused() {
    let (plain, from, to) = pair(Family::V4);
    plain.carry_over(Extent::All, from.as_fd(), to.as_fd()).unwrap();
    let all = libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: u32::MAX };
    sys::attach_filter(from.as_fd(), &[all]).unwrap();
    assert!(plain.carry_over(Extent::All, from.as_fd(), to.as_fd()).is_err());
}

#[test]
fn where_something_is_refused_nothing_is_changed() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let all = libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: u32::MAX };
    // One that we refuse, and one that the kernel refuses for what is connected.
    for refused in [true, false] {
        let (plain, from, _) = pair(Family::V4);
        let linger: Vec<u8> = [1i32, 0].iter().flat_map(|number| number.to_ne_bytes()).collect();
        sys::set_bytes(from.as_fd(), SOL_SOCKET, libc::SO_LINGER, &linger).unwrap();
        for (level, name, number) in [
            (SOL_SOCKET, libc::SO_RCVLOWAT, 100),
            (SOL_SOCKET, libc::SO_SNDBUF, 30_000),
            (IPPROTO_TCP, libc::TCP_CORK, 1),
        ] {
            sys::set_option(from.as_fd(), level, name, number).unwrap();
        }
        let names: Vec<Name> = super::all(Family::V4).map(|(name, _)| name).collect();
        let values = || -> Vec<Value> { names.iter().map(|name| value(connected.as_fd(), *name)).collect() };
        let before = values();
        if refused {
            sys::attach_filter(from.as_fd(), &[all]).unwrap();
        } else {
            sys::set_option(from.as_fd(), IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1).unwrap();
        }
        assert!(plain.carry_over(Extent::All, from.as_fd(), connected.as_fd()).is_err());
        assert_eq!(values(), before);
    }
}

#[test]
fn an_attempt_that_failed_sets_nothing() {
    for family in [Family::V4, Family::V6] {
        let (plain, from, to) = pair(family);
        sys::set_option(from.as_fd(), IPPROTO_TCP, libc::TCP_NODELAY, 1).unwrap();
        sys::set_option(from.as_fd(), SOL_SOCKET, libc::SO_SNDBUF, 30_000).unwrap();
        let loopback: std::net::IpAddr =
            if family == Family::V4 { [127, 0, 0, 1].into() } else { [0, 0, 0, 0, 0, 0, 0, 1].into() };
        let nobody = std::net::SocketAddr::new(loopback, 1);
        crate::direct::lock::to_peer(from.as_fd(), nobody).unwrap();
        assert!(rustix::net::connect(&from, &nobody).is_err());
        plain.but_used().carry_over(Extent::All, from.as_fd(), to.as_fd()).unwrap();
        let (untouched, _, fresh) = pair(family);
        sys::set_option(fresh.as_fd(), IPPROTO_TCP, libc::TCP_NODELAY, 1).unwrap();
        sys::set_option(fresh.as_fd(), SOL_SOCKET, libc::SO_SNDBUF, 30_000).unwrap();
        for (name, _) in all(untouched.family) {
            assert_eq!(value(to.as_fd(), name), value(fresh.as_fd(), name), "{family:?} {name:?}");
        }
    }
}
