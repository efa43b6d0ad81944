//! The answer that lasts as long as a host of another network is in this one: one JSON object a line.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::{session, stream};
use crate::control::GuestSession;

/// The response that streams what a guest's engine is told. When the connection closes, hyper drops it, and the guest leaves.
pub(super) fn stream(mut guest: GuestSession) -> Response {
    let body =
        stream::body(move |context| guest.events.poll_recv(context).map(|event| event.as_ref().map(session::line)));
    ([(header::CONTENT_TYPE, "application/jsonl")], body).into_response()
}
