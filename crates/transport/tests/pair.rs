//! Stack to stack, over a link with and without trouble.

mod common;

use std::time::Duration;

use common::{Pair, Trouble, config, far, host, router, transfer};
use minato_transport::tcp::State;
use minato_transport::{Event, Link, MacAddress, ResetReason, Unreachable};

#[test]
fn bytes_arrive_in_both_directions_with_and_without_offload() {
    for virtio in [false, true] {
        let mut pair = Pair::new(virtio, Trouble::NONE, 1);
        let (client, server) = pair.connect(far(80));
        transfer(&mut pair, (0, client), (1, server), 3_000_000);
        transfer(&mut pair, (1, server), (0, client), 5_000_000);
        pair.run_for(Duration::from_millis(500));
        assert!(pair.events[0].contains(&Event::PeerClosed(client)) && pair.events[0].contains(&Event::Closed(client)));
        assert!(pair.events[1].contains(&Event::Closed(server)));
        pair.stacks[0].close(pair.now, client);
        pair.stacks[1].close(pair.now, server);
        assert_eq!(pair.stacks[0].statistics().connections, 0);
        assert_eq!(pair.stacks[0].statistics().time_wait + pair.stacks[1].statistics().time_wait, 1);
        pair.run_for(Duration::from_secs(61));
        assert_eq!(pair.stacks[0].statistics().time_wait, 0);
        assert_eq!(pair.stacks[0].poll_timeout(), None);
        assert_eq!(pair.stacks[1].poll_timeout(), None);
    }
}

#[test]
fn bytes_arrive_over_ipv6() {
    let mut pair = Pair::new(true, Trouble::NONE, 2);
    let (client, server) = pair.connect("[2001:db8::1]:443".parse().expect("an address"));
    transfer(&mut pair, (0, client), (1, server), 1_000_000);
    transfer(&mut pair, (1, server), (0, client), 1_000_000);
}

#[test]
fn bytes_arrive_whatever_the_link_takes() {
    // Where a segment is nearly as long as an IP packet may be, and shorter and longer than what is cut from one piece.
    for mtu in [1280, 9000, 60_000, 65_455, 65_467, 65_468, u16::MAX] {
        for virtio in [false, true] {
            for destination in [far(80), "[2001:db8::1]:443".parse().expect("an address")] {
                let [host, router] = [1, 2].map(|number| {
                    let mut config = config(number, virtio);
                    config.link = Link::Ethernet { address: MacAddress([2, 0, 0, 0, 0, number]), mtu, virtio };
                    config
                });
                let mut pair = Pair::with(host, router, Trouble::NONE, 2);
                let (client, server) = pair.connect(destination);
                let time = transfer(&mut pair, (0, client), (1, server), 300_000);
                assert!(time < Duration::from_millis(100), "{time:?} with an MTU of {mtu} to {destination}");
                let back = transfer(&mut pair, (1, server), (0, client), 1);
                assert!(back < Duration::from_millis(100), "{back:?} with an MTU of {mtu} to {destination}");
            }
        }
    }
}

#[test]
fn bytes_survive_trouble() {
    let delay = Duration::from_millis(5);
    for seed in 0..20 {
        for (loss, reorder, duplicate) in [(1, 0, 0), (10, 10, 10), (50, 50, 20), (0, 300, 0), (150, 100, 100)] {
            let mut pair = Pair::warmed(seed % 2 == 1, Trouble { delay, loss, reorder, duplicate }, seed);
            let (client, server) = pair.connect(far(80));
            transfer(&mut pair, (0, client), (1, server), 300_000);
            transfer(&mut pair, (1, server), (0, client), 300_000);
        }
    }
}

#[test]
fn refused_is_refused_at_once() {
    let mut pair = Pair::new(true, Trouble::NONE, 3);
    let client = pair.stacks[0].connect(pair.now, None, far(81), 7).expect("a free port");
    pair.run_for(Duration::from_millis(1));
    let Some(Event::Incoming(incoming)) = pair.events[1].pop() else { panic!("no request") };
    assert_eq!(incoming.source.ip(), host());
    pair.stacks[1].refuse_incoming(pair.now, incoming.id);
    pair.run_for(Duration::from_millis(1));
    assert_eq!(pair.events[0], [Event::Reset(client, ResetReason::Refused)]);
}

