//! What a path names: a host, a guest or a session; refused with a problem.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use minato_inspect::ProblemKind;

use super::reply::Refusal;
use crate::problem::problem;

/// The part of the path that differs.
pub(super) struct Path(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Path {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path, Refusal> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(name)) => Ok(Path(name)),
            Err(rejection) => Err(problem(ProblemKind::Usage, rejection.body_text()).into()),
        }
    }
}
