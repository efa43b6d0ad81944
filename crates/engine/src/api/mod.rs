//! The control API: HTTP and JSON on a Unix socket that only its owner may open.

mod body;
mod descriptor;
mod events;
mod guest;
mod path;
mod peers;
mod reply;
mod session;
mod stream;
mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, post, put};
use minato_inspect::{ExecRequest, ForwardRequest, GuestRequest, HostRequest, Problem, ProblemKind, SessionId};

use crate::control::Control;
use crate::convert::from_inspect;
use crate::problem::{internal, problem};
use body::Body;
use path::Path;
pub(crate) use peers::Trusted;
use reply::{Json, Refusal};
use serde::Deserialize;
use upgrade::Upgrade;

/// Largest request body: some 10,000 forwards by name.
const MAX_BODY: usize = 1 << 20;
/// What the API looks like, for clients and people.
const DESCRIPTION: &str = include_str!("../../../../docs/openapi.json");

type Shared = State<Arc<Control>>;
type Answer<T> = Result<Json<T>, Refusal>;

/// One operation of the API: method, path, and what answers.
type Operation = (Method, &'static str, MethodRouter<Arc<Control>>);

/// Every operation; `docs/openapi.json` describes exactly these.
fn operations() -> Vec<Operation> {
    vec![
        (Method::GET, "/v1/openapi.json", get(description)),
        (Method::GET, "/v1/network", get(network)),
        (Method::GET, "/v1/hosts", get(hosts)),
        (Method::POST, "/v1/hosts", post(create_host)),
        (Method::GET, "/v1/hosts/{name}", get(host)),
        (Method::POST, "/v1/hosts/{name}/sessions", post(create_session)),
        (Method::GET, "/v1/hosts/{name}/packets", get(packets)),
        (Method::GET, "/v1/hosts/{name}/egress", get(egress)),
        (Method::POST, "/v1/hosts/{name}/dial", post(dial)),
        (Method::POST, "/v1/stay", post(stay)),
        (Method::POST, "/v1/guests", post(create_guest)),
        (Method::PUT, "/v1/guests/{name}/offers", put(set_offers)),
        (Method::DELETE, "/v1/sessions/{id}", delete(end_session)),
        (Method::POST, "/v1/sessions/{id}/binds", post(binds)),
        (Method::GET, "/v1/ports", get(ports)),
        (Method::GET, "/v1/flows", get(flows)),
        (Method::GET, "/v1/events", get(happenings)),
        (Method::GET, "/v1/forwards", get(forwards)),
        (Method::POST, "/v1/forwards", post(add_forwards)),
        (Method::DELETE, "/v1/forwards", delete(remove_forwards)),
    ]
}

/// The server.
pub(crate) fn router(control: Arc<Control>) -> Router {
    let add = |router: Router<Arc<Control>>, (_, path, handler): Operation| router.route(path, handler);
    operations()
        .into_iter()
        .fold(Router::new(), add)
        .route("/", any(unknown))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(control)
}

async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION).into_response()
}

async fn network(State(control): Shared) -> Json<minato_inspect::Network> {
    Json(control.network())
}

async fn hosts(State(control): Shared) -> Answer<Vec<minato_inspect::Host>> {
    Ok(Json(control.hosts().await?))
}

async fn host(State(control): Shared, Path(name): Path) -> Answer<minato_inspect::Host> {
    Ok(Json(control.host(&name).await?))
}

async fn create_host(State(control): Shared, Body(request): Body<HostRequest>) -> Result<Response, Refusal> {
    // A task of its own: when the client goes away meanwhile, the steps still end in a session, which ends at once.
    let created = tokio::spawn(async move { control.create_host(request).await }).await;
    Ok(session::stream(created.map_err(internal)??))
}

async fn create_session(
    State(control): Shared,
    Path(name): Path,
    Body(_): Body<ExecRequest>,
) -> Result<Response, Refusal> {
    Ok(session::stream(control.join_host(&name)?))
}

async fn packets(
    State(control): Shared,
    Path(name): Path,
    request: axum::extract::Request,
) -> Result<Response, Refusal> {
    let upgrade = descriptor::asked(request)?;
    let (socket, gone) = control.packet_socket(&name).await?;
    Ok(descriptor::hand_over(upgrade, socket, gone))
}

/// Where to, and whose connection it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dial {
    port: Option<u16>,
    client: SocketAddr,
}

