//! What connections cost in memory.

mod common;

use std::time::Duration;

use common::direct::{at, exchange, resident, stack};
use common::start;

/// Idle connections; each has two ends.
const CONNECTIONS: u16 = 20_000;

/// The bound is the issue's: less than 1 KiB for each end of a connection that has carried data and is quiet now.
#[test]
#[allow(clippy::print_stdout, reason = "the figure is asked for")]
fn an_idle_connection_takes_less_than_a_kibibyte() {
    let mut now = start();
    let mut stacks = [stack(now, 1), stack(now, 2)];
    // Two of them, since there are 16,384 ephemeral ports towards each.
    let servers = [at(2, 80), at(2, 81)];
    let listeners = servers.map(|server| stacks[1].listen(server, 16).expect("free"));
    let mut frame = Vec::with_capacity(70_000);
    let before = resident();
    for number in 0..CONNECTIONS {
        let which = usize::from(number % 2);
        let client = stacks[0].connect(now, None, servers[which], u64::from(number)).expect("free");
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
    let each = (resident() - before) / ends;
    println!("bytes per end of an idle connection: {each}");
    assert!(each < 1024, "{each}");
}
