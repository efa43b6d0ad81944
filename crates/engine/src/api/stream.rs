//! The body of an answer that goes on and on.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::Frame;

/// A body of pieces as they come: `next` is polled like [`std::future::Future::poll`], and ends it with `None`.
pub(super) fn body<N>(next: N) -> Body
where
    N: FnMut(&mut Context<'_>) -> Poll<Option<Bytes>> + Send + Unpin + 'static,
{
    Body::new(Pieces(next))
}

struct Pieces<N>(N);

impl<N> http_body::Body for Pieces<N>
where
    N: FnMut(&mut Context<'_>) -> Poll<Option<Bytes>> + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        (self.0)(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
