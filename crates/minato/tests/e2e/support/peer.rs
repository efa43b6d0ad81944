//! Small programs that tests run in hosts. They are this very test program in another role, so that nothing has to
//! be installed for them: `who PORT`, `line PORT`, `count PORT`, `connect ADDRESS`, `crowd ADDRESS`, `upload ADDRESS
//! BYTES`, `send ADDRESS BYTES`, `give PORT BYTES`, `refuse PORT`, `refused ADDRESS`, `mesh PORT FILE`, `babble ADDRESS`,
//! `ask ADDRESS TEXT`, `lines ADDRESS COUNT`, `hold ADDRESS COUNT`, `sockets PORT`, `spray ADDRESS COUNT`, `tally PORT`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable that holds the role.
pub(crate) const ROLE: &str = "MINATO_E2E_PEER";

/// Plays a role and gives the exit code.
pub(crate) fn play(role: &str) -> i32 {
    let words: Vec<&str> = role.split(' ').collect();
    match words.as_slice() {
        ["who", address] => who(&listen_address(address)),
        ["line", address] => line(&listen_address(address)),
        ["count", address] => count(&listen_address(address)),
        ["upload", address, bytes] => upload(address, bytes.parse().expect("BYTES")),
        ["send", address, bytes] => write(TcpStream::connect(address).expect("to connect"), bytes),
        ["give", address, bytes] => {
            let listener = TcpListener::bind(listen_address(address)).expect("to listen");
            write(listener.accept().expect("a client").0, bytes);
        }
        ["refuse", address] => refuse(&TcpListener::bind(listen_address(address)).expect("to listen")),
        ["refused", address] => eprintln!("{}", complete_answers(address)),
        ["connect", address] => connect(address.parse().expect("ADDRESS:PORT")),
        ["crowd", address] => crowd(address),
        ["mesh", address, file] => mesh(address, file),
        ["sockets", first] => crate::machine_ports::open_sockets(first.parse().expect("PORT")),
        ["babble", address] => crate::names::babble(address),
        ["listen", first, count] => listen(first.parse().expect("PORT"), count.parse().expect("COUNT")),
        ["lines", address, count] => lines(address, count.parse().expect("COUNT")),
        ["hold", address, count] => hold(address, count.parse().expect("COUNT")),
        ["spray", address, count] => spray(address, count.parse().expect("COUNT")),
        ["tally", address] => eprintln!("{} datagrams", tally(&listen_address(address))),
        ["ask", address, text] => ask(address.parse().expect("ADDRESS:PORT"), text),
        _ => panic!("no such role: {role}"),
    }
    0
}

/// Listens at so many ports, one after the other.
fn listen(first: u16, count: u16) {
    raise_file_limit();
    let all: Vec<_> =
        (first..first + count).map(|port| TcpListener::bind(("0.0.0.0", port)).expect("a port")).collect();
    eprintln!("{} listeners", all.len());
}

/// A port alone means every address of both families.
fn listen_address(address: &str) -> String {
    if address.contains(':') { address.to_owned() } else { format!("[::]:{address}") }
}

/// Tells every TCP and UDP client the address that it sees, and its own.
pub(crate) fn who(address: &str) {
    let datagrams = UdpSocket::bind(address).expect("to bind UDP");
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((_, client)) = datagrams.recv_from(&mut buffer) {
            let _ = datagrams.send_to(format!("{}\n", plain(client)).as_bytes(), client);
        }
    });
    let listener = TcpListener::bind(address).expect("to listen");
    for stream in listener.incoming() {
        let mut stream = stream.expect("to accept");
        let _ = writeln!(stream, "{}", plain(stream.peer_addr().expect("an address")));
    }
}

/// Answers each connection's first line with the same line, then closes.
pub(crate) fn line(address: &str) {
    let listener = TcpListener::bind(address).expect("to listen");
    for stream in listener.incoming() {
        let mut stream = stream.expect("to accept");
        let mut text = String::new();
        if BufReader::new(&stream).read_line(&mut text).is_ok() {
            let _ = stream.write_all(text.as_bytes());
        }
    }
}

/// Bytes of each datagram of [`spray`].
const DATAGRAM: usize = 1000;

/// Sends datagrams as fast as it can, and then the end of them until it is confirmed.
pub(crate) fn spray(address: &str, count: usize) {
    let family = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(family).expect("to bind UDP");
    socket.connect(address).expect("to connect");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time limit");
    (0..count).for_each(|_| drop(socket.send(&[7; DATAGRAM])));
    let confirmed = || socket.send(&[]).is_ok() && socket.recv(&mut [0]).is_ok();
    assert!((0..100).any(|_| confirmed()), "nobody counts");
}

/// How many datagrams of [`spray`] arrive before their end.
pub(crate) fn tally(address: &str) -> u64 {
    let socket = UdpSocket::bind(address).expect("to bind UDP");
    let (mut count, mut buffer) = (0, [0; DATAGRAM]);
    loop {
        match socket.recv_from(&mut buffer).expect("a datagram") {
            (0, sender) => {
                let _ = socket.send_to(&[1], sender);
                return count;
            }
            _ => count += 1,
        }
    }
}

/// Reads each connection to its end, and then tells how many bytes came.
pub(crate) fn count(address: &str) {
    let listener = TcpListener::bind(address).expect("to listen");
    for stream in listener.incoming() {
        let mut stream = stream.expect("to accept");
        thread::spawn(move || {
            let bytes = std::io::copy(&mut stream, &mut std::io::sink()).expect("to read");
            let _ = writeln!(stream, "{bytes} bytes");
        });
    }
}

