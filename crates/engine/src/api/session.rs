//! The answer that lasts as long as a session: one JSON object a line.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use minato_inspect::SessionEvent;

use crate::control::Session;

/// The response that streams a session's events. When the connection closes, hyper drops it, and the session ends.
pub(super) fn stream(session: Session) -> Response {
    ([(header::CONTENT_TYPE, "application/jsonl")], Body::new(Lines(session))).into_response()
}

struct Lines(Session);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.events.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(line(&event)))))
    }
}

fn line(event: &SessionEvent) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
