//! The TAP device: frames behind a virtio-net header, segments of 64 KiB.
#![allow(clippy::disallowed_methods)]

mod common;

use std::{
    io::IoSlice,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use common::{GATEWAY_MAC, World, command, in_worlds, listener};
use minato_host::{
    agent::host_mac,
    enter::Identity,
    tap::{MAX_FRAME, Tap, VIRTIO_HEADER_LENGTH},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// Waits for a frame that `wanted` likes; others are dropped.
fn frame(tap: &Tap, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut buffer = vec![0; MAX_FRAME];
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        poll(&mut [PollFd::new(tap, PollFlags::IN)], Some(&timeout)).unwrap();
        while let Some(length) = tap.recv(&mut buffer).unwrap() {
            if wanted(&buffer[VIRTIO_HEADER_LENGTH..length]) {
                return buffer[..length].to_vec();
            }
        }
    }
    panic!("no {what}")
}

fn is_ipv4(frame: &[u8], protocol: u8) -> bool {
    frame.len() > 34 && frame[12..14] == [8, 0] && frame[23] == protocol
}

fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = bytes
        .chunks(2)
        .fold(start, |sum, pair| sum + (u32::from(pair[0]) << 8) + u32::from(*pair.get(1).unwrap_or(&0)));
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A frame from the gateway to the host, with an IPv4 header before `payload`.
fn to_host(source: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = host_mac(HOST).to_vec();
    frame.extend(GATEWAY_MAC);
    frame.extend([8, 0]);
    let mut header = vec![0x45, 0];
    header.extend((20 + payload.len() as u16).to_be_bytes());
    header.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    header.extend(source.octets());
    header.extend(HOST.octets());
    let sum = checksum(&header, 0).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    frame.extend(header);
    frame.extend(payload);
    frame
}

#[test]
fn frames_go_both_ways_at_once() {
    in_worlds("frames_go_both_ways_at_once", || {
        let world = World::new();
        let host = world.host(2);
        // The very first packet to the outside arrives without any ARP before it.
        let mut ping = command(&host, Identity::Own, &["ping", "-c", "1", "-W", "2", &OUTSIDE.to_string()]);
        let mut ping = ping.stdout(std::process::Stdio::null()).spawn().unwrap();
        let request = frame(&world.tap, "echo request", |frame| is_ipv4(frame, 1) || frame[12..14] == [8, 6]);
        let body = &request[VIRTIO_HEADER_LENGTH..];
        assert!(is_ipv4(body, 1), "ARP came first");
        assert_eq!((&body[..6], &body[6..12]), (&GATEWAY_MAC[..], &host_mac(HOST)[..]));
        assert_eq!(body[30..34], OUTSIDE.octets());
        let mut echo = body[34..].to_vec();
        echo[..4].copy_from_slice(&[0, 0, 0, 0]);
        let sum = checksum(&echo, 0).to_be_bytes();
        echo[2..4].copy_from_slice(&sum);
        let reply = to_host(OUTSIDE, 1, &echo);
        let header = [0; VIRTIO_HEADER_LENGTH];
        assert!(
            world.tap.send(&[IoSlice::new(&header), IoSlice::new(&reply[..20]), IoSlice::new(&reply[20..])]).unwrap()
        );
        assert!(ping.wait().unwrap().success());
        assert!(world.tap.send(&[IoSlice::new(&[1, 2, 3])]).is_err(), "too short for a header");
    });
}

/// A program in the host sends, and gets, TCP segments far above the MTU: segmentation is left to nobody.
#[test]
fn segments_are_larger_than_the_mtu() {
    in_worlds("segments_are_larger_than_the_mtu", || {
        let world = World::new();
        let host = world.host(2);
        let service = listener(&world, &host, "0.0.0.0:80".parse().unwrap());
        let sender = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut connection, _) = service.accept().unwrap();
            let mut received = vec![0; 40_000];
            connection.read_exact(&mut received).unwrap();
            connection.write_all(&vec![7; 1 << 20]).unwrap();
            received
        });
        // A client that plays TCP by hand, from outside.
        let segment = |flags: u8, sequence: u32, ack: u32, data: &[u8], gso: u16| {
            let mut tcp = vec![0xc3, 0x50, 0, 80];
            tcp.extend(sequence.to_be_bytes());
            tcp.extend(ack.to_be_bytes());
            let options: &[u8] = if flags == 2 { &[2, 4, 5, 0xb4, 3, 3, 10, 1] } else { &[] };
            tcp.extend([((20 + options.len()) as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
            tcp.extend(options);
            let pseudo: u32 = [OUTSIDE.octets(), HOST.octets()]
                .concat()
                .chunks(2)
                .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
                .sum::<u32>()
                + 6
                + (tcp.len() + data.len()) as u32;
            // NEEDS_CSUM: the field holds the sum of the pseudo header, and the kernel would complete it.
            let partial = !checksum(&[], pseudo);
            tcp[16..18].copy_from_slice(&partial.to_be_bytes());
            let header_length = 34 + tcp.len() as u16;
            tcp.extend(data);
            let frame = to_host(OUTSIDE, 6, &tcp);
            let mut header = vec![1, if gso > 0 { 1 } else { 0 }];
            header.extend(header_length.to_le_bytes());
            header.extend(gso.to_le_bytes());
            header.extend(34u16.to_le_bytes());
            header.extend(16u16.to_le_bytes());
            assert!(world.tap.send(&[IoSlice::new(&header), IoSlice::new(&frame)]).unwrap());
        };
        segment(2, 1000, 0, &[], 0);
        let answer = frame(&world.tap, "SYN-ACK", |frame| is_ipv4(frame, 6));
        let tcp = &answer[VIRTIO_HEADER_LENGTH + 34..];
        assert_eq!(tcp[13], 0x12, "SYN-ACK");
        let theirs = u32::from_be_bytes(tcp[4..8].try_into().unwrap()) + 1;
        segment(0x10, 1001, theirs, &[], 0);
        // 40,000 bytes at once, to be cut to 1460 by whoever needs it.
        segment(0x18, 1001, theirs, &vec![9; 40_000], 1460);
        let mut largest = 0;
        let mut next = theirs;
        while next != theirs.wrapping_add(1 << 20) {
            let received = frame(&world.tap, "data", |frame| is_ipv4(frame, 6));
            let body = &received[VIRTIO_HEADER_LENGTH..];
            let length = usize::from(u16::from_be_bytes([body[16], body[17]])) - 20;
            let tcp = &body[34..34 + length];
            let data = length - usize::from(tcp[12] >> 4) * 4;
            if u32::from_be_bytes(tcp[4..8].try_into().unwrap()) == next && data > 0 {
                largest = largest.max(data);
                next = next.wrapping_add(data as u32);
                if data > 1460 {
                    assert_eq!(received[1] & 0x7f, 1, "GSO type TCPv4");
                    assert_eq!(received[0] & 1, 1, "checksum left to the receiver");
                }
                segment(0x10, 41_001, next, &[], 0);
            }
        }
        assert!(largest > 20_000, "largest segment {largest}");
        assert!(sender.join().unwrap() == vec![9; 40_000]);
    });
}
