//! What carries the packets.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

/// A link for whole packets, in the format that the stack's [`Link`](minato_transport::Link) says: bare IP packets or
/// Ethernet frames, with or without a virtio-net header.
pub trait Device: Send + 'static {
    /// Reads one packet to the beginning of `buffer`; its length.
    ///
    /// # Errors
    /// When the device is gone: the network ends with it.
    fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes one packet, the concatenation of `parts`. `Pending` means that it was not taken and is offered again.
    ///
    /// # Errors
    /// When the device is gone. A packet that can't be sent but does not end the device is dropped instead: TCP repeats it.
    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>>;
}

/// A device whose reads and writes are packets, as those of TUN and TAP crates are (`tokio_tun::Tun`, for example).
#[derive(Debug)]
pub struct PacketIo<T> {
    io: T,
    packet: Vec<u8>,
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> PacketIo<T> {
    /// A device from `io`, of which one read and one write is one packet.
    pub fn new(io: T) -> PacketIo<T> {
        PacketIo { io, packet: Vec::new() }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Device for PacketIo<T> {
    fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        match buffer.filled().len() {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            length => Poll::Ready(Ok(length)),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>> {
        // In one piece, since what is written in two would be two packets to a device without vectored writes.
        self.packet.clear();
        parts.iter().for_each(|part| self.packet.extend_from_slice(part));
        ready!(Pin::new(&mut self.io).poll_write(cx, &self.packet))?;
        Poll::Ready(Ok(()))
    }
}

/// Packets that are under way on a cable at most; what exceeds them waits at the sender.
const UNDER_WAY: usize = 256;

/// One end of a cable in memory: what one end sends the other receives. For tests, and for networks within one program.
#[derive(Debug)]
pub struct Cable {
    out: mpsc::Sender<Vec<u8>>,
    /// Room for the next packet, if it is waited for.
    room: Option<RoomFuture>,
    arriving: mpsc::Receiver<Vec<u8>>,
}

/// Room for one packet; `None` if the other end is gone.
type Room = Option<mpsc::OwnedPermit<Vec<u8>>>;

/// A future of room on the cable, which `poll_send` keeps between its calls.
struct RoomFuture(Pin<Box<dyn Future<Output = Room> + Send>>);

impl std::fmt::Debug for RoomFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoomFuture")
    }
}

impl Cable {
    /// Both ends.
    #[must_use]
    pub fn new() -> (Cable, Cable) {
        let (one, other) = (mpsc::channel(UNDER_WAY), mpsc::channel(UNDER_WAY));
        let end = |out, arriving| Cable { out, room: None, arriving };
        (end(one.0, other.1), end(other.0, one.1))
    }
}

impl Device for Cable {
    fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match ready!(self.arriving.poll_recv(cx)) {
            Some(packet) => {
                let length = packet.len().min(buffer.len());
                buffer[..length].copy_from_slice(&packet[..length]);
                Poll::Ready(Ok(length))
            }
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<()>> {
        let out = &self.out;
        let room = self.room.get_or_insert_with(|| {
            let reservation = out.clone().reserve_owned();
            RoomFuture(Box::pin(async { reservation.await.ok() }))
        });
        let permit = ready!(room.0.as_mut().poll(cx));
        self.room = None;
        match permit {
            Some(permit) => {
                permit.send(parts.iter().flat_map(|part| part.iter().copied()).collect());
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}
