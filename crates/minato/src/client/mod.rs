//! Speaks the control API: HTTP and JSON over an engine's Unix socket, a connection for each request.

mod connect;
mod descriptor;
mod dial;
mod elsewhere;
mod happenings;
mod lines;
mod session;
mod start;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use minato_inspect::{
    EgressVerdict, Flow, Forward, ForwardRequest, Host, Network, PortRow, Problem, SessionEnd, SessionId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::flags::Name;
use crate::here;
use crate::runtime_dir::RuntimeDir;
use connect::Ahead;
pub(crate) use descriptor::{BindTaker, Until};
pub(crate) use elsewhere::missing_host;
pub(crate) use session::{Binds, Ending, News, Session, Stay};
pub(crate) use start::{open_host, open_session, stay};

/// How long an answer may take that only tells what is so: long enough for tens of thousands of sockets on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a request got no answer that could be used.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// No engine listens.
    NotRunning,
    /// The engine, which has this process ID, is stopped: by `SIGSTOP`, or by a debugger.
    Stopped(u32),
    /// The engine does not answer.
    Silent,
    /// The engine went away before it answered.
    Gone(String),
    /// The engine said no.
    Refused(Box<Problem>),
    /// Something answered, but not as our engine does.
    Nonsense(String),
    /// The socket can't be used.
    Socket(io::Error),
}

impl RequestError {
    /// The reason in a few words.
    pub(crate) fn reason(&self) -> String {
        match self {
            RequestError::NotRunning => "no engine is running".into(),
            RequestError::Stopped(pid) => format!("its engine (pid {pid}) is stopped"),
            RequestError::Silent => "its engine does not answer".into(),
            RequestError::Gone(why) => format!("the engine ended ({why})"),
            RequestError::Refused(problem) => problem.title.clone(),
            RequestError::Nonsense(what) => format!("the engine's answer makes no sense ({what})"),
            RequestError::Socket(error) => error.to_string(),
        }
    }

    /// What the user is told, where a running engine was expected.
    pub(crate) fn into_failure(self, client: &Client) -> Failure {
        match self {
            RequestError::NotRunning => not_running(&client.directory),
            RequestError::Stopped(pid) => {
                let network = client.directory.network();
                let title = format!("network '{network}' answers nothing: its engine (pid {pid}) is stopped");
                Failure::new(crate::failure::code::FAILED, title).fix(format!("kill -CONT {pid}"))
            }
            RequestError::Silent => {
                let title = format!("the engine of network '{}' does not answer", client.directory.network());
                Failure::new(crate::failure::code::FAILED, title).fix_with_log(&client.directory.log())
            }
            RequestError::Gone(why) => {
                Failure::caused("the engine ended before it answered", why).last_words(&client.directory.log())
            }
            RequestError::Refused(problem) => in_network(Failure::from(*problem), &client.directory),
            RequestError::Nonsense(what) => Failure::caused("the engine's answer makes no sense", what)
                .fix("end every program of this network, so that its engine ends; then start again with this version"),
            RequestError::Socket(error) => {
                Failure::caused(format!("cannot use the socket {}", client.directory.socket().display()), error)
            }
        }
    }
}

/// No engine serves the network.
pub(crate) fn not_running(directory: &RuntimeDir) -> Failure {
    Failure::new(crate::failure::code::NOTHING, not_running_message(directory))
        .fix(format!("minato run{} -- PROGRAM    # starts it", network_flag(directory)))
}

/// A host was named, and not even its network is there.
fn no_such_host(host: &str, directory: &RuntimeDir) -> Failure {
    let title = format!("there is no host '{host}': {}", not_running_message(directory));
    Failure::new(crate::failure::code::NOTHING, title)
        .fix(format!("minato run{} --name {host} -- PROGRAM", network_flag(directory)))
}

/// The sentence that says so, and which networks do run.
pub(crate) fn not_running_message(directory: &RuntimeDir) -> String {
    let message = format!("no network '{}' is running", directory.network());
    let flags = directory.siblings().into_iter().filter(runs).map(|other| format!("--network {}", other.network()));
    match flags.collect::<Vec<_>>().as_slice() {
        [] => message,
        [flag] => format!("{message}; another one is: {flag}"),
        flags => format!("{message}; others are: {}", flags.join(", ")),
    }
}

/// Whether an engine serves there.
pub(crate) fn runs(directory: &RuntimeDir) -> bool {
    directory.check().is_ok() && std::os::unix::net::UnixStream::connect(directory.socket()).is_ok()
}

/// ` --network NET` where a command line needs it: the one that has no name of its own needs it where another one is meant.
pub(crate) fn network_flag(directory: &RuntimeDir) -> String {
    let network = directory.network();
    if *network == Name::default() && here::is_meant(network) {
        return String::new();
    }
    format!(" --network {network}")
}

/// The engine names commands as its own network's user types them, who may have to say which network it is.
fn in_network(mut failure: Failure, directory: &RuntimeDir) -> Failure {
    let flag = network_flag(directory);
    for fix in failure.fixes.iter_mut().filter(|fix| !fix.contains(" --network ")) {
        if let Some(rest) = fix.strip_prefix("minato ").filter(|rest| !rest.starts_with("doctor")) {
            *fix = format!("minato{flag} {rest}");
        }
    }
    failure
}

/// Where an engine is asked.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    directory: RuntimeDir,
    ahead: Ahead,
}

