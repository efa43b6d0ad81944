use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

use super::*;
use crate::sys;

/// What the kernel keeps of `frame` under the port filter, tried with a socket that needs no rights. What is asked of a
/// packet's interface can't be tried so: that is left out.
fn kept(ports: PortFilter, frame: &[u8]) -> Option<usize> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs): (OwnedFd, OwnedFd) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
    let mut program = Program::default();
    ports.add_to(&mut program);
    program.finish(60);
    sys::attach_filter(theirs.as_fd(), &program.0).unwrap();
    send(&ours, frame, SendFlags::empty()).unwrap();
    let mut buffer = [0; 2048];
    recv(&theirs, &mut buffer[..], RecvFlags::empty()).ok().map(|(length, _)| length)
}

fn v4(protocol: u8, options: usize, fragment: u16, ports: (u16, u16)) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00, 0x45 + (options / 4) as u8, 0, 0, 100, 0, 0]);
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, protocol, 0, 0, 10, 77, 0, 2, 10, 77, 0, 3]);
    frame.extend(vec![0; options]);
    frame.extend(ports.0.to_be_bytes());
    frame.extend(ports.1.to_be_bytes());
    frame.extend([0; 100]);
    frame
}

fn v6(next_header: u8, ports: (u16, u16)) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 60, next_header, 64]);
    frame.extend([0; 32]);
    frame.extend(ports.0.to_be_bytes());
    frame.extend(ports.1.to_be_bytes());
    frame.extend([0; 100]);
    frame
}

#[test]
fn ports_at_either_end_in_both_families() {
    let ports = PortFilter { first: 80, last: 90, transport: None };
    for (source, destination, wanted) in
        [(80, 9, true), (9, 90, true), (85, 85, true), (79, 91, false), (0, 65_535, false)]
    {
        let wanted = wanted.then_some(60);
        for protocol in [6, 17] {
            assert_eq!(kept(ports, &v4(protocol, 0, 0, (source, destination))), wanted, "{source} {destination}");
            assert_eq!(kept(ports, &v4(protocol, 40, 0, (source, destination))), wanted, "with IPv4 options");
            assert_eq!(kept(ports, &v6(protocol, (source, destination))), wanted, "IPv6 {source} {destination}");
        }
    }
}

#[test]
fn one_transport_only() {
    let ports = PortFilter { first: 53, last: 53, transport: Some(Transport::Udp) };
    assert_eq!(kept(ports, &v4(17, 0, 0, (53, 1))), Some(60));
    assert_eq!(kept(ports, &v4(6, 0, 0, (53, 1))), None);
    assert_eq!(kept(ports, &v6(6, (53, 1))), None);
}

#[test]
fn what_has_no_ports_is_left_out() {
    let all = PortFilter { first: 0, last: 65_535, transport: None };
    assert_eq!(kept(all, &v4(1, 0, 0, (80, 80))), None, "ICMP");
    assert_eq!(kept(all, &v6(58, (80, 80))), None, "ICMPv6");
    assert_eq!(kept(all, &v4(6, 0, 0x2000, (80, 80))), Some(60), "a first fragment has ports");
    assert_eq!(kept(all, &v4(6, 0, 0x2001, (80, 80))), None, "a later one has none");
    let mut arp = v4(6, 0, 0, (80, 80));
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(kept(all, &arp), None, "ARP");
    assert_eq!(kept(all, &[0; 3]), None, "a runt");
}
