//! A flood of SYNs from everywhere on one listening port, while real clients connect to it.

mod common;

use std::time::{Duration, Instant};

use common::direct::{at, exchange, resident, stack};
use common::start;
use minato_transport::{ConnectionId, Event, ListenerId, Stack};

/// 100,000 SYNs a second for ten seconds, and a hundred clients a second among them.
const STEPS: u32 = 10_000;
const STEP: Duration = Duration::from_millis(1);
const SYNS_PER_STEP: u32 = 100;
const STEPS_PER_CLIENT: u32 = 10;

/// The same SYN from another sender each time: a virtio-net header that vouches for the checksum, IPv4, TCP with options.
fn syn(number: u32, frame: &mut Vec<u8>) {
    frame.clear();
    frame.extend_from_slice(&[1, 0, 0, 0, 0, 0, 20, 0, 16, 0]);
    frame.extend_from_slice(&[0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6, 0, 0, 203, 0, 0, 0, 10, 0, 0, 2]);
    frame[23..26].copy_from_slice(&number.to_be_bytes()[1..]);
    let sum: u32 = frame[10..30].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[20..22].copy_from_slice(&sum.to_be_bytes());
    let port = 1024 + (number % 60_000) as u16;
    frame.extend_from_slice(&port.to_be_bytes());
    frame.extend_from_slice(&[0, 80]);
    frame.extend_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 0, 0xa0, 2, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend_from_slice(&[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]);
}

/// The server's part: takes whoever is through the door, answers, and ends.
fn serve(now: Instant, server: &mut Stack, listener: ListenerId, guests: &mut Vec<ConnectionId>) {
    while server.poll_event().is_some() {}
    guests.extend(std::iter::from_fn(|| server.accept(listener)));
    guests.retain(|id| {
        let mut request = [0; 16];
        let Ok(count) = server.receive_into(now, *id, &mut request) else { return server.status(*id).is_some() };
        assert_eq!(&request[..count], b"request");
        server.send(now, *id, b"answer");
        server.close(now, *id);
        false
    });
}

#[test]
fn real_clients_connect_while_a_million_syns_arrive_in_ten_seconds() {
    let mut now = start();
    let mut stacks = [stack(now, 1), stack(now, 2)];
    let listener = stacks[1].listen(at(2, 80), 128).expect("free");
    let (mut frame, mut flood) = (Vec::with_capacity(70_000), Vec::with_capacity(100));
    let (mut started, mut answered, mut guests) = (0, 0, Vec::new());
    let before = resident();
    for step in 0..STEPS {
        if step % STEPS_PER_CLIENT == 0 {
            // A few ports again and again, so that the server has the ends in TIME-WAIT.
            let random = u64::from(step % 70) << 57;
            let client = stacks[0].connect(now, None, at(2, 80), random).expect("free");
            stacks[0].send(now, client, b"request");
            started += 1;
        }
        for number in 0..SYNS_PER_STEP {
            syn(step * SYNS_PER_STEP + number, &mut flood);
            stacks[1].receive(now, &mut flood);
        }
        exchange(now, &mut stacks, &mut frame);
        serve(now, &mut stacks[1], listener, &mut guests);
        while let Some(event) = stacks[0].poll_event() {
            match event {
                Event::Readable(id) => {
                    let mut answer = [0; 16];
                    let count = stacks[0].receive_into(now, id, &mut answer).expect("it is there");
                    assert_eq!(&answer[..count], b"answer");
                    stacks[0].close(now, id);
                    answered += 1;
                }
                Event::Reset(..) => panic!("a client was reset at step {step}"),
                _ => {}
            }
        }
        let statistics = stacks[1].statistics();
        assert!(statistics.connections < 128 + 50, "{statistics:?}");
        now += STEP;
        stacks.iter_mut().for_each(|stack| stack.handle_timeout(now));
    }
    // Whoever came last has not been answered yet.
    assert_eq!(started, STEPS / STEPS_PER_CLIENT);
    assert!(answered >= started - 1, "{answered} of {started}");
    let statistics = stacks[1].statistics();
    assert!(statistics.frames_received > u64::from(STEPS * SYNS_PER_STEP) && statistics.limited == 0, "{statistics:?}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more than before the flood");
}
