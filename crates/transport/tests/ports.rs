//! Listening, backlog, floods, and the port table as the authority.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Pair, Trouble, config, far, host, router};
use minato_ports::{Port, PortRange, Transport};
use minato_transport::{ConnectError, Event, ListenError, ResetReason};

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(host(), port)
}

#[test]
fn the_table_refuses_a_second_listener_and_names_the_first() {
    let mut pair = Pair::new(true, Trouble::NONE, 1);
    let first = pair.stacks[0].listen(at(80), 1).expect("free");
    let any = "0.0.0.0:80".parse().expect("ok");
    let Err(error @ ListenError::InUse { .. }) = pair.stacks[0].listen(any, 1) else { panic!("two listeners") };
    assert_eq!(error.to_string(), "0.0.0.0:80 is in use: 10.0.0.2:80/tcp stands in the way");
    pair.stacks[0].listen("[::]:80".parse().expect("ok"), 1).expect("the other family is free");
    assert_eq!(pair.stacks[0].listen(at(0), 1), Err(ListenError::InvalidAddress(at(0))));
    assert_eq!(pair.stacks[0].listen(far(80), 1), Err(ListenError::InvalidAddress(far(80))));
    pair.stacks[0].unlisten(pair.now, first);
    pair.stacks[0].listen(any, 1).expect("free again");
}

#[test]
fn a_listener_on_all_addresses_is_found_after_a_specific_one() {
    let mut pair = Pair::new(true, Trouble::NONE, 2);
    let any = pair.stacks[0].listen("[::]:22".parse().expect("ok"), 4).expect("free");
    let specific = pair.stacks[0].listen(at(22), 4).expect("free");
    let v6 = "[fd00::2]:22".parse().expect("ok");
    for (to, listener) in [(at(22), specific), (v6, any)] {
        let own = if to.is_ipv4() { router() } else { "fd00::1".parse().expect("ok") };
        let from = Some(SocketAddr::new(own, 0));
        pair.stacks[1].connect(pair.now, from, to, 5).expect("free");
        pair.run_for(Duration::from_millis(2));
        assert_eq!(pair.events[0].pop(), Some(Event::Acceptable(listener)));
        let id = pair.stacks[0].accept(listener).expect("one waits");
        assert_eq!(pair.stacks[0].status(id).map(|status| status.local), Some(to));
    }
}

#[test]
fn a_full_backlog_lets_clients_wait() {
    let mut pair = Pair::new(true, Trouble::NONE, 3);
    let listener = pair.stacks[0].listen(at(80), 2).expect("free");
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let id = pair.stacks[1].connect(pair.now, Some(far(1000 + number)), at(80), 0).expect("free");
            pair.run_for(Duration::from_millis(2));
            id
        })
        .collect();
    let connected = |pair: &Pair| clients.iter().filter(|id| pair.events[1].contains(&Event::Connected(**id))).count();
    assert_eq!(connected(&pair), 2);
    assert!(pair.stacks[0].accept(listener).is_some() && pair.stacks[0].accept(listener).is_some());
    pair.run_for(Duration::from_secs(10));
    assert_eq!(connected(&pair), 4, "they tried again");
    pair.stacks[0].unlisten(pair.now, listener);
    pair.run_for(Duration::from_millis(2));
    let resets = pair.events[1].iter().filter(|event| matches!(event, Event::Reset(_, ResetReason::ByPeer))).count();
    assert_eq!(resets, 2, "those that nobody accepted");
}

#[test]
fn a_backlog_holds_no_more_than_it_says_however_many_come_at_once() {
    const CLIENTS: u8 = 10;
    let mut pair = Pair::new(true, Trouble::NONE, 3);
    let listener = pair.stacks[0].listen(at(80), 2).expect("free");
    for number in 0..CLIENTS {
        let local = Some(far(1000 + u16::from(number)));
        let id = pair.stacks[1].connect(pair.now, local, at(80), 0).expect("free");
        pair.stacks[1].send(pair.now, id, &[number]);
    }
    let mut accepted = Vec::new();
    for _ in 0..100 {
        pair.run_for(Duration::from_secs(1));
        let waiting: Vec<_> = std::iter::from_fn(|| pair.stacks[0].accept(listener)).collect();
        assert!(waiting.len() <= 2, "{} wait", waiting.len());
        accepted.extend(waiting);
    }
    // Who had to wait loses nothing.
    let mut numbers: Vec<_> = accepted.iter().map(|id| pair.stacks[0].receive_chunks(*id)[0].to_vec()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..CLIENTS).map(|number| vec![number]).collect::<Vec<_>>());
}

