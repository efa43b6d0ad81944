//! Ports that are held back, as after TIME-WAIT. The only tests that need points in time.
#![allow(clippy::disallowed_methods, reason = "an Instant can't be made otherwise")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use minato_ports::{EphemeralAllocator, Port, PortRange};

fn destination(number: u8) -> SocketAddr {
    SocketAddr::new([192, 0, 2, number].into(), 443)
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

/// With these ports in use towards the first destination.
fn allocator(first: u16, last: u16) -> EphemeralAllocator {
    let range = PortRange::from_numbers(first, last).unwrap();
    let mut allocator = EphemeralAllocator::new(range, [1; 16]);
    assert!(range.iter().all(|port| allocator.claim(destination(1), port)));
    allocator
}

#[test]
fn a_held_port_comes_back_at_its_time() {
    let mut allocator = allocator(5000, 5001);
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    assert!(allocator.hold(destination(1), port(5000), after(60)));
    assert!(allocator.hold(destination(1), port(5001), after(30)));
    assert!(!allocator.hold(destination(2), port(5001), after(10)), "not in use");
    assert_eq!(allocator.poll_timeout(), Some(after(30)));
    allocator.handle_timeout(after(29));
    assert_eq!(allocator.used(destination(1)), 2);
    allocator.handle_timeout(after(30));
    assert_eq!(allocator.allocate(destination(1), 0), Ok(port(5001)));
    assert_eq!(allocator.poll_timeout(), Some(after(60)));
}

#[test]
fn a_hold_ends_with_a_release_and_does_not_hit_the_next_user() {
    let mut allocator = allocator(5000, 5000);
    let start = Instant::now();
    assert!(allocator.hold(destination(1), port(5000), start + Duration::from_secs(60)));
    assert!(allocator.release(destination(1), port(5000)));
    assert_eq!(allocator.poll_timeout(), None);
    assert!(allocator.claim(destination(1), port(5000)));
    allocator.handle_timeout(start + Duration::from_secs(100));
    assert!(allocator.is_used(destination(1), port(5000)));
}

#[test]
fn holding_again_moves_the_time() {
    let mut allocator = allocator(5000, 5000);
    let start = Instant::now();
    for seconds in [60, 10, 90] {
        assert!(allocator.hold(destination(1), port(5000), start + Duration::from_secs(seconds)));
        assert_eq!(allocator.poll_timeout(), Some(start + Duration::from_secs(seconds)));
    }
    allocator.handle_timeout(start + Duration::from_secs(89));
    assert!(allocator.is_used(destination(1), port(5000)));
    allocator.handle_timeout(start + Duration::from_secs(90));
    assert_eq!(allocator.destinations(), 0);
}
