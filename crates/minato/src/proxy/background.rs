//! A proxy in the background, for as long as there are networks.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::listen::{PROCESS, Taken, listen_soon};
use super::{accept_all, directory, port};
use crate::background;
use crate::commands::DONE;
use crate::failure::Failure;
use crate::program;

/// Between two looks at whether there are networks.
const PAUSE: Duration = Duration::from_millis(500);
/// How many looks in a row must find none: one network may just be followed by the next.
const LOOKS: u32 = 2;

/// What a starting proxy tells who has started it.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// It serves, or another one does.
    Served,
    /// There is none.
    Failed(Failure),
}

/// Starts a proxy unless one of this user runs already, and returns its port when it serves.
pub(crate) async fn ensure() -> Result<u16, Failure> {
    let port = port()?;
    let failed = |error: std::io::Error| Failure::caused("cannot start the proxy", error);
    let mut proxy = tokio::process::Command::new("/proc/self/exe")
        .arg("__proxy")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let output = proxy.stdout.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
    let line = BufReader::new(output).lines().next_line().await.map_err(failed)?;
    match line.as_deref().map(serde_json::from_str) {
        Some(Ok(Word::Served)) => Ok(port),
        Some(Ok(Word::Failed(failure))) => Err(failure),
        Some(Err(_)) | None => Err(Failure::new(crate::failure::code::FAILED, "the proxy ended before it served")),
    }
}

/// `minato __proxy`: serves until the last network is gone.
pub(crate) async fn serve_in_background() -> Result<u8, Failure> {
    program::rename(PROCESS);
    let listening = match port() {
        Ok(port) => listen_soon(port).await,
        Err(failure) => Err(Taken::Otherwise(Box::new(failure))),
    };
    let (word, listeners) = match listening {
        Ok(listeners) => (Word::Served, listeners),
        Err(Taken::ByOurs(_)) => (Word::Served, Vec::new()),
        Err(Taken::ByOthers(failure) | Taken::Otherwise(failure)) => (Word::Failed(*failure), Vec::new()),
    };
    background::say(&word).map_err(|error| Failure::caused("nobody waits for the proxy", error))?;
    if !listeners.is_empty() {
        let secure = Arc::default();
        tokio::select! {
            () = accept_all(listeners, &secure) => {}
            () = last_network_gone() => {}
        }
    }
    Ok(DONE)
}

async fn last_network_gone() {
    let mut none = 0;
    while none < LOOKS {
        tokio::time::sleep(PAUSE).await;
        none = if directory::any_network().await { 0 } else { none + 1 };
    }
}
