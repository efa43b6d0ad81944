//! The answer that lasts as long as a session: one JSON object a line.

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::stream;
use crate::control::Session;

/// The response that streams a session's events. When the connection closes, hyper drops it, and the session ends.
pub(super) fn stream(mut session: Session) -> Response {
    let body = stream::body(move |context| session.events.poll_recv(context).map(|event| event.as_ref().map(line)));
    ([(header::CONTENT_TYPE, "application/jsonl")], body).into_response()
}

pub(super) fn line(event: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
