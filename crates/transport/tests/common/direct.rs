//! Two stacks joined without a link: frames move at once, for tests of many connections.

use std::net::SocketAddr;
use std::time::Instant;

use minato_transport::{Config, IpCidr, Link, Stack};

/// An end at 10.0.0.`number`.
pub fn at(number: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], port))
}

/// A stack at 10.0.0.`number`, on a link that takes partial checksums.
pub fn stack(now: Instant, number: u8) -> Stack {
    Stack::new(now, config(number))
}

pub fn config(number: u8) -> Config {
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: true }, [number; 16]);
    config.addresses = vec![IpCidr::new(at(number, 0).ip(), 24).expect("a prefix")];
    config
}

/// Moves what both have to send now; whether there was anything. Frames that are not for the other one are lost.
pub fn exchange(now: Instant, stacks: &mut [Stack; 2], frame: &mut Vec<u8>) -> bool {
    let mut moved = false;
    for from in 0..2 {
        while let Some(transmit) = stacks[from].poll_transmit(now) {
            frame.clear();
            transmit.io_slices().iter().for_each(|part| frame.extend_from_slice(part));
            if frame[26..30] == [10, 0, 0, 2 - from as u8] {
                stacks[1 - from].receive(now, frame);
                moved = true;
            }
        }
    }
    moved
}

/// Resident bytes of this process.
pub fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number");
    pages * 4096
}
