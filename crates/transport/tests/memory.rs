//! What connections cost in memory.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::direct::{at, exchange, resident, stack};
use common::start;
use minato_transport::Stack;

/// Idle connections; each has two ends.
const CONNECTIONS: u16 = 20_000;

/// The bound is the issue's: less than 1 KiB for each end of a connection that has carried data and is quiet now.
///
/// What was measured first stays, so that its memory is not used again for what is measured next.
#[test]
#[allow(clippy::print_stdout, reason = "the figures are asked for")]
fn an_idle_connection_takes_less_than_a_kibibyte() {
    let (each, _stacks) = measure(|_| None);
    println!("bytes per end of an idle connection: {each}");
    assert!(each < 1024, "{each}");
    let (each, _stacks) = measure(|number| Some(at(1, 10_000 + number)));
    println!("the same where each client chose its own port: {each}");
    assert!(each < 1024, "{each}");
}

/// Bytes per end of idle connections whose clients have the given addresses.
fn measure(client_address: impl Fn(u16) -> Option<SocketAddr>) -> (usize, [Stack; 2]) {
    let mut now = start();
    let mut stacks = [stack(now, 1), stack(now, 2)];
    // Two of them, since there are 16,384 ephemeral ports towards each.
    let servers = [at(2, 80), at(2, 81)];
    let listeners = servers.map(|server| stacks[1].listen(server, 16).expect("free"));
    let mut frame = Vec::with_capacity(70_000);
    let before = resident();
    for number in 0..CONNECTIONS {
        let which = usize::from(number % 2);
        let client = stacks[0].connect(now, client_address(number), servers[which], u64::from(number)).expect("free");
        while exchange(now, &mut stacks, &mut frame) {}
        let server = stacks[1].accept(listeners[which]).expect("connected");
        let mut buffer = [7; 512];
        for (from, to) in [((0, client), (1, server)), ((1, server), (0, client))] {
            assert_eq!(stacks[from.0].send(now, from.1, &buffer), buffer.len());
            while exchange(now, &mut stacks, &mut frame) {}
            assert_eq!(stacks[to.0].receive_into(now, to.1, &mut buffer), Ok(buffer.len()));
        }
        stacks.iter_mut().for_each(|stack| while stack.poll_event().is_some() {});
        now += Duration::from_micros(50);
    }
    now += Duration::from_secs(10);
    stacks.iter_mut().for_each(|stack| stack.handle_timeout(now));
    while exchange(now, &mut stacks, &mut frame) {}
    let ends = stacks.iter().map(|stack| stack.statistics().connections).sum::<usize>();
    assert_eq!(ends, 2 * usize::from(CONNECTIONS));
    ((resident() - before) / ends, stacks)
}

/// Buffers grow with what is under way and unread, and go back once that is over, also where the stack is not quite idle.
#[test]
fn after_bulk_buffers_go_back_by_themselves() {
    let mut now = start();
    let mut stacks = [stack(now, 1), stack(now, 2)];
    let listener = stacks[1].listen(at(2, 80), 16).expect("free");
    let mut frame = Vec::with_capacity(70_000);
    let mut ends = Vec::new();
    for number in 0..8 {
        let client = stacks[0].connect(now, None, at(2, 80), number).expect("free");
        while exchange(now, &mut stacks, &mut frame) {}
        ends.push((client, stacks[1].accept(listener).expect("connected")));
    }
    let (mut peak, mut buffer) = (0, vec![7; 1 << 20]);
    for _ in 0..20 {
        for (client, _) in &ends {
            stacks[0].send(now, *client, &buffer);
        }
        now += Duration::from_millis(1);
        while exchange(now, &mut stacks, &mut frame) {}
        peak = peak.max(stacks.iter().map(|stack| stack.statistics().buffer_bytes).sum());
        for (_, server) in &ends {
            while stacks[1].receive_into(now, *server, &mut buffer).is_ok_and(|count| count > 0) {}
        }
        while exchange(now, &mut stacks, &mut frame) {}
    }
    assert!(peak > 10 << 20, "{peak}");
    // One connection says a little ten times a second; all others are idle.
    for _ in 0..100 {
        now += Duration::from_millis(100);
        stacks.iter_mut().for_each(|stack| stack.handle_timeout(now));
        stacks[0].send(now, ends[0].0, b"a little");
        while exchange(now, &mut stacks, &mut frame) {}
        while stacks[1].receive_into(now, ends[0].1, &mut buffer).is_ok_and(|count| count > 0) {}
    }
    for stack in &stacks {
        let bytes = stack.statistics().buffer_bytes;
        assert!(bytes <= 16 << 10, "{bytes} of {peak}");
    }
    // And nothing wakes a stack for ever.
    for _ in 0..100 {
        let Some(at) = stacks[0].poll_timeout() else { break };
        now = now.max(at);
        stacks.iter_mut().for_each(|stack| stack.handle_timeout(now));
        while exchange(now, &mut stacks, &mut frame) {}
    }
    assert_eq!((stacks[0].poll_timeout(), stacks[0].statistics().buffer_bytes), (None, 0));
}
