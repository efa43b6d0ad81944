//! How long a UDP client has the same port for who answers it, when little or nothing passes.

use std::time::Duration;

use crate::machine::{Machine, OUTSIDE_V4, Program, SOON, wait_until};
use crate::support::api::Api;

/// `serve PORT` answers each datagram with the port that it came from, and those that ask for it again after a while. `once
/// ADDRESS PORT` and `again ADDRESS PORT` do nothing for longer than mappings to well-known ports last, or but hear that
/// answer, and print the ports that they were seen with before and after.
const PEER: &str = r#"
import socket, sys, threading, time
# Any of this may be 9 s late on a busy machine, where mappings last for 30 s of idle time.
QUIET, LATER = 42, 21
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
begun = time.monotonic()
role = sys.argv[1]
if role == 'serve':
    own.bind(('0.0.0.0', int(sys.argv[2])))
    print('ready', file=sys.stderr, flush=True)
    while True:
        said, client = own.recvfrom(100)
        answer = str(client[1]).encode()
        own.sendto(answer, client)
        if said == b'again':
            threading.Timer(LATER, own.sendto, (answer, client)).start()
own.connect((sys.argv[2], int(sys.argv[3])))
own.settimeout(60)
own.send(role.encode())
before = own.recv(100).decode()
if role == 'again':
    assert own.recv(100).decode() == before
time.sleep(begun + QUIET - time.monotonic())
own.send(b'once')
print(before, own.recv(100).decode())
"#;

fn peer<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["python3", "-c", PEER], arguments].concat()
}

/// Whether the client had one port all the time.
fn kept_its_port(client: Program) -> bool {
    let said = client.finish_within(Duration::from_secs(90)).expect_success().stdout;
    let (before, after) = said.trim().split_once(' ').expect("two ports");
    before == after
}

#[test]
fn a_mapping_lasts_for_as_long_as_its_port_outside_demands() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let forwards = ["--name", "server", "-p", "8443:443/udp"];
        let keeper = user.run(&forwards, &["sleep", "300"]);
        Api::USER.host("server");
        let outside = machine.root().start(&mut machine.outside_command(&peer(&["serve", "500"])));
        let service = user.exec("server", &peer(&["serve", "443"]));
        for server in [&service, &outside] {
            wait_until("the server", SOON, || server.stderr().contains("ready"));
        }
        let idle = user.exec("server", &peer(&["once", OUTSIDE_V4, "500"]));
        let answered = user.exec("server", &peer(&["again", OUTSIDE_V4, "500"]));
        let words = peer(&["once", "127.0.0.1", "8443"]);
        let inbound = user.start(user.command(words[0]).args(&words[1..]));
        assert!(kept_its_port(inbound), "a client outside has no well-known port");
        assert!(kept_its_port(answered), "an answer is use");
        assert!(!kept_its_port(idle), "exchanges with well-known ports are short");
        for program in [service, outside, keeper] {
            program.stop();
        }
    });
}
