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
        match ready!(Pin::new(&mut self.io).poll_write(cx, &self.packet)) {
            Err(error) if is_gone(&error) => Poll::Ready(Err(error)),
            // A link that is down, a queue that is full, a packet that is not liked: lost, as on any link.
            Ok(_) | Err(_) => Poll::Ready(Ok(())),
        }
    }
}

/// Whether an error of a write means that there will be no more packets. What is not known to mean that costs one packet;
/// of a device that is gone all the same, reading tells.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof, WriteZero};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof | WriteZero)
        || cfg!(target_os = "linux") && error.raw_os_error().is_some_and(|code| LINUX_GONE.contains(&code))
}

/// Linux's EBADF, ENODEV and EBADFD, which have no kind: a TUN device that was deleted.
const LINUX_GONE: [i32; 3] = [9, 19, 77];

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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Each write fails with what is next.
    struct Failing(Vec<io::Error>);

    impl AsyncRead for Failing {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Failing {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(self.0.pop().map_or(Ok(packet.len()), Err))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_packet_that_is_not_taken_is_lost_and_a_device_that_is_gone_is_told() {
        const EIO: i32 = 5;
        let errors = vec![io::ErrorKind::BrokenPipe.into(), io::Error::from_raw_os_error(EIO)];
        let mut device = PacketIo::new(Failing(errors));
        let mut cx = Context::from_waker(Waker::noop());
        let mut send = || device.poll_send(&mut cx, &[IoSlice::new(b"packet")]);
        assert!(matches!(send(), Poll::Ready(Ok(()))), "EIO costs one packet");
        let Poll::Ready(Err(gone)) = send() else { panic!("a broken pipe is the end") };
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
        assert!(matches!(send(), Poll::Ready(Ok(()))));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_deleted_tun_device_is_gone() {
        for code in LINUX_GONE {
            let mut device = PacketIo::new(Failing(vec![io::Error::from_raw_os_error(code)]));
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(Err(gone)) = device.poll_send(&mut cx, &[IoSlice::new(b"packet")]) else {
                panic!("error {code} is the end")
            };
            assert_eq!(gone.raw_os_error(), Some(code));
        }
    }
}
