//! Starts an engine on demand, and copes with one that is just starting or just ending.
//!
//! Several commands may find no engine at once, and each starts one. The engines settle it among themselves with a
//! lock: one serves, the others say that there is one already, and their commands connect again. An engine that ends
//! with its last host may do so between a command's connect and its request; that command starts the next one.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hyper::Method;
use minato_engine::FixedSubnet;
use minato_inspect::{ExecRequest, HostRequest, Problem};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Client, RequestError, Session, Stay, missing_host, query_value, send_over};
use crate::failure::Failure;
use crate::runtime_dir::RuntimeDir;

/// For how long a command tries to find or start an engine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause before it tries again.
const PAUSE: Duration = Duration::from_millis(20);
/// What a session usually needs besides its own connection, and what is made while the engine makes the host: one for the
/// binds of its program, and one to end it.
const AHEAD: usize = 2;
/// HTTP status of an engine that takes no more requests because it ends.
const ENDING: u16 = 503;
/// Status that an engine tells its starter when another one serves the network.
const RUNS_ALREADY: u16 = 423;

/// Makes a host, in an engine that is started if none runs.
pub(crate) async fn open_host(client: &Client, request: &HostRequest) -> Result<Session, Failure> {
    let started = Instant::now();
    // What it joins is there, until the host itself is a reason for it to be.
    let joined = keep_networks(client, &request.networks).await?;
    let session = loop {
        match open(client, "/v1/hosts", request).await {
            Ok(session) => break session,
            Err(error) => find_engine(client, request.subnet.as_deref(), error, started).await?,
        }
    };
    for stay in joined {
        // It fails when the other engine is ending, which the host is told of.
        let _ = stay.end().await;
    }
    Ok(session)
}

/// Makes other networks stay.
async fn keep_networks(client: &Client, networks: &[String]) -> Result<Vec<Stay>, Failure> {
    let mut kept = Vec::new();
    for network in networks {
        let name = network.parse().map_err(Failure::usage)?;
        let other = Client::new(client.directory().sibling(name))?;
        kept.push(stay(&other, None).await?);
    }
    Ok(kept)
}

/// Makes a network stay, in an engine that is started if none runs.
pub(crate) async fn stay(client: &Client, subnet: Option<FixedSubnet>) -> Result<Stay, Failure> {
    let started = Instant::now();
    let subnet = subnet.map(|subnet| subnet.to_string());
    let path = match &subnet {
        Some(subnet) => format!("/v1/stay?subnet={}", query_value(subnet)),
        None => "/v1/stay".to_owned(),
    };
    loop {
        let answer = match client.send(Method::POST, &path, String::new()).await {
            Ok(exchange) => Stay::begin(client.clone(), exchange).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(stay) => return Ok(stay),
            Err(error) => find_engine(client, subnet.as_deref(), error, started).await?,
        }
    }
}

/// After an error: returns when it may help to ask again, because an engine was started or is just ending.
async fn find_engine(
    client: &Client,
    subnet: Option<&str>,
    error: RequestError,
    started: Instant,
) -> Result<(), Failure> {
    let late = started.elapsed() > PATIENCE;
    match error {
        RequestError::NotRunning if !late => start(client.directory(), subnet).await,
        RequestError::Gone(_) if !late => {
            sleep(PAUSE).await;
            Ok(())
        }
        RequestError::Refused(problem) if problem.status == ENDING && !late => {
            sleep(PAUSE).await;
            Ok(())
        }
        error => Err(error.into_failure(client)),
    }
}

/// Joins a host of an engine that must be running.
pub(crate) async fn open_session(client: &Client, host: &str, request: &ExecRequest) -> Result<Session, Failure> {
    let path = format!("/v1/hosts/{host}/sessions");
    match open(client, &path, request).await {
        Ok(session) => Ok(session),
        Err(error) => Err(missing_host(host, error, client).await),
    }
}

async fn open(client: &Client, path: &str, request: &impl Serialize) -> Result<Session, RequestError> {
    let body = serde_json::to_string(request).map_err(|error| RequestError::Nonsense(error.to_string()))?;
    let stream = client.connect().await?;
    let ahead = async {
        // The request goes first.
        tokio::task::yield_now().await;
        client.connections(AHEAD).await
    };
    let (exchange, ahead) = tokio::join!(send_over(stream, Method::POST, path, body), ahead);
    Session::begin(client.with(ahead), exchange?).await
}

/// Starts an engine and waits until it serves, or says that another one does.
async fn start(directory: &RuntimeDir, subnet: Option<&str>) -> Result<(), Failure> {
    let log = open_log(directory)?;
    let mut engine = spawn(directory, subnet, log)?;
    let Some(output) = engine.stdout.take() else { return Ok(()) };
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map(|_| line)
    });
    let line = line.await.map_err(io::Error::other).and_then(|line| line);
    let line = line.map_err(|error| Failure::caused("cannot hear from the engine", error))?;
    match Announcement::parse(&line) {
        Announcement::Ready => Ok(()),
        Announcement::Refused(problem) => {
            // It ends now; nobody else would take its status.
            let _ = tokio::task::spawn_blocking(move || engine.wait()).await;
            if problem.status != RUNS_ALREADY {
                return Err(Failure::from(*problem));
            }
            sleep(PAUSE).await;
            Ok(())
        }
        Announcement::Silence => Err(silent(directory, &mut engine)),
    }
}

/// The engine's log, in a directory that is made if need be: once more when an engine that was ending removed it again.
fn open_log(directory: &RuntimeDir) -> Result<File, Failure> {
    let started = Instant::now();
    loop {
        directory.create()?;
        match OpenOptions::new().create(true).append(true).mode(0o600).open(directory.log()) {
            Ok(log) => return Ok(log),
            Err(error) if error.kind() == io::ErrorKind::NotFound && started.elapsed() < PATIENCE => {}
            Err(error) => return Err(Failure::caused(format!("cannot write {}", directory.log().display()), error)),
        }
    }
}

/// The engine's process: its session is its own, its words go to its log, its readiness to a pipe.
fn spawn(directory: &RuntimeDir, subnet: Option<&str>, log: File) -> Result<Child, Failure> {
    Command::new("/proc/self/exe")
        .args(["__engine", "--network", directory.network().as_str(), "--runtime-dir"])
        .arg(directory.path())
        .args(subnet.into_iter().flat_map(|subnet| ["--subnet", subnet]))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| Failure::caused("cannot start the engine", error))
}

/// The one line that a starting engine writes.
enum Announcement {
    Ready,
    Refused(Box<Problem>),
    Silence,
}

impl Announcement {
    fn parse(line: &str) -> Announcement {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        if value.get("ready").is_some_and(|ready| ready == true) {
            return Announcement::Ready;
        }
        serde_json::from_value(value).map_or(Announcement::Silence, |problem| Announcement::Refused(Box::new(problem)))
    }
}

fn silent(directory: &RuntimeDir, engine: &mut Child) -> Failure {
    let ended = engine.try_wait().ok().flatten();
    let how = ended.map_or_else(|| "it said nothing".into(), |status| format!("it ended at once: {status}"));
    Failure::caused("the engine did not start", how).last_words(&directory.log()).fix_with_log(&directory.log())
}
