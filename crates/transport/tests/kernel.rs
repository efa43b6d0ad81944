//! The stack against the Linux kernel's: a TAP in a namespace of its own, the kernel's sockets on one side and ours playing
//! the whole Internet on the other.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests with real sockets in real time"
)]

#[path = "kernel/tap.rs"]
mod tap;
#[path = "kernel/world.rs"]
mod world;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use world::{ECHO, NO_HOST, NO_NETWORK, REFUSED, SINK, SOURCE, World, fill, hex, pattern};

fn far(port: u16) -> [SocketAddr; 2] {
    [SocketAddr::from(([198, 51, 100, 7], port)), format!("[2001:db8::7]:{port}").parse().expect("ok")]
}

/// Sends a pattern to the sink; how many bytes it says that it got. Their SHA-256 must be that of what was sent.
fn upload(address: SocketAddr, total: u64, check: bool) -> u64 {
    let mut stream = TcpStream::connect(address).expect("connects");
    let mut buffer = vec![0; 256 << 10];
    let (mut at, mut sent) = (0, Sha256::new());
    while at < total {
        let count = (total - at).min(buffer.len() as u64) as usize;
        if check {
            fill(&mut buffer[..count], at);
            sent.update(&buffer[..count]);
        }
        stream.write_all(&buffer[..count]).expect("takes it");
        at += count as u64;
    }
    stream.shutdown(Shutdown::Write).expect("half close");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (count, digest) = answer.split_once(' ').expect("a number and a digest");
    assert_eq!(digest, hex(sent));
    count.parse().expect("a number")
}

/// Takes a pattern from the source and checks it, byte by byte and by its SHA-256.
fn download(address: SocketAddr, total: u64, check: bool) {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(&total.to_be_bytes()).expect("takes it");
    let mut buffer = vec![0; 256 << 10];
    let (mut at, mut taken) = (0, Sha256::new());
    loop {
        let count = stream.read(&mut buffer).expect("data");
        if count == 0 {
            break;
        }
        if check {
            for (offset, byte) in buffer[..count].iter().enumerate() {
                assert_eq!(*byte, pattern(at + offset as u64), "at byte {at} + {offset}");
            }
            taken.update(&buffer[..count]);
        }
        at += count as u64;
    }
    assert_eq!(at, total);
    if check {
        let mut whole = vec![0; total as usize];
        fill(&mut whole, 0);
        assert_eq!(hex(taken), hex(Sha256::new_with_prefix(whole)));
    }
}

fn check_everything(virtio: bool) {
    let world = World::start(virtio, 0, true);
    for kind in 0..2 {
        let size = 40_000_000;
        assert_eq!(upload(far(SINK)[kind], size, true), size);
        download(far(SOURCE)[kind], size, true);
        let begin = Instant::now();
        let refused = TcpStream::connect(far(REFUSED)[kind]).expect_err("refused");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let no_host = TcpStream::connect(far(NO_HOST)[kind]).expect_err("no host");
        assert_eq!(no_host.raw_os_error(), Some(libc::EHOSTUNREACH));
        let no_network = TcpStream::connect(far(NO_NETWORK)[kind]).expect_err("no network");
        assert_eq!(no_network.raw_os_error(), Some(libc::ENETUNREACH));
        // Not after a timeout: all three come at once, on a busy machine too.
        assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
        check_echo(far(ECHO)[kind]);
        check_datagrams(kind);
        check_inbound(&world, kind);
        check_ping(kind);
    }
    check_many();
    let stack = world.finish();
    let statistics = stack.statistics();
    assert_eq!((statistics.connections, statistics.limited), (0, 0), "{statistics:?}");
}