#[test]
fn clients_that_give_up_before_they_are_accepted_leave_their_places_in_the_backlog() {
    let mut pair = Pair::new(true, Trouble::NONE, 3);
    let listener = pair.stacks[0].listen(at(80), 3).expect("free");
    let connect = |pair: &mut Pair, port| {
        let id = pair.stacks[1].connect(pair.now, Some(far(port)), at(80), 0).expect("free");
        pair.run_for(Duration::from_millis(2));
        id
    };
    connect(&mut pair, 1000);
    for port in 1001..1500 {
        // In the middle of the queue, and at its end.
        let clients = [connect(&mut pair, port), connect(&mut pair, port + 1000)];
        for client in clients {
            pair.stacks[1].abort(pair.now, client);
            pair.run_for(Duration::from_millis(1));
        }
    }
    connect(&mut pair, 3000);
    let accepted: Vec<_> = std::iter::from_fn(|| pair.stacks[0].accept(listener)).collect();
    let ports: Vec<_> = accepted.iter().map(|id| pair.stacks[0].status(*id).expect("open").remote.port()).collect();
    assert_eq!(ports, [1000, 3000]);
}

#[test]
fn real_clients_connect_through_a_flood() {
    for timestamps in [true, false] {
        let mut host_config = config(1, true);
        host_config.tcp.timestamps = timestamps;
        let mut pair = Pair::with(host_config, config(2, true), Trouble::NONE, 4);
        let listener = pair.stacks[0].listen(at(80), 16).expect("free");
        // SYNs from everywhere, whose senders never answer: a second router without memory makes them.
        let mut flood = Pair::with(config(1, true), config(2, true), Trouble::NONE, 5);
        flood.connect(far(1));
        let mut accepted = 0;
        for round in 0..200_u16 {
            for number in 0..50_u16 {
                let source = SocketAddr::from(([203, 0, (round % 250) as u8, number as u8], 2000 + round));
                let id = flood.stacks[1].connect(flood.now, Some(source), at(80), 0).expect("free");
                while let Some(transmit) = flood.stacks[1].poll_transmit(flood.now) {
                    let mut frame = transmit.to_vec();
                    pair.stacks[0].receive(pair.now, &mut frame);
                }
                flood.stacks[1].abort(flood.now, id);
            }
            // What answers the flood is lost on the way, so that nobody resets.
            while pair.stacks[0].poll_transmit(pair.now).is_some() {}
            let client = pair.stacks[1].connect(pair.now, Some(far(10_000 + round)), at(80), 0).expect("free");
            pair.stacks[1].send(pair.now, client, b"request");
            pair.run_for(Duration::from_millis(1));
            assert!(pair.events[1].contains(&Event::Connected(client)), "round {round}");
            let id = pair.stacks[0].accept(listener).expect("one waits");
            assert_eq!(pair.stacks[0].receive_chunks(id)[0], b"request");
            pair.stacks[0].send(pair.now, id, &vec![7; 50_000]);
            pair.run_for(Duration::from_millis(2));
            let readable = pair.stacks[1].status(client).map(|status| status.readable);
            assert_eq!(readable, Some(50_000));
            accepted += 1;
            pair.stacks[0].abort(pair.now, id);
            pair.run_for(Duration::from_millis(1));
            pair.events = [Vec::new(), Vec::new()];
        }
        assert_eq!(accepted, 200);
        assert!(pair.stacks[0].statistics().connections <= 64, "half open ones are bounded");
    }
}

