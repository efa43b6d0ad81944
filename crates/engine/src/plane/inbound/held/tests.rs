use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;

use minato_host::process;
use rustix::event::{EventfdFlags, eventfd};

use super::service::{ANSWERED, PAUSE};
use super::*;

const PORT: u16 = 80;

fn descriptor() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor")
}

fn client(number: u8) -> HeldClient {
    let service = SocketAddr::from(([10, 77, 0, 2], PORT));
    let address = SocketAddr::from(([198, 51, 100, number], 5000));
    let entrance = SocketAddr::from(([192, 0, 2, 1], 8080));
    HeldClient { socket: descriptor(), address, service, forward: 7, place: 3, entrance }
}

/// Holds a client whose connection inside is made.
fn hold(held: &HeldClients, now: Instant, number: u8) -> bool {
    let client = client(number);
    let ends = Inside::of(1, &client);
    let is_held = held.hold(now, ends, client).is_ok();
    if is_held {
        held.connected(&ends, descriptor());
    }
    is_held
}

/// A thread in a call that does not wait.
fn asking(thread: u32) -> Accepting {
    Accepting { port: PORT, thread, descriptor: 3, blocks: false }
}

fn take(held: &HeldClients, number: u8) -> Option<HeldClient> {
    let HeldClient { address, service, .. } = client(number);
    held.take(1, address, service)
}

#[test]
fn only_who_asks_is_waited_for() {
    let (held, now) = (HeldClients::default(), Instant::now());
    assert!(!hold(&held, now, 1), "nobody listens");
    let (ours, another) = (100, 101);
    held.listens(1, PORT);
    assert!(hold(&held, now, 1));
    held.asks(now, 1, asking(ours));
    // A thread that waits in the kernel gets what is there, and what comes.
    assert!(held.waits(now, 1, asking(ours)));
    assert_eq!(held.due(now).0.len(), 1);
    assert!(!hold(&held, now, 2));
    assert!(!held.waits(now, 1, asking(another)));
    held.asks(now, 1, asking(ours));
    assert!(!hold(&held, now, 2), "another one waits still");
    held.asks(now, 1, asking(another));
    assert!(hold(&held, now, 2));
}

#[test]
fn a_client_is_taken_once_and_counted() {
    let (held, now) = (HeldClients::default(), Instant::now());
    held.listens(1, PORT);
    assert!(hold(&held, now, 1) && hold(&held, now, 2));
    assert!(take(&held, 3).is_none());
    let taken = take(&held, 1).expect("a client");
    assert!(take(&held, 1).is_none());
    // It is nobody else's while it is being handed over.
    assert_eq!(held.due(now + HOLD).0.len(), 1, "the other one");
    assert!(held.gone(1, &taken).is_some());
    let mut counted = Vec::new();
    held.taken(&mut counted);
    assert_eq!(counted, [(7, 3)]);
    assert!(!held.waits(now, 1, asking(100)), "nobody is held");
}

#[test]
fn what_can_not_be_handed_over_is_relayed_at_once() {
    let (held, now) = (HeldClients::default(), Instant::now());
    held.listens(1, PORT);
    assert!(hold(&held, now, 1));
    let taken = take(&held, 1).expect("a client");
    assert!(held.relay(now, 1, taken).is_none());
    let (due, _) = held.due(now);
    assert_eq!((due.len(), due[0].client.address, due[0].host), (1, client(1).address, 1));
    held.asks(now, 1, asking(100));
    assert!(!hold(&held, now, 2), "it would be the same with the next one");
    let now = now + PAUSE;
    // The connection inside may be made only after the client was taken.
    let (taken, ends) = (client(2), Inside::of(1, &client(2)));
    held.hold(now, ends, taken).expect("to hold it");
    let taken = take(&held, 2).expect("a client");
    assert!(held.gone(1, &taken).is_none());
    held.connected(&ends, descriptor());
    assert!(held.due(now + HOLD).0.is_empty());
}

#[test]
fn who_leaves_clients_waiting_is_waited_for_more_and_more_seldom() {
    let (held, mut now) = (HeldClients::default(), Instant::now());
    held.listens(1, PORT);
    for pause in [PAUSE, 2 * PAUSE, 4 * PAUSE] {
        assert!(hold(&held, now, 1));
        assert!(held.due(now).0.is_empty());
        now += HOLD;
        assert_eq!(held.due(now).0.len(), 1);
        assert!(!hold(&held, now + pause, 1), "it has to ask first");
        held.asks(now, 1, asking(100));
        assert!(!hold(&held, now + pause - HOLD, 1));
        now += pause;
    }
    assert!(hold(&held, now, 1));
    let taken = take(&held, 1).expect("a client");
    held.gone(1, &taken);
    assert!(hold(&held, now, 1));
    held.due(now + HOLD);
    held.asks(now, 1, asking(100));
    assert!(hold(&held, now + HOLD + PAUSE, 1), "it was forgiven");
}

