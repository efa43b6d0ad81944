//! The control API: HTTP and JSON on a Unix socket that only its owner may open.

mod body;
mod reply;
mod session;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, delete, get, post};
use minato_inspect::{ExecRequest, ForwardRequest, HostRequest, ProblemKind, SessionId};

use crate::control::Control;
use crate::problem::{internal, problem};
use body::Body;
use reply::{Json, Refusal};

/// Largest request body: some 10,000 forwards by name.
const MAX_BODY: usize = 1 << 20;

type Shared = State<Arc<Control>>;
type Answer<T> = Result<Json<T>, Refusal>;

/// Every endpoint.
pub(crate) fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/v1/network", get(network))
        .route("/v1/hosts", get(hosts).post(create_host))
        .route("/v1/hosts/{name}", get(host))
        .route("/v1/hosts/{name}/sessions", post(create_session))
        .route("/v1/sessions/{id}", delete(end_session))
        .route("/v1/ports", get(ports))
        .route("/v1/flows", get(flows))
        .route("/v1/forwards", get(forwards).post(add_forwards).delete(remove_forwards))
        .route("/", any(unknown))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(control)
}

async fn network(State(control): Shared) -> Json<minato_inspect::Network> {
    Json(control.network())
}

async fn hosts(State(control): Shared) -> Answer<Vec<minato_inspect::Host>> {
    Ok(Json(control.hosts().await?))
}

async fn host(State(control): Shared, Path(name): Path<String>) -> Answer<minato_inspect::Host> {
    Ok(Json(control.host(&name).await?))
}

async fn create_host(State(control): Shared, Body(request): Body<HostRequest>) -> Result<Response, Refusal> {
    // A task of its own: when the client goes away meanwhile, the steps still end in a session, which ends at once.
    let created = tokio::spawn(async move { control.create_host(request).await }).await;
    Ok(session::stream(created.map_err(internal)??))
}

async fn create_session(
    State(control): Shared,
    Path(name): Path<String>,
    Body(_): Body<ExecRequest>,
) -> Result<Response, Refusal> {
    Ok(session::stream(control.join_host(&name)?))
}

async fn end_session(State(control): Shared, Path(id): Path<String>) -> Answer<minato_inspect::SessionEnd> {
    let Ok(number) = id.parse() else {
        return Err(problem(ProblemKind::NotFound, format!("there is no session {id:?}")).into());
    };
    Ok(Json(control.end_session(SessionId(number)).await?))
}

async fn ports(State(control): Shared) -> Answer<Vec<minato_inspect::PortRow>> {
    Ok(Json(control.ports().await?))
}

async fn flows(State(control): Shared) -> Answer<Vec<minato_inspect::Flow>> {
    Ok(Json(control.flows().await?))
}

async fn forwards(State(control): Shared) -> Answer<Vec<minato_inspect::Forward>> {
    Ok(Json(control.forwards().await?))
}

async fn add_forwards(
    State(control): Shared,
    Body(request): Body<ForwardRequest>,
) -> Answer<Vec<minato_inspect::Forward>> {
    let added = tokio::spawn(async move { control.add_forwards(request).await }).await;
    Ok(Json(added.map_err(internal)??))
}

async fn remove_forwards(
    State(control): Shared,
    Body(request): Body<ForwardRequest>,
) -> Answer<Vec<minato_inspect::Forward>> {
    let removed = tokio::spawn(async move { control.remove_forwards(request).await }).await;
    Ok(Json(removed.map_err(internal)??))
}

async fn unknown(uri: Uri) -> Refusal {
    problem(ProblemKind::NotFound, format!("there is nothing at {:?}", uri.path())).into()
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let title = format!("{method} is not possible at {:?}", uri.path());
    let status = StatusCode::METHOD_NOT_ALLOWED.as_u16();
    minato_inspect::Problem { status, ..problem(ProblemKind::Usage, title) }.into()
}