#[test]
fn unreachable_names_its_reason() {
    for destination in [far(81), "[2001:db8::1]:443".parse().expect("an address")] {
        for reason in [Unreachable::Network, Unreachable::Host, Unreachable::Prohibited, Unreachable::HopLimit] {
            let mut pair = Pair::new(true, Trouble::NONE, 3);
            let client = pair.stacks[0].connect(pair.now, None, destination, 7).expect("a free port");
            pair.run_for(Duration::from_millis(1));
            let Some(Event::Incoming(incoming)) = pair.events[1].pop() else { panic!("no request") };
            pair.stacks[1].unreachable_incoming(pair.now, incoming.id, reason);
            pair.run_for(Duration::from_millis(1));
            assert_eq!(pair.events[0], [Event::Reset(client, ResetReason::Unreachable(reason))]);
        }
    }
}

#[test]
fn an_ignored_request_comes_again_and_times_out_at_the_client() {
    let mut pair = Pair::new(true, Trouble::NONE, 4);
    let client = pair.stacks[0].connect(pair.now, None, far(82), 7).expect("a free port");
    let mut asked = 0;
    pair.run_until(Duration::from_secs(300), |pair| {
        for event in std::mem::take(&mut pair.events[1]) {
            if let Event::Incoming(incoming) = event {
                pair.stacks[1].ignore_incoming(incoming.id);
                asked += 1;
            }
        }
        pair.events[0].contains(&Event::Reset(client, ResetReason::TimedOut))
    });
    assert_eq!(asked, 7, "one SYN and six repetitions");
    assert_eq!(pair.elapsed().as_secs(), 127);
}

#[test]
fn a_held_request_expires_and_its_client_is_told_nothing() {
    let mut pair = Pair::new(true, Trouble::NONE, 5);
    pair.stacks[0].connect(pair.now, None, far(83), 7).expect("a free port");
    pair.run_for(Duration::from_secs(76));
    let id = match pair.events[1][..] {
        [Event::Incoming(incoming), Event::IncomingGone(gone), ..] if gone == incoming.id => gone,
        ref events => panic!("{events:?}"),
    };
    assert!(pair.stacks[1].accept_incoming(pair.now, id).is_err());
}

#[test]
fn half_close_keeps_the_other_direction() {
    let mut pair = Pair::new(true, Trouble::NONE, 6);
    let (client, server) = pair.connect(far(80));
    pair.stacks[0].shutdown(pair.now, client);
    pair.run_for(Duration::from_secs(30));
    assert_eq!(pair.stacks[0].status(client).map(|status| status.state), Some(State::FinWait2));
    assert_eq!(pair.stacks[1].status(server).map(|status| status.state), Some(State::CloseWait));
    assert!(pair.stacks[1].is_finished(server));
    transfer(&mut pair, (1, server), (0, client), 500_000);
}

#[test]
fn abort_resets_the_peer() {
    let mut pair = Pair::new(true, Trouble::NONE, 7);
    let (client, server) = pair.connect(far(80));
    pair.stacks[1].abort(pair.now, server);
    assert!(pair.stacks[1].status(server).is_none());
    pair.run_for(Duration::from_millis(1));
    assert_eq!(pair.events[0].last(), Some(&Event::Reset(client, ResetReason::ByPeer)));
    assert_eq!(pair.stacks[0].statistics().connections, 0);
}

#[test]
fn close_with_unread_data_resets() {
    let mut pair = Pair::new(true, Trouble::NONE, 8);
    let (client, server) = pair.connect(far(80));
    pair.stacks[0].send(pair.now, client, b"unread");
    pair.run_for(Duration::from_millis(1));
    pair.stacks[1].close(pair.now, server);
    pair.run_for(Duration::from_millis(1));
    assert_eq!(pair.events[0].last(), Some(&Event::Reset(client, ResetReason::ByPeer)));
}

#[test]
fn data_after_close_resets() {
    let mut pair = Pair::new(true, Trouble::NONE, 9);
    let (client, server) = pair.connect(far(80));
    pair.stacks[1].close(pair.now, server);
    pair.run_for(Duration::from_millis(1));
    assert_eq!(pair.events[0].last(), Some(&Event::PeerClosed(client)));
    pair.stacks[0].send(pair.now, client, b"too late");
    pair.run_for(Duration::from_millis(1));
    assert_eq!(pair.events[0].last(), Some(&Event::Reset(client, ResetReason::ByPeer)));
    assert_eq!(pair.stacks[1].statistics().connections, 0);
}

