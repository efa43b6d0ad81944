//! Commands that show what the engine knows: once, or again and again with `--watch`.

use std::time::Duration;

use minato_inspect::{Collision, Endpoint, Host, PortRow};
use serde::Serialize;

use super::DONE;
use crate::client::{Client, RequestError, missing_host, not_running_message};
use crate::failure::{Failure, code};
use crate::flags::{Name, PortQuery, Show, View};
use crate::machine;
use crate::render;
use crate::terminal::{Terminal, json_object};
use crate::up;

/// Shows a view.
pub(super) async fn show(show: &Show, client: &Client, terminal: &Terminal) -> Result<u8, Failure> {
    let Some(pause) = show.watch else {
        let seen = look(&show.view, client, terminal).await?;
        if !seen.running {
            terminal.warn(&not_running_message(client.directory()));
        }
        seen.warnings.iter().for_each(|warning| terminal.warn(warning));
        terminal.print(&seen.text);
        return seen.missing.map_or(Ok(DONE), Err);
    };
    watch(&show.view, pause, client, terminal).await
}

/// Shows a view anew whenever it has changed, until somebody ends it.
async fn watch(view: &View, pause: Duration, client: &Client, terminal: &Terminal) -> Result<u8, Failure> {
    let (mut before, mut warned) = (None, Vec::new());
    loop {
        let seen = look(view, client, terminal).await?;
        let notes = if terminal.json {
            // Standard output is data; each is said once.
            seen.warnings
                .iter()
                .filter(|warning| !warned.contains(*warning))
                .for_each(|warning| terminal.warn(warning));
            warned = seen.warnings;
            String::new()
        } else {
            seen.warnings.iter().map(|warning| render::printable(warning) + "\n").collect()
        };
        let text = if seen.running || terminal.json {
            seen.text
        } else {
            format!("{}\n", not_running_message(client.directory()))
        } + &notes;
        if before.as_ref() != Some(&text) {
            terminal.frame(&text);
        }
        before = Some(text);
        tokio::time::sleep(pause).await;
    }
}

/// A view at one moment.
#[derive(Debug)]
struct Seen {
    text: String,
    /// Whether an engine runs.
    running: bool,
    /// What was asked for by name and is not there.
    missing: Option<Failure>,
    /// What the user should know beside it.
    warnings: Vec<String>,
}

async fn look(view: &View, client: &Client, terminal: &Terminal) -> Result<Seen, Failure> {
    match view {
        View::Hosts => {
            let (hosts, running) = all(client.hosts().await, client)?;
            let warnings = collisions(client).await;
            let Some(status) = up::status(client.directory()) else {
                let text = terminal.list("hosts", &hosts, render::hosts);
                return Ok(Seen { warnings, ..seen(text, running) });
            };
            let text = if terminal.json {
                json_object(&Supervised { hosts: &hosts, up: &status })
            } else {
                format!("{}\n{}", render::hosts(&hosts, &terminal.look), up::table(&status, &terminal.look))
            };
            Ok(Seen { warnings, ..seen(text, running) })
        }
        View::Ports(query) => {
            require(query.of.as_ref(), client).await?;
            let (rows, running) = all(client.ports().await, client)?;
            let place = format!("in network '{}'", client.directory().network());
            Ok(ports(rows, running, query, &place, terminal))
        }
        View::MachinePorts(query) => {
            let rows =
                machine::ports().map_err(|error| Failure::caused("cannot read the kernel's socket table", error))?;
            Ok(ports(rows, true, query, "on this machine", terminal))
        }
        View::Flows(host) => {
            require(host.as_ref(), client).await?;
            let (mut flows, running) = all(client.flows().await, client)?;
            flows
                .retain(|flow| host.as_ref().is_none_or(|host| is_in(&flow.client, host) || is_in(&flow.server, host)));
            Ok(seen(terminal.list("flows", &flows, render::flows), running))
        }
        View::Forwards(host) => {
            require(host.as_ref(), client).await?;
            let (mut forwards, running) = all(client.forwards().await, client)?;
            forwards.retain(|forward| host.as_ref().is_none_or(|host| forward.host == host.as_str()));
            Ok(seen(terminal.list("forwards", &forwards, render::forwards), running))
        }
    }
}

/// What the network's subnet hides, if it does.
async fn collisions(client: &Client) -> Vec<String> {
    let told = client.network().await.map(|network| network.collisions).unwrap_or_default();
    let words = |Collision { hidden, what }: Collision| {
        format!("the machine has {what}: hosts can't reach {hidden} beyond their network")
    };
    told.into_iter().map(words).collect()
}

/// Hosts, and what `minato up` knows of them.
#[derive(Serialize)]
struct Supervised<'a> {
    hosts: &'a [Host],
    up: &'a up::Status,
}

fn ports(mut rows: Vec<PortRow>, running: bool, query: &PortQuery, place: &str, terminal: &Terminal) -> Seen {
    query.choose(&mut rows);
    let missing = query
        .words()
        .filter(|_| rows.is_empty())
        .map(|words| Failure::new(code::NOTHING, format!("nothing is bound {words} {place}")));
    Seen { missing, ..seen(terminal.list("ports", &rows, render::ports), running) }
}

fn seen(text: String, running: bool) -> Seen {
    Seen { text, running, missing: None, warnings: Vec::new() }
}

fn is_in(end: &Endpoint, host: &Name) -> bool {
    end.host.as_deref() == Some(host.as_str())
}

/// A list, and whether an engine gave it; without one it is empty.
fn all<T>(list: Result<Vec<T>, RequestError>, client: &Client) -> Result<(Vec<T>, bool), Failure> {
    match list {
        Ok(list) => Ok((list, true)),
        Err(RequestError::NotRunning) => Ok((Vec::new(), false)),
        Err(error) => Err(error.into_failure(client)),
    }
}

/// Fails unless the host that was named is there.
pub(super) async fn require(host: Option<&Name>, client: &Client) -> Result<Option<Host>, Failure> {
    let Some(host) = host else { return Ok(None) };
    match client.host(host.as_str()).await {
        Ok(host) => Ok(Some(host)),
        Err(error) => Err(missing_host(host.as_str(), error, client).await),
    }
}

#[cfg(test)]
mod tests;
