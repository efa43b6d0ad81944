//! Request bodies: JSON whatever the content type says, since there is nothing else; refused with a problem.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use minato_inspect::ProblemKind;
use serde::de::DeserializeOwned;

use super::reply::Refusal;
use crate::problem::problem;

/// A body of type `T`.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Refusal> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status().as_u16();
            minato_inspect::Problem { status, ..problem(ProblemKind::Usage, rejection.body_text()) }
        })?;
        Ok(Body(parse(&bytes)?))
    }
}

/// Reads all of a body. What it says and we don't know would be silently left undone, so that is refused too.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, minato_inspect::Problem> {
    let wrong = |error: serde_json::Error| {
        problem(ProblemKind::Usage, format!("the body is not what is expected here: {error}"))
    };
    // serde would take a list for a structure.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(problem(ProblemKind::Usage, "the body is not what is expected here: it is no JSON object"));
    }
    let mut unknown = None;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_ignored::deserialize(&mut reader, |field| {
        unknown.get_or_insert_with(|| field.to_string());
    })
    .map_err(wrong)?;
    reader.end().map_err(wrong)?;
    match unknown {
        None => Ok(value),
        Some(field) => {
            Err(problem(ProblemKind::Usage, format!("the body has a field that means nothing here: {field}")))
        }
    }
}