#[test]
fn a_shut_window_holds_the_sender_and_opens_again() {
    let mut pair = Pair::new(true, Trouble::NONE, 10);
    let (client, server) = pair.connect(far(80));
    let data = vec![7; 1 << 20];
    let mut queued = pair.stacks[0].send(pair.now, client, &data);
    pair.run_for(Duration::from_secs(20));
    let held = pair.stacks[1].status(server).expect("alive").readable;
    assert!((60_000..=70_000).contains(&held), "{held}");
    let mut buffer = vec![0; 100_000];
    let mut got = 0;
    pair.run_until(Duration::from_secs(60), |pair| {
        queued += pair.stacks[0].send(pair.now, client, &data[queued..]);
        while let Ok(count) = pair.stacks[1].receive_into(pair.now, server, &mut buffer) {
            got += count;
        }
        got == data.len()
    });
}

#[test]
fn the_stack_listens_and_refuses_for_itself() {
    let mut pair = Pair::new(true, Trouble::NONE, 11);
    let at = |port| std::net::SocketAddr::new(host(), port);
    let listener = pair.stacks[0].listen(at(22), 2).expect("free");
    assert!(pair.stacks[0].listen(at(22), 2).is_err());
    let source = far(5000);
    let inbound = pair.stacks[1].connect(pair.now, Some(source), at(22), 0).expect("free");
    let refused = pair.stacks[1].connect(pair.now, Some(source), at(23), 0).expect("free");
    pair.stacks[1].send(pair.now, inbound, b"early");
    pair.run_for(Duration::from_millis(2));
    assert_eq!(pair.events[1][..], [Event::Reset(refused, ResetReason::Refused), Event::Connected(inbound)]);
    assert_eq!(pair.events[0], [Event::Acceptable(listener)]);
    let accepted = pair.stacks[0].accept(listener).expect("one waits");
    assert_eq!(pair.stacks[0].status(accepted).map(|status| status.remote), Some(source));
    assert_eq!(pair.stacks[0].poll_event(), Some(Event::Readable(accepted)));
    assert_eq!(pair.stacks[0].receive_chunks(accepted)[0], b"early");
}

#[test]
fn both_may_open_at_once() {
    let mut pair = Pair::new(true, Trouble::NONE, 12);
    let (a, b) = (std::net::SocketAddr::new(host(), 700), std::net::SocketAddr::new(router(), 701));
    // Neighbours first, so that the SYNs cross.
    pair.stacks[0].connect(pair.now, None, b, 9).expect("free");
    pair.run_for(Duration::from_millis(2));
    let one = pair.stacks[0].connect(pair.now, Some(a), b, 0).expect("free");
    let other = pair.stacks[1].connect(pair.now, Some(b), a, 0).expect("free");
    pair.run_for(Duration::from_millis(2));
    assert!(pair.events[0].contains(&Event::Connected(one)), "{:?}", pair.events);
    assert!(pair.events[1].contains(&Event::Connected(other)), "{:?}", pair.events);
    transfer(&mut pair, (0, one), (1, other), 100_000);
}

#[test]
fn a_used_port_serves_again_although_the_old_connection_is_remembered() {
    let mut pair = Pair::new(true, Trouble::NONE, 13);
    let local = std::net::SocketAddr::new(host(), 4444);
    for _ in 0..5 {
        let client = pair.stacks[0].connect(pair.now, Some(local), far(80), 0).expect("free");
        let mut server = None;
        pair.run_until(Duration::from_secs(1), |pair| {
            for event in std::mem::take(&mut pair.events[1]) {
                if let Event::Incoming(incoming) = event {
                    server = pair.stacks[1].accept_incoming(pair.now, incoming.id).ok();
                }
            }
            pair.events[0].contains(&Event::Connected(client))
        });
        // The router closes first, so TIME-WAIT is with it, and the host takes the port again.
        pair.stacks[1].close(pair.now, server.expect("asked"));
        pair.run_for(Duration::from_millis(2));
        pair.stacks[0].close(pair.now, client);
        pair.run_for(Duration::from_millis(2));
        assert_eq!(pair.stacks[1].statistics().time_wait, 1);
        assert_eq!(pair.stacks[0].statistics().connections, 0);
    }
}

