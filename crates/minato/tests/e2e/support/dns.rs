//! A name server that knows one answer: every name has the IPv4 address that it was made with.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

/// Answers on `address` until the machine ends. To be called outside.
pub(crate) fn serve(address: &str, answer: Ipv4Addr) {
    serve_after(Duration::ZERO, address, answer);
}

/// As [`serve`], but takes its time for each answer.
pub(crate) fn serve_after(delay: Duration, address: &str, answer: Ipv4Addr) {
    let socket = UdpSocket::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            if let Some(reply) = reply(&query[..length], answer) {
                std::thread::sleep(delay);
                let _ = socket.send_to(&reply, client);
            }
        }
    });
}

/// RFC 1035 §4.1: header, the one question as it was asked, and an address record if it asked for one.
fn reply(query: &[u8], answer: Ipv4Addr) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    const TYPE_A: [u8; 2] = [0, 1];
    let name_length = query.get(HEADER..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(HEADER..HEADER + name_length + 4)?;
    let is_address = question[name_length..name_length + 2] == TYPE_A;
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    reply.extend(question);
    if is_address {
        // A pointer to the question's name, type A, class IN, 0 s to live, 4 bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(answer.octets());
    }
    Some(reply)
}