/// Sends bytes, ends its direction, and prints what comes after that.
fn upload(address: &str, bytes: u64) {
    eprint!("{}", half_close(TcpStream::connect(address).expect("to connect"), bytes));
}

/// Sends bytes and the end of the stream, then reads to the end of the other direction.
pub(crate) fn half_close(mut stream: TcpStream, bytes: u64) -> String {
    let block = vec![7; 128 << 10];
    let mut left = usize::try_from(bytes).expect("a number of bytes");
    while left > 0 {
        let count = left.min(block.len());
        stream.write_all(&block[..count]).expect("to send");
        left -= count;
    }
    stream.shutdown(Shutdown::Write).expect("to end this direction");
    read_all(stream)
}

/// Sends bytes, and that is all: the program ends before they have arrived.
fn write(mut stream: TcpStream, bytes: &str) {
    std::io::copy(&mut std::io::repeat(7).take(bytes.parse().expect("BYTES")), &mut stream).expect("to send");
}

/// What [`refuse`] answers, how much it is sent for that, and how often it is asked.
const ANSWER: usize = 200_000;
const UPLOAD: usize = 1_000_000;
pub(crate) const UPLOADS: usize = 50;

/// Answers the beginning of each upload at length and closes, without reading the rest: so the kernel resets.
pub(crate) fn refuse(listener: &TcpListener) {
    for stream in listener.incoming() {
        let mut stream = stream.expect("to accept");
        let _ = stream.read(&mut [0; 1000]).and_then(|_| stream.write_all(&[3; ANSWER]));
    }
}

/// Uploads again and again to [`refuse`], and reads meanwhile; how many of the answers were complete.
pub(crate) fn complete_answers(address: &str) -> usize {
    let complete = || {
        let mut stream = TcpStream::connect(address).expect("to connect");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
        let mut sender = stream.try_clone().expect("to clone");
        let sending = thread::spawn(move || drop(sender.write_all(&vec![4; UPLOAD])));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        sending.join().expect("the sender");
        answer.len() == ANSWER
    };
    (0..UPLOADS).filter(|_| complete()).count()
}

/// Begins to read late, and then reads to the end with pauses; how many bytes came.
pub(crate) fn read_late(stream: TcpStream) -> u64 {
    thread::sleep(Duration::from_millis(500));
    read_to_end(stream)
}

/// Ends its own direction at once, then reads to the end, with pauses; how many bytes came.
pub(crate) fn read_slowly(stream: TcpStream) -> u64 {
    stream.shutdown(Shutdown::Write).expect("to end this direction");
    read_to_end(stream)
}

fn read_to_end(mut stream: TcpStream) -> u64 {
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer).expect("to read") {
            0 => return bytes,
            count => bytes += count as u64,
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Prints `connected` or the kind of error, and the milliseconds that it took.
fn connect(address: SocketAddr) {
    let start = Instant::now();
    let outcome = TcpStream::connect_timeout(&address, Duration::from_secs(4));
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    let shown = outcome.map_or_else(|error| format!("{:?}", error.kind()), |_| "connected".to_owned());
    eprintln!("{shown} {elapsed:.1}");
}

/// Opens connections and keeps them; where there is no room it tries again, so that no port stays free for long.
fn crowd(address: &str) {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_secs(100);
    while Instant::now() < end {
        match TcpStream::connect(address) {
            Ok(stream) if all.len() < 1000 => all.push(stream),
            _ => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Serves at `port`, waits for a file that lists addresses, connects to all of them, and prints how many have answered.
fn mesh(port: &str, file: &str) {
    let address = listen_address(port);
    thread::spawn(move || who(&address));
    while !std::path::Path::new(file).exists() {
        thread::sleep(Duration::from_millis(20));
    }
    let list = std::fs::read_to_string(file).expect("a list");
    let answers = |address: &&str| {
        let address = SocketAddr::new(address.parse().expect("an address"), port.parse().expect("PORT"));
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(20));
        stream.inspect_err(|error| eprintln!("{address}: {error}")).is_ok_and(|stream| !read_all(stream).is_empty())
    };
    eprintln!("{} answers", list.lines().filter(answers).count());
    thread::sleep(Duration::from_secs(1000));
}

/// Asks [`line`] again and again, each time on a connection of its own.
fn lines(address: &str, count: usize) {
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).expect("to connect");
        stream.write_all(b"hello\n").expect("to send");
        assert_eq!(read_all(stream), "hello\n");
    }
}

/// Opens connections and keeps them, until it is ended.
fn hold(address: &str, count: usize) {
    raise_file_limit();
    let all: Vec<_> = (0..count).map(|_| TcpStream::connect(address).expect("to connect")).collect();
    eprintln!("held {}", all.len());
    thread::sleep(Duration::from_secs(100));
}

/// Takes as many open files as the hard limit allows.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).expect("the hard limit");
}

/// Sends a datagram and prints the answer.
fn ask(address: SocketAddr, text: &str) {
    let local = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local).expect("to bind");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    socket.connect(address).expect("to connect");
    socket.send(text.as_bytes()).expect("to send");
    let mut buffer = [0; 2048];
    match socket.recv(&mut buffer) {
        Ok(length) => eprint!("{}", String::from_utf8_lossy(&buffer[..length])),
        Err(error) => eprintln!("{:?}", error.kind()),
    }
}

/// Reads until the other side closes.
pub(crate) fn read_all(mut stream: impl Read) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

/// IPv4 clients of a dual-stack socket have mapped addresses.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