async fn dial(
    State(control): Shared,
    Path(name): Path,
    query: Result<Query<Dial>, QueryRejection>,
    request: axum::extract::Request,
) -> Result<Response, Refusal> {
    let Query(Dial { port, client }) = query.map_err(|rejection| wrong_query(&rejection))?;
    let upgrade = Upgrade::of(request, "tcp", "a stream of bytes")?;
    let destination = control.destination(&name, port).await?;
    let (response, stream) = upgrade.accept();
    tokio::spawn(async move {
        match stream.await.and_then(tokio::net::UnixStream::into_std) {
            Ok(stream) => control.dial(destination, stream.into(), client),
            Err(error) => tracing::debug!(%error, "a client went away before its connection was made"),
        }
    });
    Ok(response)
}

/// What the network is to be like that stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stay {
    subnet: Option<String>,
}

async fn stay(State(control): Shared, query: Result<Query<Stay>, QueryRejection>) -> Result<Response, Refusal> {
    let Query(Stay { subnet }) = query.map_err(|rejection| wrong_query(&rejection))?;
    Ok(session::stream(control.stay(subnet.as_deref()).await?))
}

async fn create_guest(State(control): Shared, Body(request): Body<GuestRequest>) -> Result<Response, Refusal> {
    // A task of its own, for the same reason as with a host.
    let created = tokio::spawn(async move { control.add_guest(request).await }).await;
    Ok(guest::stream(created.map_err(internal)??))
}

async fn set_offers(
    State(control): Shared,
    Path(name): Path,
    Body(offers): Body<minato_inspect::Offers>,
) -> Answer<minato_inspect::Offers> {
    control.set_offers(&name, &offers)?;
    Ok(Json(offers))
}

/// What is asked about a host's policy.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EgressQuery {
    to: String,
    /// None for ICMP echo.
    port: Option<std::num::NonZero<u16>>,
    #[serde(default = "tcp")]
    transport: minato_inspect::Transport,
}

fn tcp() -> minato_inspect::Transport {
    minato_inspect::Transport::Tcp
}

async fn egress(
    State(control): Shared,
    Path(name): Path,
    query: Result<Query<EgressQuery>, QueryRejection>,
) -> Answer<minato_inspect::EgressVerdict> {
    let Query(EgressQuery { to, port, transport }) = query.map_err(|rejection| wrong_query(&rejection))?;
    let port = port.map(|port| (from_inspect(transport), port.get()));
    Ok(Json(control.judge(&name, &to, port).await?))
}

async fn end_session(State(control): Shared, Path(id): Path) -> Answer<minato_inspect::SessionEnd> {
    Ok(Json(control.end_session(session_id(&id)?).await?))
}

/// What is said about a program whose binds are handed over.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Binds {
    #[serde(default)]
    sole: bool,
}

async fn binds(
    State(control): Shared,
    Path(id): Path,
    query: Result<Query<Binds>, QueryRejection>,
    request: axum::extract::Request,
) -> Result<Response, Refusal> {
    let upgrade = descriptor::asked(request)?;
    let Query(Binds { sole }) = query.map_err(|rejection| wrong_query(&rejection))?;
    let watch = control.bind_watch(session_id(&id)?, sole)?;
    Ok(descriptor::take_over(upgrade, move |listener| watch.begin(listener)))
}

fn session_id(text: &str) -> Result<SessionId, Refusal> {
    let number = text.parse().map_err(|_| problem(ProblemKind::NotFound, format!("there is no session {text:?}")))?;
    Ok(SessionId(number))
}

async fn ports(State(control): Shared) -> Answer<Vec<minato_inspect::PortRow>> {
    Ok(Json(control.ports().await?))
}

async fn flows(State(control): Shared) -> Answer<Vec<minato_inspect::Flow>> {
    Ok(Json(control.flows().await?))
}

async fn happenings(State(control): Shared) -> Result<Response, Refusal> {
    let subscriber = control.subscribe().await?;
    Ok(events::stream(control, subscriber))
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

fn wrong_query(rejection: &QueryRejection) -> Problem {
    problem(ProblemKind::Usage, rejection.body_text())
}

async fn unknown(uri: Uri) -> Refusal {
    problem(ProblemKind::NotFound, format!("there is nothing at {:?}", uri.path())).into()
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let title = format!("{method} is not possible at {:?}", uri.path());
    let status = StatusCode::METHOD_NOT_ALLOWED.as_u16();
    minato_inspect::Problem { status, ..problem(ProblemKind::Usage, title) }.into()
}

#[cfg(test)]
mod tests;
