//! Fragments that we make (RFC 791 §3.2, RFC 8200 §4.5, RFC 7739).

use std::net::SocketAddr;

use minato_transport::{Config, IpCidr, Link, Stack};

use super::script::{LOCAL, Script};

/// A stack whose secret is 0, 1, 2 and so on.
fn stack() -> Stack {
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, std::array::from_fn(|at| at as u8));
    config.addresses = vec![
        IpCidr::new(LOCAL.0.into(), 24).expect("a prefix"),
        IpCidr::new("fd00::1".parse().expect("an address"), 64).expect("a prefix"),
    ];
    Stack::new(Script::new(|_| {}).now, config)
}

/// The identifications of the fragments of one datagram.
fn identifications(stack: &mut Stack, source: &str, destination: &str) -> Vec<u32> {
    let now = Script::new(|_| {}).now;
    let [source, destination] = [source, destination].map(|text| text.parse::<SocketAddr>().expect("an address"));
    stack.send_datagram(now, source, destination, &[7; 3000]).expect("room");
    let mut found = Vec::new();
    while let Some(transmit) = stack.poll_transmit(now) {
        let packet = transmit.to_vec();
        found.push(if destination.is_ipv4() {
            u32::from(u16::from_be_bytes([packet[4], packet[5]]))
        } else {
            u32::from_be_bytes([packet[44], packet[45], packet[46], packet[47]])
        });
    }
    found
}

#[test]
fn identifications_tell_nothing_of_the_secret_and_of_others() {
    let ends = [
        ("10.0.0.1:9", "10.0.0.9:9", "10.0.0.10:9", 0x0500, 0xffff),
        ("[fd00::1]:9", "[fd00::9]:9", "[fd00::10]:9", 0x0f0a_0500, u32::MAX),
    ];
    for (own, one, other, secret, mask) in ends {
        let mut stack = stack();
        let mut next = |destination| {
            let all = identifications(&mut stack, own, destination);
            assert!(all.len() > 2 && all.iter().all(|ident| *ident == all[0]), "{all:x?}");
            all[0]
        };
        let first = next(one);
        assert_ne!(first, secret);
        // Elsewhere they count on their own, from somewhere else.
        let elsewhere = [next(other), next(other), next(other)];
        assert_eq!(next(one), first.wrapping_add(1) & mask);
        assert_eq!(next(other), elsewhere[0].wrapping_add(3) & mask);
        assert!(elsewhere[0].abs_diff(first) > 16, "{first:x} {elsewhere:x?}");
    }
}
