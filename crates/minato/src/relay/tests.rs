use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::failure::code;

const ANY: &str = "127.0.0.1:0";

fn any() -> SocketAddr {
    ANY.parse().expect("an address")
}

/// A relay to a service, in a thread of its own that ends with the test.
fn start(to: SocketAddr, transport: Transport) -> SocketAddr {
    start_with(to, transport, datagrams::IDLE)
}

fn start_with(to: SocketAddr, transport: Transport, idle: Duration) -> SocketAddr {
    let (tell, place) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            match transport {
                Transport::Tcp => {
                    let listener = streams::open(any()).expect("a port");
                    tell.send(listener.local_addr().expect("its address")).expect("heard");
                    streams::serve(listener, to).await;
                }
                Transport::Udp => {
                    let socket = datagrams::open(any()).expect("a port");
                    tell.send(socket.local_addr().expect("its address")).expect("heard");
                    datagrams::serve(socket, to, idle).await;
                }
            }
        });
    });
    place.recv().expect("the relay's address")
}

#[test]
fn a_connection_ends_direction_by_direction() {
    let service = TcpListener::bind(ANY).expect("to listen");
    let place = start(service.local_addr().expect("its address"), Transport::Tcp);
    let mut client = TcpStream::connect(place).expect("to connect");
    client.write_all(b"question").expect("sent");
    client.shutdown(std::net::Shutdown::Write).expect("ended");
    let (mut served, _) = service.accept().expect("a connection");
    let mut text = String::new();
    served.read_to_string(&mut text).expect("all of it");
    assert_eq!(text, "question");
    served.write_all(b"answer").expect("sent");
    drop(served);
    text.clear();
    client.read_to_string(&mut text).expect("all of it");
    assert_eq!(text, "answer");
}

#[test]
fn without_its_service_a_connection_is_reset() {
    let service = TcpListener::bind(ANY).expect("to listen");
    let place = start(service.local_addr().expect("its address"), Transport::Tcp);
    drop(service);
    let mut client = TcpStream::connect(place).expect("to connect");
    let error = client.read(&mut [0]).expect_err("no end of file, which would be a service's word");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_service_that_fails_amid_its_answer_has_not_ended_it() {
    let service = TcpListener::bind(ANY).expect("to listen");
    let place = start(service.local_addr().expect("its address"), Transport::Tcp);
    let mut client = TcpStream::connect(place).expect("to connect");
    client.write_all(b"question").expect("sent");
    let (mut served, _) = service.accept().expect("a connection");
    served.peek(&mut [0]).expect("a question");
    served.write_all(b"half of it").expect("sent");
    // What it has not read makes the kernel reset it.
    drop(served);
    let error = client.read_to_end(&mut Vec::new()).expect_err("no end of file, which would be the service's");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn who_only_speaks_is_not_forgotten_and_who_is_silent_is() {
    let idle = Duration::from_secs(1);
    let service = UdpSocket::bind(ANY).expect("a port");
    let place = start_with(service.local_addr().expect("its address"), Transport::Udp, idle);
    let client = UdpSocket::bind(ANY).expect("a port");
    let from = || {
        client.send_to(b"word", place).expect("sent");
        service.recv_from(&mut [0; 16]).expect("a word").1
    };
    let (began, first) = (Instant::now(), from());
    while began.elapsed() < idle * 3 {
        thread::sleep(idle / 10);
        assert_eq!(from(), first);
    }
    let silent = Instant::now();
    while from() == first {
        assert!(silent.elapsed() < Duration::from_secs(60), "it is known for ever");
        thread::sleep(idle * 2);
    }
}

#[test]
fn a_datagram_service_is_there_or_the_relay_does_not_start() {
    let service = UdpSocket::bind(ANY).expect("a port");
    let there = service.local_addr().expect("its address");
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), there.port());
    let wildcard = UdpSocket::bind("0.0.0.0:0").expect("a port");
    let by_wildcard = SocketAddr::new(there.ip(), wildcard.local_addr().expect("its address").port());
    for to in [there, any, by_wildcard] {
        datagrams::check(to).expect("a service");
    }
    // One that talks to somebody else hears nobody.
    service.connect(by_wildcard).expect("connected");
    for to in [there, any] {
        let failure = datagrams::check(to).expect_err("no service");
        assert_eq!(failure.code, code::NOTHING);
    }
    // Of another machine nothing is known.
    datagrams::check("192.0.2.1:9".parse().expect("an address")).expect("perhaps a service");
}

#[test]
fn each_client_gets_its_own_answers() {
    let service = UdpSocket::bind(ANY).expect("a port");
    let place = start(service.local_addr().expect("its address"), Transport::Udp);
    let clients = ["one", "two"].map(|word| {
        let client = UdpSocket::bind(ANY).expect("a port");
        client.connect(place).expect("connected");
        client.send(word.as_bytes()).expect("sent");
        (client, word)
    });
    let mut payload = [0; 16];
    let mut asked = Vec::new();
    for _ in &clients {
        let (length, from) = service.recv_from(&mut payload).expect("a question");
        asked.push((payload[..length].to_vec(), from));
    }
    assert_ne!(asked[0].1, asked[1].1);
    for (question, from) in asked.iter().rev() {
        service.send_to(question, from).expect("sent");
    }
    for (client, word) in clients {
        let length = client.recv(&mut payload).expect("an answer");
        assert_eq!(&payload[..length], word.as_bytes());
    }
}

#[test]
fn what_is_taken_is_refused_with_its_holder() {
    let taken = TcpListener::bind(ANY).expect("to listen");
    let address = taken.local_addr().expect("its address");
    let failure = refused(address, Transport::Tcp, streams::open(address).expect_err("taken"));
    assert_eq!(failure.code, code::CONFLICT);
    assert!(failure.details[0].contains(&format!("pid {}", std::process::id())), "{:?}", failure.details);
    let elsewhere = "192.0.2.1:9".parse().expect("an address");
    assert_eq!(refused(elsewhere, Transport::Tcp, streams::open(elsewhere).expect_err("nobody's")).code, 11);
    assert!(datagrams::open("0.0.0.0:9".parse().expect("an address")).is_err());
}

#[test]
fn a_refusal_says_what_a_forward_s_does() {
    let service = TcpListener::bind(ANY).expect("to listen");
    let client = TcpStream::connect(service.local_addr().expect("its address")).expect("to connect");
    let (address, remote) = (client.local_addr().expect("its own"), client.peer_addr().expect("the other"));
    let taken = refused(address, Transport::Tcp, streams::open(address).expect_err("the client's"));
    assert_eq!(taken.title, format!("{address}/tcp is in use by a connection to {remote}"));

    let address = "127.0.0.1:80".parse().expect("an address");
    let privileged = refused(address, Transport::Tcp, HoldError::Privileged { address, first: 1024 });
    assert_eq!(privileged.code, code::PRIVILEGED);
    let fixes = ["sudo sysctl net.ipv4.ip_unprivileged_port_start=80", "use a port from 1024 on: 127.0.0.1:8080"];
    assert_eq!(privileged.fixes, fixes);

    let full = refused(address, Transport::Udp, HoldError::FileLimit { limit: 64 });
    assert_eq!((full.code, full.title.contains("(64)")), (code::EXHAUSTED, true), "{full:?}");
}
