//! Two networks joined by a cable in memory.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use minato_tokio::{Cable, Device, Network, TcpListener, TcpStream, UdpSocket, random_key};
use minato_transport::{Config, IpCidr, Link};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn at(number: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], port))
}

fn config(number: u8) -> Config {
    let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, random_key());
    config.addresses = vec![IpCidr::new(at(number, 0).ip(), 24).expect("a prefix")];
    config
}

fn networks() -> (Network, Network) {
    let (here, there) = Cable::new();
    (Network::start(config(1), here), Network::start(config(2), there))
}

async fn pair(client: &Network, server: &Network) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(server, at(2, 80)).expect("free");
    let (connected, accepted) = tokio::join!(TcpStream::connect(client, at(2, 80)), listener.accept());
    (connected.expect("listening"), accepted.expect("alive").0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabytes_pass_in_both_directions_at_once() {
    let (client, server) = networks();
    let (one, other) = pair(&client, &server).await;
    assert_eq!((one.local_addr(), one.peer_addr()), (other.peer_addr(), other.local_addr()));
    let sent: Vec<u8> = (0..5_000_000_u32).map(|at| (at ^ (at >> 9)) as u8).collect();
    let mut tasks = Vec::new();
    for stream in [one, other] {
        let (mut reader, mut writer) = stream.into_split();
        let (mine, expected) = (sent.clone(), sent.clone());
        tasks.push(tokio::spawn(async move {
            writer.write_all(&mine).await.expect("the peer reads");
            // Dropped here: the end of the direction.
        }));
        tasks.push(tokio::spawn(async move {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).await.expect("the peer writes");
            assert!(got == expected);
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
}

#[tokio::test]
async fn errors_have_the_kernels_kinds() {
    let (client, server) = networks();
    let kind = |result: std::io::Result<TcpStream>| result.expect_err("no such peer").kind();
    assert_eq!(kind(TcpStream::connect(&client, at(2, 81)).await), ErrorKind::ConnectionRefused);
    let v6 = "[2001:db8::1]:80".parse().expect("ok");
    assert_eq!(kind(TcpStream::connect(&client, v6).await), ErrorKind::NetworkUnreachable);
    let _listener = TcpListener::bind(&server, at(2, 80)).expect("free");
    let taken = TcpListener::bind(&server, at(2, 80)).expect_err("taken");
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    assert_eq!(taken.to_string(), "10.0.0.2:80 is in use: 10.0.0.2:80/tcp stands in the way");
    assert_eq!(TcpListener::bind(&server, at(9, 80)).expect_err("foreign").kind(), ErrorKind::AddrNotAvailable);
    let from = TcpStream::connect_from(&server, at(2, 80), at(1, 80)).await;
    assert_eq!(kind(from), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_half_closed_connection_still_answers_and_a_closed_one_is_a_broken_pipe() {
    let (client, server) = networks();
    let (mut asking, mut answering) = pair(&client, &server).await;
    asking.write_all(b"question").await.expect("open");
    asking.shutdown().await.expect("open");
    assert_eq!(asking.write(b"more").await.expect_err("shut").kind(), ErrorKind::BrokenPipe);
    let mut question = String::new();
    answering.read_to_string(&mut question).await.expect("open");
    answering.write_all(b"answer").await.expect("open");
    drop(answering);
    let mut answer = String::new();
    asking.read_to_string(&mut answer).await.expect("delivered after the drop");
    assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
}

#[tokio::test]
async fn a_reset_is_told_to_reader_and_writer() {
    let (client, server) = networks();
    let (mut asking, answering) = pair(&client, &server).await;
    asking.write_all(b"never read").await.expect("open");
    while answering.status().expect("alive").readable == 0 {
        tokio::task::yield_now().await;
    }
    drop(answering);
    assert_eq!(asking.read_u8().await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    assert_eq!(asking.write(b"more").await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn datagrams_pass_and_wake_their_reader() {
    let (client, server) = networks();
    let echo = UdpSocket::bind(&server, at(2, 7)).expect("free");
    let socket = UdpSocket::bind(&client, at(1, 0)).expect("free");
    assert!(socket.local_addr().port() >= 49_152);
    socket.connect(at(2, 7));
    assert_eq!(socket.send(b"ping").expect("a route"), 4);
    let mut buffer = [0; 100];
    let (count, from) = echo.recv_from(&mut buffer).await.expect("alive");
    assert_eq!((&buffer[..count], from), (&b"ping"[..], socket.local_addr()));
    echo.send_to(&vec![7; 3000], from).expect("a route");
    let mut large = [0; 4000];
    assert_eq!(socket.recv(&mut large).await.expect("alive"), 3000);
}

#[tokio::test]
async fn a_connected_socket_is_told_once_that_nobody_is_bound_there() {
    let (client, server) = networks();
    let mapped = SocketAddr::new("::ffff:10.0.0.2".parse().expect("an address"), 7);
    for (local, peer) in [(at(1, 0), at(2, 7)), (SocketAddr::from(([0, 0, 0, 0], 0)), at(2, 7)), (at(1, 0), mapped)] {
        let socket = UdpSocket::bind(&client, local).expect("free");
        let unconnected = UdpSocket::bind(&client, at(1, 0)).expect("free");
        socket.connect(peer);
        let mut buffer = [0; 100];
        socket.send(b"anybody?").expect("a route");
        assert_eq!(socket.recv(&mut buffer).await.expect_err("refused").kind(), ErrorKind::ConnectionRefused);
        socket.send(b"anybody?").expect("told already");
        let refused = loop {
            tokio::task::yield_now().await;
            if let Err(error) = socket.send(b"still nobody?") {
                break error;
            }
        };
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        // Who has no peer hears of none.
        let peer = UdpSocket::bind(&server, at(2, 8)).expect("free");
        unconnected.send_to(b"anybody?", at(2, 7)).expect("a route");
        unconnected.send_to(b"you there?", at(2, 8)).expect("a route");
        let (_, from) = peer.recv_from(&mut buffer).await.expect("alive");
        peer.send_to(b"yes", from).expect("a route");
        assert_eq!(unconnected.recv(&mut buffer).await.expect("the answer, and no error"), 3);
    }
}

/// An end of a cable that stays plugged in when its network is over, and a packet that has arrived there before.
struct Kept(Arc<Mutex<Cable>>, Option<Vec<u8>>);

impl Device for Kept {
    fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(packet) = self.1.take() {
            buffer[..packet.len()].copy_from_slice(&packet);
            return Poll::Ready(Ok(packet.len()));
        }
        self.0.lock().expect("no panic").poll_receive(cx, buffer)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>> {
        self.0.lock().expect("no panic").poll_send(cx, parts)
    }
}

/// Waits for a packet, gives it to a network that nobody uses and that therefore ends with its answer, and unplugs the
/// cable: the other end finds answer and end at once.
async fn answer_and_unplug(cable: Cable, config: Config) {
    let cable = Arc::new(Mutex::new(cable));
    let mut packet = vec![0; 1500];
    let length = poll_fn(|cx| cable.lock().expect("no panic").poll_receive(cx, &mut packet)).await.expect("plugged in");
    packet.truncate(length);
    let (network, driver) = Network::new(config, Kept(cable, Some(packet)));
    drop(network);
    driver.await.expect("in order");
}

#[tokio::test]
async fn who_calls_as_the_network_ends_is_answered() {
    // A router has each call told to its driver, whose refusal is sent in a turn of its own.
    for any_destination in [false, true] {
        let (here, there) = Cable::new();
        let client = Network::start(config(1), here);
        let calling = tokio::spawn(async move { TcpStream::connect(&client, at(2, 81)).await });
        answer_and_unplug(there, Config { any_destination, ..config(2) }).await;
        let refused = calling.await.expect("no panic").expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "any destination: {any_destination}");
    }
}

#[tokio::test]
async fn a_socket_hears_of_its_peer_before_it_hears_of_the_networks_end() {
    let (here, there) = Cable::new();
    let client = Network::start(config(1), here);
    let socket = UdpSocket::bind(&client, at(1, 0)).expect("free");
    socket.connect(at(2, 7));
    socket.send(b"anybody?").expect("a route");
    let mut buffer = [0; 100];
    let (first, ()) = tokio::join!(socket.recv(&mut buffer), answer_and_unplug(there, config(2)));
    assert_eq!(first.expect_err("refused").kind(), ErrorKind::ConnectionRefused);
    assert_eq!(socket.recv(&mut buffer).await.expect_err("the end").kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn the_driver_ends_with_the_last_handle_after_the_last_byte() {
    let (here, there) = Cable::new();
    let (client, driver) = Network::new(config(1), here);
    let driver = tokio::spawn(driver);
    let server = Network::start(config(2), there);
    let (mut asking, mut answering) = pair(&client, &server).await;
    asking.write_all(&[5; 300_000]).await.expect("open");
    drop((client, asking));
    let mut got = Vec::new();
    answering.read_to_end(&mut got).await.expect("all of it");
    assert_eq!(got.len(), 300_000);
    drop(answering);
    driver.await.expect("no panic").expect("in order");
    // Now the other end of the cable is loose.
    let mut stream = TcpStream::connect(&server, at(1, 80)).await;
    while stream.as_ref().is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
        tokio::task::yield_now().await;
        stream = TcpStream::connect(&server, at(1, 80)).await;
    }
    assert!(stream.is_err());
}
