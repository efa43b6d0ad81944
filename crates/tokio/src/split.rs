//! The two halves of a connection, each its owner's.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::Connection;

/// The reading half of a [`TcpStream`](crate::TcpStream).
#[derive(Debug)]
pub struct OwnedReadHalf {
    connection: Arc<Connection>,
}

impl OwnedReadHalf {
    pub(crate) fn new(connection: Arc<Connection>) -> OwnedReadHalf {
        OwnedReadHalf { connection }
    }
}

/// The writing half of a [`TcpStream`](crate::TcpStream). Dropping it ends the direction.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    connection: Arc<Connection>,
}

impl OwnedWriteHalf {
    pub(crate) fn new(connection: Arc<Connection>) -> OwnedWriteHalf {
        OwnedWriteHalf { connection }
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        // A connection that is gone needs no end.
        let _ = self.connection.shutdown();
    }
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_read(cx, buffer)
    }
}

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.connection.poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.connection.shutdown())
    }
}
