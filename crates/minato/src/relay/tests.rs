use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use super::*;

const ANY: &str = "127.0.0.1:0";

fn any() -> SocketAddr {
    ANY.parse().expect("an address")
}

/// A relay to a service, in a thread of its own that ends with the test.
fn start(to: SocketAddr, transport: Transport) -> SocketAddr {
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
                    datagrams::serve(socket, to).await;
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
