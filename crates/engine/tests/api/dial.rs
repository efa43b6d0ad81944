//! Connections to services through the API.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use minato_inspect::Network;

use crate::client::Client;
use crate::engine::Engine;
use crate::forwards::{inside, listen_inside, open};

fn dial(client: &Client, port: u16, from: &str) -> (u16, UnixStream) {
    client.upgraded("POST", &format!("/v1/hosts/web/dial?port={port}&client={from}"), "tcp")
}

pub(crate) fn a_service_is_found_from_its_first_moment_on() {
    let engine = Engine::start();
    let client = engine.client();
    let session = open(&client, "web", Vec::new());
    let first = listen_inside(&session, "0.0.0.0:9000");
    for round in 0..20u16 {
        let connected = inside(&session, || TcpStream::connect("127.0.0.1:9000").expect("to connect"));
        let accepted = first.accept().expect("a connection").0;
        assert_eq!(dial(&client, 9000, "127.0.0.1:4711").0, 101);
        drop(first.accept().expect("what was dialled"));
        // For the kernel's counts nothing has changed: two sockets are gone, and two have come.
        let ports = [9001 + 2 * round, 9002 + 2 * round];
        let listeners: [TcpListener; 2] = inside(&session, move || {
            drop((connected, accepted));
            ports.map(|port| TcpListener::bind(("0.0.0.0", port)).expect("to listen"))
        });
        assert_eq!(dial(&client, ports[1], "127.0.0.1:4711").0, 101, "round {round}");
        drop(listeners);
    }
    drop((first, session));
    engine.ends();
}

/// Whoever asks for it says whose connection it is; that is shown, and no claim towards the service.
pub(crate) fn a_service_sees_the_gateway() {
    let engine = Engine::start();
    let client = engine.client();
    let session = open(&client, "web", Vec::new());
    let network: Network = client.get("/v1/network");
    let listener = listen_inside(&session, "0.0.0.0:9000");
    for from in ["127.0.0.1:4711", "203.0.113.7:4444", "[2001:db8::7]:4444"] {
        let (status, mut stream) = dial(&client, 9000, from);
        assert_eq!(status, 101);
        let (service, seen) = listener.accept().expect("a connection");
        assert_eq!(seen.ip(), network.gateway_v4, "{from} was seen as {seen}");
        drop(service);
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
    }
    drop(listener);
    drop(session);
    engine.ends();
}
