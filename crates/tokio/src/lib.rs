//! minato's transport behind tokio's interfaces: a TCP and UDP of your own, over any device that carries packets.
//!
//! A [`Network`] is a stack and the task that drives it. [`TcpListener`], [`TcpStream`] and [`UdpSocket`] are used as tokio's
//! of the same names; their ports are the network's own, all 65,535 of them, whatever the kernel's programs use. What carries
//! the packets is a [`Device`]: a TUN by [`PacketIo`], the inside of a tunnel, or the [`Cable`] between two networks in memory:
//!
//! ```
//! use minato_tokio::{Cable, Network, TcpListener, TcpStream};
//! use minato_transport::{Config, IpCidr, Link};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let (here, there) = Cable::new();
//! let network = |number, device| {
//!     let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, minato_tokio::random_key());
//!     config.addresses = vec![IpCidr::new([10, 0, 0, number].into(), 24).unwrap()];
//!     Network::start(config, device)
//! };
//! let (client, server) = (network(1, here), network(2, there));
//!
//! let listener = TcpListener::bind(&server, ([10, 0, 0, 2], 80).into())?;
//! let mut asking = TcpStream::connect(&client, ([10, 0, 0, 2], 80).into()).await?;
//! let (mut answering, from) = listener.accept().await?;
//! assert_eq!(from, asking.local_addr());
//!
//! asking.write_all(b"moin").await?;
//! asking.shutdown().await?;
//! let mut heard = String::new();
//! answering.read_to_string(&mut heard).await?;
//! assert_eq!(heard, "moin");
//! # Ok(())
//! # }
//! ```
//!
//! `examples/tun.rs` is a web server on a TUN.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "here the stack gets its clock and its randomness")]

mod datagram;
mod device;
mod driver;
mod error;
mod listener;
mod network;
mod split;
mod stream;

pub use datagram::UdpSocket;
pub use device::{Cable, Device, PacketIo};
pub use listener::TcpListener;
pub use network::{Network, random_key};
pub use split::{OwnedReadHalf, OwnedWriteHalf};
pub use stream::TcpStream;