#[test]
fn ephemeral_ports_run_out_towards_one_destination_only_and_come_back() {
    let mut host_config = config(1, true);
    host_config.ephemeral = PortRange::from_numbers(50_000, 50_009).expect("a range");
    let mut pair = Pair::with(host_config, config(2, true), Trouble::NONE, 6);
    let busy = pair.stacks[0].listen(at(50_003), 1).expect("free");
    let mut ports = Vec::new();
    let mut last = None;
    for random in 0..9_u64 {
        let id =
            pair.stacks[0].connect(pair.now, None, far(80), random.wrapping_mul(0x9e37_79b9_7f4a_7c15)).expect("free");
        ports.push(pair.stacks[0].status(id).expect("alive").local.port());
        last = Some(id);
    }
    ports.sort_unstable();
    assert_eq!(ports, [50_000, 50_001, 50_002, 50_004, 50_005, 50_006, 50_007, 50_008, 50_009]);
    let refused = pair.stacks[0].connect(pair.now, None, far(80), 1);
    let Err(ConnectError::PortsExhausted(error)) = refused else { panic!("{refused:?}") };
    assert_eq!((error.used, error.excluded), (9, 1));
    pair.stacks[0].connect(pair.now, None, far(81), 1).expect("another destination");
    pair.stacks[0].abort(pair.now, last.expect("nine"));
    pair.stacks[0].connect(pair.now, None, far(80), 1).expect("one came back");
    pair.stacks[0].unlisten(pair.now, busy);
    let id = pair.stacks[0].connect(pair.now, None, far(80), 1).expect("the listener's came back");
    assert_eq!(pair.stacks[0].status(id).expect("alive").local.port(), 50_003);
}

#[test]
fn a_chosen_port_is_reserved_until_the_connection_is_forgotten() {
    let mut pair = Pair::new(true, Trouble::NONE, 7);
    pair.stacks[0].listen(at(7000), 1).expect("free");
    let held = pair.stacks[0].connect(pair.now, Some(at(7000)), far(80), 0);
    assert!(matches!(held, Err(ConnectError::PortHeld { .. })), "{held:?}");
    let client = pair.stacks[0].connect(pair.now, Some(at(7001)), far(80), 0).expect("free");
    let again = pair.stacks[0].connect(pair.now, Some(at(7001)), far(80), 0);
    assert!(matches!(again, Err(ConnectError::InUse { .. })), "{again:?}");
    pair.stacks[0].connect(pair.now, Some(at(7001)), far(81), 0).expect("another destination");
    let port = Port::new(7001).expect("not zero");
    assert_eq!(pair.stacks[0].ports().at(Transport::Tcp, port).count(), 2);
    pair.run_for(Duration::from_millis(1));
    let incoming = pair.events[1].iter().find_map(|event| match event {
        Event::Incoming(incoming) if incoming.destination == far(80) => Some(incoming.id),
        _ => None,
    });
    let server = pair.stacks[1].accept_incoming(pair.now, incoming.expect("asked")).expect("held");
    pair.run_for(Duration::from_millis(1));
    pair.stacks[0].close(pair.now, client);
    pair.run_for(Duration::from_millis(1));
    pair.stacks[1].close(pair.now, server);
    pair.run_for(Duration::from_millis(1));
    assert_eq!(pair.stacks[0].statistics().time_wait, 1);
    assert_eq!(pair.stacks[0].ports().at(Transport::Tcp, port).count(), 2, "TIME-WAIT holds it");
    pair.run_for(Duration::from_secs(61));
    assert_eq!(pair.stacks[0].ports().at(Transport::Tcp, port).count(), 1);
}

/// As Linux, which was asked: `SO_REUSEADDR` is inherited by a listener's connections, and a connection to elsewhere has it not.
#[test]
fn time_wait_is_in_the_way_of_a_listener_only_where_it_has_an_ephemeral_port() {
    let mut pair = Pair::new(true, Trouble::NONE, 9);
    let (client, server) = pair.connect(far(80));
    let own = pair.stacks[0].status(client).expect("open").local;
    let end = |pair: &mut Pair, host, router| {
        pair.stacks[0].close(pair.now, host);
        pair.run_for(Duration::from_millis(1));
        pair.stacks[1].close(pair.now, router);
        pair.run_for(Duration::from_millis(1));
    };
    end(&mut pair, client, server);
    assert_eq!(pair.stacks[0].statistics().time_wait, 1);
    for local in [own, SocketAddr::new("0.0.0.0".parse().expect("ok"), own.port())] {
        assert!(matches!(pair.stacks[0].listen(local, 1), Err(ListenError::InUse { .. })), "{local}");
    }

    let listener = pair.stacks[0].listen(at(8080), 1).expect("free");
    let client = pair.stacks[1].connect(pair.now, Some(far(5000)), at(8080), 0).expect("free");
    pair.run_for(Duration::from_millis(1));
    let server = pair.stacks[0].accept(listener).expect("connected");
    end(&mut pair, server, client);
    assert_eq!(pair.stacks[0].statistics().time_wait, 2);
    pair.stacks[0].unlisten(pair.now, listener);
    pair.stacks[0].listen(at(8080), 1).expect("its own connections are not in the way");
    pair.run_for(Duration::from_secs(61));
    pair.stacks[0].listen(own, 1).expect("forgotten");
}

