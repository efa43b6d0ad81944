//! Commands that show what the engine knows, or change its forwards.

use minato_inspect::{Forward, ForwardRequest, ForwardSpec, Host};
use serde::Serialize;

use super::DONE;
use crate::client::{Client, RequestError, not_running_message};
use crate::failure::{Failure, code};
use crate::flags::{Name, PortFilter};
use crate::render::{self, Look};
use crate::terminal::Terminal;

/// `minato ps`.
pub(super) async fn hosts(client: &Client, terminal: &Terminal) -> Result<u8, Failure> {
    let hosts = all(client.hosts().await, client, terminal)?;
    show(terminal, "hosts", &hosts, render::hosts);
    Ok(DONE)
}

/// `minato ports [PORT]`.
pub(super) async fn ports(client: &Client, filter: Option<&PortFilter>, terminal: &Terminal) -> Result<u8, Failure> {
    let mut rows = all(client.ports().await, client, terminal)?;
    rows.retain(|row| filter.is_none_or(|filter| filter.matches(row)));
    show(terminal, "ports", &rows, render::ports);
    match filter {
        Some(filter) if rows.is_empty() => {
            let title = format!("nothing is bound to port {} in network '{}'", filter.text, network(client));
            Err(Failure::new(code::NOTHING, title))
        }
        _ => Ok(DONE),
    }
}

/// `minato flows [HOST]`.
pub(super) async fn flows(client: &Client, host: Option<&Name>, terminal: &Terminal) -> Result<u8, Failure> {
    require(client, host).await?;
    let mut flows = all(client.flows().await, client, terminal)?;
    let is_party = |end: &minato_inspect::Endpoint, name: &Name| end.host.as_deref() == Some(name.as_str());
    flows.retain(|flow| host.is_none_or(|name| is_party(&flow.client, name) || is_party(&flow.server, name)));
    show(terminal, "flows", &flows, render::flows);
    Ok(DONE)
}

/// `minato forward ls [HOST]`.
pub(super) async fn forwards(client: &Client, host: Option<&Name>, terminal: &Terminal) -> Result<u8, Failure> {
    require(client, host).await?;
    let mut forwards = all(client.forwards().await, client, terminal)?;
    forwards.retain(|forward| host.is_none_or(|name| forward.host == name.as_str()));
    show(terminal, "forwards", &forwards, render::forwards);
    Ok(DONE)
}

/// `minato forward add`.
pub(super) async fn add_forwards(
    client: &Client,
    host: &Name,
    forwards: Vec<ForwardSpec>,
    terminal: &Terminal,
) -> Result<u8, Failure> {
    let request = ForwardRequest { host: host.to_string(), forwards };
    let added = client.add_forwards(&request).await.map_err(|error| error.into_failure(client))?;
    changed(terminal, &added);
    Ok(DONE)
}

/// `minato forward rm`.
pub(super) async fn remove_forwards(
    client: &Client,
    host: &Name,
    forwards: Vec<ForwardSpec>,
    terminal: &Terminal,
) -> Result<u8, Failure> {
    require(client, Some(host)).await?;
    let request = ForwardRequest { host: host.to_string(), forwards };
    let removed = client.remove_forwards(&request).await.map_err(|error| match error.into_failure(client) {
        // The host is there, so what is missing is the forward.
        failure if failure.code == code::NOTHING => Failure { code: code::FORWARD_MISSING, ..failure }
            .fix(format!("minato{} forward ls {host}", crate::client::network_flag(client.directory()))),
        failure => failure,
    })?;
    changed(terminal, &removed);
    Ok(DONE)
}

/// A change is silent for people, as `rm` is, and complete for programs.
fn changed(terminal: &Terminal, forwards: &Vec<Forward>) {
    terminal.view("forwards", forwards, |_| String::new());
}

/// A list; empty, with a word about it, where no engine runs.
fn all<T>(list: Result<Vec<T>, RequestError>, client: &Client, terminal: &Terminal) -> Result<Vec<T>, Failure> {
    match list {
        Ok(list) => Ok(list),
        Err(RequestError::NotRunning) => {
            terminal.warn(&not_running_message(client.directory()));
            Ok(Vec::new())
        }
        Err(error) => Err(error.into_failure(client)),
    }
}

/// Prints a list: nothing for people when there is nothing, always an array as JSON.
fn show<T: Serialize>(terminal: &Terminal, name: &str, list: &Vec<T>, text: impl FnOnce(&[T], &Look) -> String) {
    terminal.view(name, list, |look| if list.is_empty() { String::new() } else { text(list, look) });
}

/// Fails unless the host that was named is there.
async fn require(client: &Client, host: Option<&Name>) -> Result<Option<Host>, Failure> {
    let Some(host) = host else { return Ok(None) };
    client.host(host.as_str()).await.map(Some).map_err(|error| error.into_failure(client))
}

fn network(client: &Client) -> &Name {
    client.directory().network()
}

#[cfg(test)]
mod tests;
