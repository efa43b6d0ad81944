//! Values that make no sense are taken as the nearest that do: nothing hangs, and no packet from the network breaks the stack.

use std::net::SocketAddr;
use std::time::Duration;

use minato_transport::{Config, Event, IpCidr, Link, ResetReason, Stack};
use smoltcp::wire::{Icmpv4Packet, IpProtocol};

use super::packets::v4;
use super::script::{LOCAL, PEER, Script};

#[test]
fn an_opening_ends_however_often_it_may_be_repeated() {
    let mut script = Script::new(|config| config.tcp.options.syn_retries = u8::MAX);
    let id = script.connect();
    script.expect("S 0");
    // 1 s, doubled up to 2 min, 254 times.
    script.pass(9 * 3600 * 1000);
    script.expect_event(&Event::Reset(id, ResetReason::TimedOut));
}

#[test]
fn the_largest_timeout_is_no_less_than_the_least() {
    let mut script = Script::established("", |config| {
        config.tcp.rto_min = Duration::from_secs(2);
        config.tcp.rto_max = Duration::from_secs(1);
    });
    script.write(10);
    script.expect("P. 1:11 ack 1");
    script.expect_after(2000, "P. 1:11 ack 1");
    script.expect_after(2000, "P. 1:11 ack 1");
}

#[test]
fn time_passes_between_retransmissions_in_any_case() {
    let mut script = Script::established("", |config| {
        config.tcp.rto_min = Duration::ZERO;
        config.tcp.rto_max = Duration::ZERO;
    });
    script.write(10);
    script.expect("P. 1:11 ack 1");
    script.expect_after(1, "P. 1:11 ack 1");
}

#[test]
fn the_smallest_link_carries_answers_in_fragments() {
    for mtu in [0, 28, 56, 68] {
        let mut config = Config::new(Link::Ip { mtu, virtio: false }, [4; 16]);
        config.addresses = ["10.0.0.1", "fd00::1"]
            .map(|address| IpCidr::new(address.parse().expect("an address"), 24).expect("a prefix"))
            .to_vec();
        let now = Script::new(|_| {}).now;
        let mut stack = Stack::new(now, config);
        let most = usize::from(stack.config().link.mtu());
        let mut request = vec![0; 1000];
        request[0] = 8;
        Icmpv4Packet::new_unchecked(&mut request[..]).fill_checksum();
        stack.receive(now, &mut v4(LOCAL.0, IpProtocol::Icmp, 64, &request));
        let sixth = |host: u16| SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, host], 9));
        stack.send_datagram(now, sixth(1), sixth(9), &[7; 1000]).expect("room");
        stack.connect(now, None, SocketAddr::from(PEER), 7).expect("free");
        let mut count = 0;
        while let Some(transmit) = stack.poll_transmit(now) {
            assert!(transmit.to_vec().len() <= most);
            count += 1;
        }
        assert!(count > 2 * 1000 / most, "{count} packets of at most {most} bytes");
    }
}
