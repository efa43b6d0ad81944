use minato_host::sock_diag::SockDiag;

use super::super::command::HostSetup;
use super::*;

/// A host of which every look may show something new: nobody counts its sockets.
fn host(now: Instant) -> PlaneHost {
    let sockets = SockDiag::open().expect("a socket table");
    PlaneHost::new(
        now,
        HostSetup {
            serial: 1,
            name: "web".into(),
            addresses: vec![std::net::Ipv4Addr::new(10, 77, 0, 2).into()],
            host_ports: Vec::new(),
            egress: None,
            sockets,
            direct: false,
        },
    )
}

#[test]
fn nobody_has_a_host_looked_at_before_it_has_rested() {
    let now = Instant::now();
    let mut host = host(now);
    assert_eq!(host.due_look(now, false), Some(now));
    host.look(now).expect("a look");
    assert!(host.rests_until > now);
    for is_missed in [false, true] {
        assert_eq!(host.due_look(now, is_missed), Some(host.rests_until));
        assert_eq!(host.due_look(host.rests_until, is_missed), Some(host.rests_until));
    }
}

#[test]
fn who_waits_for_a_look_is_told_what_it_has_shown() {
    let mut host = host(Instant::now());
    let (seeker, mut told) = oneshot::channel();
    host.seekers.push(seeker);
    let address = host.addresses[0];
    let listener = |transport, port| Listener { transport, address, port, v6_only: false };
    host.services = Services::new([listener(Transport::Tcp, 80), listener(Transport::Udp, 53)]);
    host.answer_seekers();
    assert_eq!(told.try_recv(), Ok(vec![80]));
    assert!(host.seekers.is_empty());
}