impl Client {
    /// Asks the engine of a directory that is trusted.
    pub(crate) fn new(directory: RuntimeDir) -> Result<Client, Failure> {
        directory.check()?;
        Ok(Client { directory, ahead: Ahead::default() })
    }

    /// Where the engine lives.
    pub(crate) fn directory(&self) -> &RuntimeDir {
        &self.directory
    }

    /// The network itself.
    pub(crate) async fn network(&self) -> Result<Network, RequestError> {
        self.get("/v1/network").await
    }

    /// Hosts with their processes.
    pub(crate) async fn hosts(&self) -> Result<Vec<Host>, RequestError> {
        self.get("/v1/hosts").await
    }

    /// One host.
    pub(crate) async fn host(&self, name: &str) -> Result<Host, RequestError> {
        self.get(&format!("/v1/hosts/{name}")).await
    }

    /// What the policy of a host says about a place, and a port there.
    pub(crate) async fn egress(
        &self,
        host: &str,
        to: &str,
        port: u16,
        transport: minato_ports::Transport,
    ) -> Result<EgressVerdict, RequestError> {
        self.get(&format!("/v1/hosts/{host}/egress?to={}&port={port}&transport={transport}", query_value(to))).await
    }

    /// Bound ports.
    pub(crate) async fn ports(&self) -> Result<Vec<PortRow>, RequestError> {
        self.get("/v1/ports").await
    }

    /// Who talks to whom.
    pub(crate) async fn flows(&self) -> Result<Vec<Flow>, RequestError> {
        self.get("/v1/flows").await
    }

    /// Forwards with their counters.
    pub(crate) async fn forwards(&self) -> Result<Vec<Forward>, RequestError> {
        self.get("/v1/forwards").await
    }

    /// Adds forwards: all or none.
    pub(crate) async fn add_forwards(&self, request: &ForwardRequest) -> Result<Vec<Forward>, RequestError> {
        self.json(Method::POST, "/v1/forwards", request).await
    }

    /// Removes forwards: all or none.
    pub(crate) async fn remove_forwards(&self, request: &ForwardRequest) -> Result<Vec<Forward>, RequestError> {
        self.json(Method::DELETE, "/v1/forwards", request).await
    }

    /// Ends a session; answers when its host is gone, if it was the last one.
    pub(crate) async fn end_session(&self, session: SessionId) -> Result<SessionEnd, RequestError> {
        let exchange = self.send(Method::DELETE, &format!("/v1/sessions/{}", session.0), String::new()).await?;
        if exchange.response.status() == StatusCode::NO_CONTENT {
            Ok(SessionEnd::default())
        } else {
            exchange.read().await
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RequestError> {
        let answer = async { self.send(Method::GET, path, String::new()).await?.read().await };
        timeout(PATIENCE, answer).await.unwrap_or(Err(RequestError::Silent))
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, RequestError> {
        let body = serde_json::to_string(body).map_err(|error| RequestError::Nonsense(error.to_string()))?;
        self.send(method, path, body).await?.read().await
    }

    /// Sends a request and takes the head of its answer; an answer that refuses is an error already.
    async fn send(&self, method: Method, path: &str, body: String) -> Result<Exchange, RequestError> {
        send_over(self.connect().await?, method, path, body).await
    }

    /// Sends a request and takes the head of its answer.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Exchange, RequestError> {
        exchange_over(self.connect().await?, request).await
    }

    fn socket(&self) -> PathBuf {
        self.directory.socket()
    }
}

/// Sends a request over a connection of its own and takes the head of its answer; an answer that refuses is an error already.
async fn send_over(stream: UnixStream, method: Method, path: &str, body: String) -> Result<Exchange, RequestError> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::HOST, "minato")
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| RequestError::Nonsense(error.to_string()))?;
    let exchange = exchange_over(stream, request).await?;
    if exchange.response.status().is_success() { Ok(exchange) } else { Err(exchange.refusal().await) }
}

async fn exchange_over(stream: UnixStream, request: Request<Full<Bytes>>) -> Result<Exchange, RequestError> {
    let gone = |error: hyper::Error| RequestError::Gone(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(gone)?;
    let connection = AbortOnDrop(tokio::spawn(async move {
        // Its error reaches whoever waits for the answer.
        let _ = connection.with_upgrades().await;
    }));
    let response = sender.send_request(request).await.map_err(gone)?;
    Ok(Exchange { response, _connection: connection })
}

/// A text as it may stand in the query of a path (RFC 3986 §2.3).
fn query_value(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// An answer whose body is still to be read, and the connection that carries it.
struct Exchange {
    response: Response<Incoming>,
    _connection: AbortOnDrop,
}

impl Exchange {
    async fn read<T: DeserializeOwned>(self) -> Result<T, RequestError> {
        let body = self.bytes().await?;
        serde_json::from_slice(&body).map_err(|error| RequestError::Nonsense(error.to_string()))
    }

    async fn refusal(self) -> RequestError {
        let status = self.response.status();
        match self.bytes().await {
            Ok(body) => serde_json::from_slice(&body).map_or_else(
                |_| RequestError::Nonsense(format!("{status}: {}", String::from_utf8_lossy(&body))),
                |problem| RequestError::Refused(Box::new(problem)),
            ),
            Err(error) => error,
        }
    }

    async fn bytes(self) -> Result<Bytes, RequestError> {
        let collected = self.response.into_body().collect().await;
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| RequestError::Gone(error.to_string()))
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