#[test]
fn datagrams_and_echo_pass_in_all_sizes() {
    for virtio in [false, true] {
        let mut pair = Pair::new(virtio, Trouble::NONE, 14);
        for (source, destination) in [("10.0.0.2:9", "192.0.2.1:53"), ("[fd00::2]:9", "[2001:db8::5]:53")] {
            let (source, destination) = (source.parse().expect("ok"), destination.parse().expect("ok"));
            for size in [0, 1, 1400, 1472, 1473, 9000, 65_507] {
                let payload: Vec<u8> = (0..size).map(common::pattern).collect();
                pair.stacks[0].send_datagram(pair.now, source, destination, &payload).expect("room");
                pair.run_for(Duration::from_millis(3));
                let got = pair.stacks[1].poll_datagram().expect("one arrived");
                assert_eq!((got.source, got.destination), (source, destination));
                assert!(got.payload == payload, "{size}");
                assert!(pair.stacks[1].poll_datagram().is_none());
            }
            pair.stacks[0].send_datagram(pair.now, source, destination, b"nobody").expect("room");
            pair.run_for(Duration::from_millis(3));
            assert!(pair.stacks[1].poll_datagram().is_some());
            pair.stacks[1].datagram_unreachable(pair.now, source, destination, b"nobody", Unreachable::Port);
            pair.run_for(Duration::from_millis(3));
            let told = Event::DatagramUnreachable { source, destination, reason: Unreachable::Port };
            assert_eq!(pair.events[0].pop(), Some(told));
        }
    }
}

#[test]
fn an_absent_neighbor_is_a_host_unreachable() {
    let mut pair = Pair::new(true, Trouble::NONE, 15);
    let client = pair.stacks[0].connect(pair.now, None, "10.0.0.9:80".parse().expect("ok"), 0).expect("free");
    pair.run_for(Duration::from_secs(4));
    assert_eq!(pair.events[0], [Event::Reset(client, ResetReason::Unreachable(Unreachable::Host))]);
}

#[test]
fn the_receive_window_grows_with_the_reader() {
    let trouble = Trouble { delay: Duration::from_millis(10), ..Trouble::NONE };
    let mut pair = Pair::new(true, trouble, 16);
    let (client, server) = pair.connect(far(80));
    let time = transfer(&mut pair, (0, client), (1, server), 30_000_000);
    let status = pair.stacks[1].status(server).expect("alive");
    assert!(status.own_window > 1 << 20, "{status:?}");
    assert!(time < Duration::from_millis(900), "{time:?}");
}

#[test]
fn what_was_not_lent_is_not_sent() {
    let mut pair = Pair::warmed(true, Trouble::NONE, 3);
    let (client, server) = pair.connect(far(80));
    let lent = pair.stacks[0].send_space(client, 100).len();
    pair.stacks[0].commit(pair.now, client, 40);
    // A second time, without having asked again.
    pair.stacks[0].commit(pair.now, client, 60);
    assert_eq!(pair.stacks[0].status(client).expect("alive").queued, 40);
    pair.stacks[0].send_space(client, 100);
    pair.stacks[0].commit(pair.now, client, usize::MAX);
    assert!(pair.stacks[0].status(client).expect("alive").queued <= lent);
    pair.run_for(Duration::from_millis(2));
    assert_eq!(
        pair.stacks[1].status(server).map(|status| status.readable as u64),
        pair.stacks[0].status(client).map(|status| status.bytes_acknowledged)
    );
}

#[test]
fn buffers_stop_growing_where_memory_is_short() {
    let (mut host_config, mut router_config) = (common::config(1, true), common::config(2, true));
    host_config.limits.buffer_bytes = 1 << 20;
    router_config.limits.buffer_bytes = 1 << 20;
    let mut pair = Pair::with(host_config, router_config, Trouble::NONE, 17);
    let connections: Vec<_> = (0..30).map(|number| pair.connect(far(1000 + number))).collect();
    // Nobody reads: every sender queues what it may.
    let mut queued = vec![0; connections.len()];
    for _ in 0..100 {
        for ((client, _), queued) in connections.iter().zip(&mut queued) {
            *queued += pair.stacks[0].send(pair.now, *client, &[1; 30_000]);
        }
        pair.run_for(Duration::from_millis(1));
    }
    let total: usize = queued.iter().sum();
    assert!((2 << 20..6 << 20).contains(&total), "{total}: about 64 KiB there and 64 KiB here for each");
    // Now all is read: everything arrives.
    let mut got = vec![0; connections.len()];
    let mut buffer = vec![0; 100_000];
    pair.run_until(Duration::from_secs(100), |pair| {
        for ((_, server), got) in connections.iter().zip(&mut got) {
            while let Ok(count) = pair.stacks[1].receive_into(pair.now, *server, &mut buffer) {
                *got += count;
            }
        }
        got == queued
    });
}
