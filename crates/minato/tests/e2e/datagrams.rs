//! Datagrams in bulk: put together and cut apart by kernels and by us, and yet each one arrives as it was sent.

use crate::machine::{MACHINE_V4, MACHINE_V6, Machine, OUTSIDE_V4, OUTSIDE_V6, Program, SOON, wait_until};
use crate::support::api::Api;

/// `send ADDRESS PORT`, `receive ADDRESS PORT`, or the same when the receiver speaks first: `answer ADDRESS PORT` and `ask
/// ADDRESS PORT`. All print the size and the sum of each datagram, and the receiver confirms each burst. `crowd ADDRESS PORT` is
/// many senders that alternate, each of which gets back from `echo ADDRESS PORT` what it has sent.
const PEER: &str = r#"
import socket, sys, zlib
role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
own = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM)
own.settimeout(20)
own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

def tell(data):
    print(len(data), zlib.crc32(data))

def datagram(number, size):
    return (number.to_bytes(4, 'big') + bytes([number % 251]) * size)[:size]

def send():
    bursts = [[1000] * 40 + [7], [0, 0, 5, 0], [1400] * 50, [8000] * 3 + [1200, 1, 1], [100] * 70, [60000], [1472, 1473, 1472]]
    number = 0
    for burst in bursts * 3:
        for size in burst:
            number += 1
            own.send(datagram(number, size))
            tell(datagram(number, size))
        own.send(b'burst')
        assert own.recv(100) == b'ok'
    # The program has its kernel cut (UDP_SEGMENT).
    own.setsockopt(socket.IPPROTO_UDP, 103, 1000)
    data = bytes(range(250)) * 122
    own.send(data)
    for start in range(0, len(data), 1000):
        tell(data[start:start + 1000])
    own.setsockopt(socket.IPPROTO_UDP, 103, 0)
    own.send(b'end')
    assert own.recv(100) == b'ok'

def receive():
    while True:
        data, sender = own.recvfrom(65536)
        if data in (b'burst', b'end'):
            own.sendto(b'ok', sender)
            if data == b'end':
                return
        else:
            tell(data)

def echo():
    own.settimeout(None)
    while True:
        own.sendto(*own.recvfrom(2000))

def crowd(senders=20, rounds=30, burst=5):
    crowd = [socket.socket(own.family, socket.SOCK_DGRAM) for _ in range(senders)]
    for one in crowd:
        one.settimeout(20)
        one.connect((address, port))
    for start in range(0, rounds, burst):
        expected = [[bytes([number, start + each]) * (250 + number % 3) for each in range(burst)] for number in range(senders)]
        for each in range(burst):
            for number, one in enumerate(crowd):
                one.send(expected[number][each])
        for number, one in enumerate(crowd):
            assert [one.recv(2000) for _ in range(burst)] == expected[number], number

if role == 'crowd':
    sys.exit(crowd())
if role in ('receive', 'answer', 'echo'):
    own.bind((address, port))
    print('ready', file=sys.stderr, flush=True)
else:
    own.connect((address, port))
if role == 'answer':
    own.connect(own.recvfrom(100)[1])
if role == 'ask':
    own.send(b'begin')
if role == 'echo':
    echo()
send() if role in ('send', 'answer') else receive()
"#;

fn peer(role: &str, address: &str, port: u16) -> Vec<String> {
    ["python3", "-c", PEER, role, address, &port.to_string()].map(str::to_owned).to_vec()
}

/// Both must end, and have seen the same.
fn compare(what: &str, serving: Program, client: Program) {
    let client = client.finish().expect_success().stdout;
    let serving = serving.finish().expect_success().stdout;
    assert!(client.lines().count() > 500, "{what}: {client}");
    assert_eq!(client, serving, "{what}");
}

fn ready(program: &Program) {
    wait_until("the serving side", SOON, || program.stderr().contains("ready"));
}

#[test]
fn every_datagram_to_the_outside_and_back_is_as_it_was_sent() {
    Machine::run(&["python3"], |machine| {
        for (serving, role) in [("receive", "send"), ("answer", "ask")] {
            for (address, place) in [(OUTSIDE_V4, "0.0.0.0"), (OUTSIDE_V6, "::"), (MACHINE_V4, "0.0.0.0")] {
                let words = peer(serving, place, 7000);
                let mut command = if address == MACHINE_V4 {
                    let mut command = machine.root().command(&words[0]);
                    command.args(&words[1..]);
                    command
                } else {
                    machine.outside_command(&words)
                };
                let server = machine.root().start(&mut command);
                ready(&server);
                let client = machine.user().run(&[], &peer(role, address, 7000));
                compare(&format!("{role} {address}"), server, client);
            }
        }
    });
}

#[test]
fn every_datagram_through_a_forward_and_back_is_as_it_was_sent() {
    Machine::run(&["python3"], |machine| {
        let forwards = ["--name", "server", "-p", "0.0.0.0:8080:7000/udp", "-p", "[::]:8080:7000/udp"];
        let keeper = machine.user().run(&forwards, &["sleep", "100"]);
        Api::USER.host("server");
        for (serving, role) in [("receive", "send"), ("answer", "ask")] {
            for (address, place) in [(MACHINE_V4, "0.0.0.0"), (MACHINE_V6, "::"), (MACHINE_V4, "127.0.0.1")] {
                let server = machine.user().exec("server", &peer(serving, place, 7000));
                ready(&server);
                let words = peer(role, address, 8080);
                let client = machine.root().start(machine.root().command(&words[0]).args(&words[1..]));
                compare(&format!("{role} {address} to {place}"), server, client);
            }
        }
        keeper.stop();
    });
}

#[test]
fn flows_that_alternate_are_not_mixed_up() {
    Machine::run(&["python3"], |machine| {
        let keeper = machine.user().run(&["--name", "server", "-p", "0.0.0.0:8080:7000/udp"], &["sleep", "100"]);
        Api::USER.host("server");
        let inside = machine.user().exec("server", &peer("echo", "0.0.0.0", 7000));
        let outside = machine.root().start(&mut machine.outside_command(&peer("echo", "0.0.0.0", 7000)));
        ready(&inside);
        ready(&outside);
        let words = peer("crowd", MACHINE_V4, 8080);
        machine.root().start(machine.root().command(&words[0]).args(&words[1..])).finish().expect_success();
        machine.user().exec("server", &peer("crowd", OUTSIDE_V4, 7000)).finish().expect_success();
        for program in [inside, outside, keeper] {
            program.stop();
        }
    });
}
