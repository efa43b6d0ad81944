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
        let value = serde_json::from_slice(&bytes)
            .map_err(|error| problem(ProblemKind::Usage, format!("the body is not what is expected here: {error}")))?;
        Ok(Body(value))
    }
}
