//! What there is outside of a test's machine.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::machine::Machine;

/// Everything that the world outside has: greetings on TCP ports 8000 and 8001, echo on UDP port 7777.
pub(crate) fn world(machine: &Machine) {
    machine.outside(|| {
        for port in [8000, 8001] {
            greet(&format!("[::]:{port}"));
        }
        let socket = UdpSocket::bind("[::]:7777").expect("a port");
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], client);
            }
        });
    });
}

pub(crate) fn greet(address: &str) {
    let listener = TcpListener::bind(address).expect("a port");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            // To close with a request unread would reset the connection; some clients send none.
            stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello");
        }
    });
}
