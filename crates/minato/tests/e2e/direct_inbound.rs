//! `minato run --direct`: connections from outside over sockets of the machine, in the program's own hands.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::machine::{MACHINE_V4, MACHINE_V6, Machine, OUTSIDE_V4, SOON, wait_for};
use crate::support::net;

const SERVERS: &str = include_str!("direct/servers.py");

/// Where [`SERVERS`] listens.
const PORTS: &str = "8100-8119";

/// A place outside that gives whoever connects a client of an address: it says hello there, and sends back what it gets.
fn clients_at_will(machine: &Machine) {
    machine.outside(|| {
        let listener = TcpListener::bind("[::]:7100").expect("a port");
        thread::spawn(move || {
            for control in listener.incoming().flatten() {
                thread::spawn(move || client(control));
            }
        });
    });
}

/// Tells the client's own address, and how its connection ended.
fn client(mut control: TcpStream) {
    let mut address = String::new();
    BufReader::new(&control).read_line(&mut address).expect("an address");
    // Its forward opens soon.
    let mut stream = wait_for("the service", SOON, || net::connect(address.trim()).ok());
    let own = stream.local_addr().expect("an address");
    writeln!(control, "{} {}", own.ip(), own.port()).expect("to tell it");
    let end = match echo(&mut stream) {
        Ok(()) => "end",
        Err(error) if error.kind() == ErrorKind::ConnectionReset || error.kind() == ErrorKind::BrokenPipe => "reset",
        Err(_) => "neither",
    };
    drop(stream);
    let _ = writeln!(control, "{end}");
}

fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"hello\n")?;
    let mut buffer = vec![0; 65536];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

#[test]
fn servers_of_every_kind_work_as_ever() {
    Machine::run(&["python3"], |machine| {
        clients_at_will(machine);
        let forwards = [format!("{MACHINE_V4}:{PORTS}:{PORTS}"), format!("[{MACHINE_V6}]:{PORTS}:{PORTS}")];
        for account in [machine.user(), machine.root()] {
            let flags = ["--direct", "-p", &forwards[0], "-p", &forwards[1]];
            let python = ["python3", "-c", SERVERS, OUTSIDE_V4, MACHINE_V4, MACHINE_V6];
            let finished = account.run(&flags, &python).finish().expect_success();
            let parts = "plain_servers\ncalls\nout_of_descriptors\nnobody_there\nthreads\nprocesses\nwaiting\nlate\noptions\n\
                         others\n";
            assert_eq!(finished.stdout, parts, "{}", finished.stderr);
            assert_eq!(finished.stderr, "");
        }
    });
}