#[test]
fn datagram_sockets_are_bound_connected_and_free_again() {
    let mut pair = Pair::new(true, Trouble::NONE, 8);
    let now = pair.now;
    let any = pair.stacks[0].bind_datagram("0.0.0.0:53".parse().expect("ok"), 0).expect("free");
    let again = pair.stacks[0].bind_datagram(at(53), 0);
    assert!(matches!(again, Err(minato_transport::BindError::InUse { .. })), "{again:?}");
    let (peer, other) = (far(4000), far(4001));
    pair.stacks[1].send_datagram(now, peer, at(53), b"one").expect("room");
    pair.stacks[1].send_datagram(now, other, at(53), b"two").expect("room");
    pair.run_for(Duration::from_millis(2));
    assert_eq!(pair.events[0], [Event::DatagramReadable(any)]);
    let sources = [peer, other].map(|source| pair.stacks[0].receive_bound(any).map(|got| got.source) == Some(source));
    assert_eq!(sources, [true, true]);
    assert!(pair.stacks[0].receive_bound(any).is_none());
    assert!(pair.stacks[0].send_bound(now, any, None, b"nobody").is_err());
    pair.stacks[0].connect_datagram(any, Some(peer));
    pair.stacks[0].send_bound(pair.now, any, None, b"answer").expect("room");
    pair.stacks[1].send_datagram(pair.now, other, at(53), b"from a stranger").expect("room");
    pair.stacks[1].send_datagram(pair.now, peer, at(53), b"from the peer").expect("room");
    pair.run_for(Duration::from_millis(2));
    let answer = pair.stacks[1].poll_datagram().expect("it arrived");
    assert_eq!((answer.source, answer.destination, answer.payload), (at(53), peer, &b"answer"[..]));
    assert_eq!(pair.stacks[0].receive_bound(any).map(|got| got.payload), Some(&b"from the peer"[..]));
    assert!(pair.stacks[0].receive_bound(any).is_none());
    let refused = minato_transport::Unreachable::Port;
    let told = Event::DatagramUnreachable { source: other, destination: at(53), reason: refused };
    assert!(pair.events[1].contains(&told), "{:?}", pair.events[1]);
    pair.stacks[0].unbind_datagram(any);
    pair.stacks[0].bind_datagram(at(53), 0).expect("free again");
}

#[test]
fn datagram_sockets_get_ephemeral_ports_until_none_is_free() {
    let mut config = config(1, true);
    config.ephemeral = "50000-50002".parse().expect("a range");
    let mut pair = Pair::with(config, common::config(2, true), Trouble::NONE, 9);
    let stack = &mut pair.stacks[0];
    let ids = [0, u64::MAX, 1 << 63].map(|random| stack.bind_datagram(at(0), random).expect("one is free"));
    let mut ports = ids.map(|id| stack.datagram_address(id).expect("bound").port());
    ports.sort_unstable();
    assert_eq!(ports, [50_000, 50_001, 50_002]);
    let none = stack.bind_datagram(at(0), 7).expect_err("all are used");
    assert_eq!(none.to_string(), "no ephemeral port is free at 10.0.0.2");
    stack.unbind_datagram(ids[1]);
    assert!(stack.datagram_address(ids[1]).is_none());
    stack.bind_datagram(at(0), 7).expect("free again");
}

#[test]
fn a_connections_ephemeral_port_is_in_a_listeners_way() {
    let mut pair = Pair::new(true, Trouble::NONE, 10);
    let (client, _) = pair.connect(far(80));
    let own = pair.stacks[0].status(client).expect("alive").local;
    for local in [own, SocketAddr::new("0.0.0.0".parse().expect("ok"), own.port())] {
        let error = pair.stacks[0].listen(local, 1).expect_err("the connection has it");
        assert_eq!(error.to_string(), format!("{local} is in use: {own}/tcp stands in the way"));
    }
    let v6 = SocketAddr::new("::".parse().expect("ok"), own.port());
    pair.stacks[0].listen(v6, 1).expect("the other family is free");
    pair.stacks[0].abort(pair.now, client);
    pair.stacks[0].listen(own, 1).expect("free again");
}