#[test]
fn forwards_and_hosts_end_with_what_is_held_for_them() {
    let (held, now) = (HeldClients::default(), Instant::now());
    held.listens(1, PORT);
    assert!(hold(&held, now, 1));
    assert!(held.of_forwards(&HashSet::from([8])).is_empty());
    assert_eq!(held.of_forwards(&HashSet::from([7])).len(), 1);
    assert!(hold(&held, now, 1));
    held.hurry(&HashSet::from([7]));
    assert_eq!(held.due(now).0.len(), 1);
    assert!(hold(&held, now, 1));
    assert!(held.forget_host(2).is_empty());
    assert_eq!(held.forget_host(1).len(), 1);
    assert!(!hold(&held, now, 1), "its services are forgotten");
}

#[test]
fn a_client_whose_forward_goes_while_it_is_handed_over_does_not_come_back() {
    let (held, now) = (HeldClients::default(), Instant::now());
    held.listens(1, PORT);
    for removed in
        [|held: &HeldClients| held.of_forwards(&HashSet::from([7])), |held: &HeldClients| held.forget_host(1)]
    {
        held.listens(1, PORT);
        assert!(hold(&held, now, 1));
        let taken = take(&held, 1).expect("a client");
        assert!(removed(&held).is_empty(), "it is somebody else's");
        assert!(held.relay(now, 1, taken).is_some());
        assert!(held.due(now + HOLD).0.is_empty());
    }
}

#[test]
fn who_does_not_wait_in_the_kernel_has_its_answer_soon() {
    let (held, now) = (HeldClients::default(), Instant::now());
    held.listens(1, PORT);
    held.waits(now, 1, asking(100));
    assert!(!hold(&held, now + ANSWERED / 2, 1));
    assert!(hold(&held, now + ANSWERED, 1), "it need not ask again");
}

#[test]
fn who_waits_in_the_kernel_does_so_until_somebody_comes() {
    let (held, now) = (HeldClients::default(), Instant::now());
    held.listens(1, PORT);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let descriptor = listener.as_raw_fd();
    let (tell, told) = mpsc::channel();
    let (go_on, end) = mpsc::channel::<()>();
    let program = thread::spawn(move || {
        tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).expect("to tell");
        drop(listener.accept());
        end.recv().expect_err("nothing");
    });
    let waits = Accepting { port: PORT, thread: told.recv().expect("a thread"), descriptor, blocks: true };
    while !process::accepts(waits.thread, descriptor) {
        thread::sleep(Duration::from_millis(1));
    }
    held.waits(now, 1, waits);
    let later = now + 10 * ANSWERED;
    assert!(!hold(&held, later, 1));
    // At another listener it waits no more, though it may have done before.
    let elsewhere = HeldClients::default();
    elsewhere.listens(1, PORT);
    elsewhere.waits(now, 1, Accepting { descriptor: descriptor + 1, ..waits });
    assert!(hold(&elsewhere, later, 1));
    // It has its connection, and never asks again.
    TcpStream::connect(address).expect("a connection");
    while process::accepts(waits.thread, descriptor) {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!hold(&held, later, 1), "for a while it is believed that it waits");
    assert!(hold(&held, later + ANSWERED, 1));
    drop(go_on);
    program.join().expect("its end");
}

#[test]
fn what_nobody_is_held_for_is_left_to_the_kernel() {
    let (held, mut now) = (HeldClients::default(), Instant::now());
    held.listens(1, PORT);
    assert!(held.asks(now, 1, asking(100)), "a client may come");
    let clients = (0..200).take_while(|number| hold(&held, now, *number)).count() as u8;
    assert!(held.asks(now, 1, asking(100)), "those that are held are for whoever asks");
    let taken: Vec<HeldClient> = (0..clients).filter_map(|number| take(&held, number)).collect();
    assert!(held.asks(now, 1, asking(100)), "one that is being handed over may come back");
    taken.iter().for_each(|client| drop(held.gone(1, client)));
    assert!(!held.asks(now, 1, asking(100)), "no client more may be handed over");
    assert!(!held.asks(now, 1, asking(101)));
    // One more may be by then, but the kernel may be giving its connection to one of the two.
    now += ANSWERED / 2;
    assert!(!hold(&held, now, 1));
    assert!(held.asks(now, 1, asking(100)));
    assert!(!hold(&held, now, 1));
    assert!(held.asks(now, 1, asking(101)));
    assert!(hold(&held, now, 1));
    // It is missed, and nobody is held for a while.
    now += HOLD;
    assert_eq!(held.due(now).0.len(), 1);
    assert!(!held.asks(now, 1, asking(100)));
    assert!(held.asks(now + PAUSE, 1, asking(100)));
    assert!(hold(&held, now + PAUSE, 1));
}

#[test]
fn who_gets_many_clients_at_once_gets_them_relayed() {
    let (held, now) = (HeldClients::default(), Instant::now());
    held.listens(1, PORT);
    let at_once = (0..200).take_while(|number| hold(&held, now, *number)).count();
    assert!((1..200).contains(&at_once), "{at_once}");
    assert!(hold(&held, now + Duration::from_secs(1), 200), "and one more later");
}
