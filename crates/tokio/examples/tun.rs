//! A web server with an IP address of its own, on a TUN: `sudo target/debug/examples/tun tun7 10.77.1.1 10.77.1.2`, then
//! `curl http://10.77.1.2/`. The kernel has the first address, the server the second; `/fetch` makes the server itself ask
//! port 8000 of the kernel's address.
#![allow(clippy::print_stdout, reason = "a program")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use minato_tokio::{Network, PacketIo, TcpListener, TcpStream, random_key};
use minato_transport::{Config, IpCidr, Link};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MTU: u16 = 1500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, kernel, own] = arguments.as_slice() else {
        return Err("usage: tun NAME KERNEL-ADDRESS OWN-ADDRESS".into());
    };
    let (kernel, own): (Ipv4Addr, Ipv4Addr) = (kernel.parse()?, own.parse()?);

    let netmask = Ipv4Addr::new(255, 255, 255, 0);
    let tun = tokio_tun::Tun::builder().name(name).address(kernel).netmask(netmask).mtu(MTU.into()).up().build()?;
    let tun = tun.into_iter().next().ok_or("no queue of the device")?;

    let mut config = Config::new(Link::Ip { mtu: MTU, virtio: false }, random_key());
    config.addresses = vec![IpCidr::new(own.into(), 24).ok_or("a prefix")?];
    let network = Network::start(config, PacketIo::new(tun));

    let listener = TcpListener::bind(&network, SocketAddr::from((own, 80)))?;
    println!("listening on http://{own}/");
    loop {
        let (stream, client) = listener.accept().await?;
        let network = network.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(&network, stream, kernel).await {
                println!("{client}: {error}");
            }
        });
    }
}

/// One request, one answer, and the end.
async fn answer(network: &Network, mut stream: TcpStream, kernel: Ipv4Addr) -> io::Result<()> {
    let request = head(&mut stream).await?;
    let body = if request.starts_with("GET /fetch ") {
        fetch(network, SocketAddr::from((kernel, 8000))).await.unwrap_or_else(|error| format!("{:?}\n", error.kind()))
    } else {
        format!("minato's own TCP greets {}\n", stream.peer_addr())
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The request's head, to the empty line.
async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// What a web server says.
async fn fetch(network: &Network, server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(network, server).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