/// The client ends its direction first and still gets everything.
fn check_echo(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("connects");
    let mut request = vec![0; 300_000];
    fill(&mut request, 0);
    let mut writer = stream.try_clone().expect("a second handle");
    let sent = request.clone();
    let thread = std::thread::spawn(move || {
        writer.write_all(&sent).expect("takes it");
        writer.shutdown(Shutdown::Write).expect("half close");
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    thread.join().expect("wrote all");
    assert!(answer == request);
}

fn check_datagrams(kind: usize) {
    let socket = UdpSocket::bind(["0.0.0.0:0", "[::]:0"][kind]).expect("binds");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("sets");
    socket.connect(far(ECHO)[kind]).expect("connects");
    let mut answer = vec![0; 70_000];
    for size in [0, 1, 1472, 1473, 4000, 65_507] {
        let mut payload = vec![0; size];
        fill(&mut payload, 3);
        socket.send(&payload).expect("sends");
        let count = socket.recv(&mut answer).unwrap_or_else(|error| panic!("{size}: {error}"));
        assert!(answer[..count] == payload, "{size}");
    }
    socket.connect(far(REFUSED)[kind]).expect("connects");
    socket.send(b"x").expect("sends");
    assert_eq!(socket.recv(&mut answer).expect_err("refused").kind(), ErrorKind::ConnectionRefused);
}

/// The world connects into the namespace, from an address that is not the gateway's.
fn check_inbound(world: &World, kind: usize) {
    let listener = TcpListener::bind(["10.9.0.2:0", "[fd99::2]:0"][kind]).expect("binds");
    let source = far(40_000 + kind as u16)[kind];
    world.connect(source, listener.local_addr().expect("bound"));
    let (mut stream, peer) = listener.accept().expect("a connection");
    assert_eq!(peer, source);
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).expect("hello");
    assert_eq!(&hello, b"hello");
    stream.write_all(&vec![5; 100_000]).expect("takes it");
    stream.shutdown(Shutdown::Write).expect("half close");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the echo");
    assert_eq!(rest, vec![5; 100_000]);
}

fn check_ping(kind: usize) {
    for address in
        [[far(0)[0].ip(), "10.9.0.1".parse().expect("ok")], [far(0)[1].ip(), "fd99::1".parse().expect("ok")]][kind]
    {
        for size in ["56", "4000"] {
            let ping = Command::new("ping").args(["-c2", "-i0.05", "-W2", "-s", size, &address.to_string()]).output();
            match ping {
                Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
                Err(error) => eprintln!("SKIPPED ping (package iputils-ping): {error}"),
            }
        }
    }
}

/// Many short connections, several at a time.
fn check_many() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                for round in 0..500_u32 {
                    let mut stream = TcpStream::connect(far(ECHO)[0]).expect("connects");
                    stream.write_all(&round.to_be_bytes()).expect("takes it");
                    let mut answer = [0; 4];
                    stream.read_exact(&mut answer).expect("the echo");
                    assert_eq!(answer, round.to_be_bytes());
                    stream.shutdown(Shutdown::Write).expect("half close");
                    assert_eq!(stream.read(&mut answer).expect("the end"), 0);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("all answered");
    }
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn everything_with_offload() {
    if !tap::ran_in_namespace("everything_with_offload") {
        check_everything(true);
    }
}

#[test]
fn everything_without_offload() {
    if !tap::ran_in_namespace("everything_without_offload") {
        check_everything(false);
    }
}

#[test]
fn transfers_survive_loss() {
    if tap::ran_in_namespace("transfers_survive_loss") {
        return;
    }
    let world = World::start(true, 20, true);
    for _ in 0..10 {
        let size = 2_000_000;
        assert_eq!(upload(far(SINK)[0], size, true), size);
        download(far(SOURCE)[1], size, true);
    }
    drop(world.finish());
}

/// So many uploads and as many downloads by each of 20 clients, over both families; every byte is compared.
fn transfer_at(loss: u64, rounds: u64, size: impl Fn(u64) -> u64 + Copy + Send + 'static) {
    let begin = Instant::now();
    let world = World::start(true, loss, true);
    let threads: Vec<_> = (0..20)
        .map(|_| {
            std::thread::spawn(move || {
                for round in 0..rounds {
                    let (kind, size) = ((round % 2) as usize, size(round));
                    assert_eq!(upload(far(SINK)[kind], size, true), size);
                    download(far(SOURCE)[kind], size, true);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("every byte is right");
    }
    println!("{} transfers at {loss} ‰: {:?}, {:?}", 40 * rounds, begin.elapsed(), world.finish().statistics());
}

/// 1,000 transfers at each rate of loss, short ones so that all of them together take less than a minute.
#[test]
fn a_thousand_short_transfers_at_each_rate_of_loss() {
    let test = "a_thousand_short_transfers_at_each_rate_of_loss";
    // A TAP each, one after the other in namespaces of their own.
    if let Some(loss) = tap::loss_in_namespace(test, &[0, 1, 10, 50]) {
        transfer_at(loss, 25, |round| 1000 + round * 997);
    }
}

#[test]
#[ignore = "takes minutes: MINATO_LOSS=50 cargo test --release -p minato-transport --test kernel -- --ignored --nocapture long"]
fn a_thousand_long_transfers() {
    if tap::ran_in_namespace("a_thousand_long_transfers") {
        return;
    }
    let loss: u64 = std::env::var("MINATO_LOSS").map_or(0, |loss| loss.parse().expect("per thousand"));
    transfer_at(loss, 25, |round| 20_000 + round * 9973);
}

/// What Wireshark's dissectors count as an error of the protocol in all that passed the TAP.
#[test]
fn tshark_finds_no_protocol_error() {
    if tap::ran_in_namespace("tshark_finds_no_protocol_error") {
        return;
    }
    let file = std::env::temp_dir().join(format!("minato-transport-{}.pcap", std::process::id()));
    let world = World::start_captured(false, 10, &file);
    for kind in 0..2 {
        assert_eq!(upload(far(SINK)[kind], 300_000, true), 300_000);
        download(far(SOURCE)[kind], 300_000, true);
        check_echo(far(ECHO)[kind]);
        TcpStream::connect(far(REFUSED)[kind]).expect_err("refused");
        check_inbound(&world, kind);
    }
    drop(world.finish());
    // Checksums too: without offload ours are complete, and so are the kernel's once they left it.
    let check = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
    let tshark = |rest: &[&str]| Command::new("tshark").arg("-r").arg(&file).args(check).args(rest).output();
    let (expert, ours) =
        (tshark(&["-q", "-z", "expert,error"]), tshark(&["-Y", "tcp && eth.src == 02:00:00:00:00:01"]));
    std::fs::remove_file(&file).expect("it is ours");
    let (expert, ours) = match (expert, ours) {
        (Ok(expert), Ok(ours)) => (expert, ours),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("SKIPPED tshark_finds_no_protocol_error (package tshark): {error}");
            return;
        }
    };
    let (expert, ours) = (String::from_utf8_lossy(&expert.stdout), String::from_utf8_lossy(&ours.stdout));
    assert!(ours.lines().count() > 500, "the capture has our segments: {ours}");
    assert!(!expert.contains("Errors"), "{expert}");
    // What a peer that knows its own numbers never does, whatever is lost on the way.
    for wrong in ["ACKed unseen segment", "[BAD", "Malformed"] {
        assert!(!ours.contains(wrong), "{wrong}: {ours}");
    }
}

#[test]
#[ignore = "prints figures: cargo test --release -p minato-transport --test kernel -- --ignored --nocapture bulk"]
fn bulk() {
    if tap::ran_in_namespace("bulk") {
        return;
    }
    let world = World::start(true, 0, false);
    let size: u64 = 8 << 30;
    let rate = |begin: Instant| size as f64 * 8.0 / begin.elapsed().as_secs_f64() / 1e9;
    for _ in 0..2 {
        let begin = Instant::now();
        upload(far(SINK)[0], size, false);
        println!("kernel to stack: {:.1} Gbit/s", rate(begin));
        let begin = Instant::now();
        download(far(SOURCE)[0], size, false);
        println!("stack to kernel: {:.1} Gbit/s", rate(begin));
    }
    println!("{:?}", world.finish().statistics());
}
