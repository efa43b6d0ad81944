//! Answers: JSON, and problems as RFC 9457 wants them.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use minato_inspect::Problem;
use serde::Serialize;

/// An answer of type `T`.
pub(super) struct Json<T>(pub(super) T);

/// A refusal.
pub(super) struct Refusal(Box<Problem>);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal(Box::new(problem))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        respond(StatusCode::OK, "application/json", &self.0)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        respond(status, "application/problem+json", &self.0)
    }
}

fn respond(status: StatusCode, content_type: &'static str, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, content_type)], body).into_response(),
        // The types of the API have no maps with other keys than strings, so this can't be.
        Err(error) => {
            tracing::error!(%error, "an answer can't be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
