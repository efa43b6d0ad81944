//! `minato down`: ends a network that is up, and waits until nothing of it is left.

use std::time::Duration;

use minato_inspect::Host;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::time::{Instant, sleep, timeout};

use super::logs;
use super::presence::{self, Supervisor};
use crate::client::{Client, RequestError};
use crate::commands::DONE;
use crate::failure::{Failure, code};
use crate::terminal::Terminal;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// How long an engine that nobody needs any more may take to go; a supervisor, beyond what its file allows its programs.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks the supervisor to end everything in order, and waits for it and for what it leaves.
pub(crate) async fn down(client: &Client, terminal: &Terminal) -> Result<u8, Failure> {
    let network = client.directory().network().clone();
    let found = presence::find(client.directory());
    if let Some((supervisor, handle)) = &found {
        let failed = |error: rustix::io::Errno| cannot_end(supervisor, &error);
        pidfd_send_signal(handle, Signal::TERM).map_err(failed)?;
        let (asked, patience) =
            (Instant::now(), Duration::from_secs(supervisor.seconds_to_end).saturating_add(PATIENCE));
        while !has_ended(handle).map_err(failed)? {
            if asked.elapsed() > patience {
                return Err(does_not_end(supervisor, patience));
            }
            sleep(PAUSE).await;
        }
    }
    // One that was killed leaves an engine that is just noticing it.
    let others = wait_for_the_end(client).await?;
    presence::clear(client.directory());
    logs::forget(&network);
    if !others.is_empty() {
        let names = others.join(", ");
        terminal.warn(&format!("network '{network}' stays: others have hosts in it: {names}"));
    }
    if found.is_none() {
        terminal.warn(&format!("network '{network}' is not up"));
    }
    Ok(DONE)
}

fn has_ended(handle: &rustix::fd::OwnedFd) -> Result<bool, rustix::io::Errno> {
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&now))? > 0)
}

/// Waits until the engine and its directory are gone. Hosts of others, which keep them, are returned.
pub(super) async fn wait_for_the_end(client: &Client) -> Result<Vec<String>, Failure> {
    let started = Instant::now();
    loop {
        let hosts = timeout(PATIENCE.saturating_sub(started.elapsed()), client.hosts()).await;
        match hosts.unwrap_or_else(|_| Err(RequestError::Gone("it does not answer".into()))) {
            Err(RequestError::NotRunning) if !client.directory().path().exists() => return Ok(Vec::new()),
            Ok(hosts) if !hosts.is_empty() && started.elapsed() > Duration::from_secs(1) => {
                let name = |host: Host| host.home.map_or(host.name.clone(), |home| format!("{} of {home}", host.name));
                return Ok(hosts.into_iter().map(name).collect());
            }
            // It may be stopped for long.
            Err(error @ RequestError::Stopped(_)) => return Err(error.into_failure(client)),
            // It is just ending, or has been killed and its agent cleans up.
            _ if started.elapsed() < PATIENCE => sleep(PAUSE).await,
            Err(RequestError::NotRunning) => return Ok(Vec::new()),
            Err(error) => return Err(error.into_failure(client)),
            Ok(_) => {
                let title = format!("the engine of network '{}' does not end", client.directory().network());
                return Err(Failure::new(code::FAILED, title).fix_with_log(&client.directory().log()));
            }
        }
    }
}

fn does_not_end(supervisor: &Supervisor, patience: Duration) -> Failure {
    let title = format!("the supervisor (pid {}) has not ended within {} s", supervisor.pid, patience.as_secs());
    Failure::new(code::FAILED, title)
        .fix(format!("kill -9 {}    # everything that it runs ends with it", supervisor.pid))
        .fix("minato down    # once more: it ends everything at once")
}

fn cannot_end(supervisor: &Supervisor, error: &rustix::io::Errno) -> Failure {
    Failure::caused(format!("cannot end the supervisor (pid {})", supervisor.pid), error)
}
