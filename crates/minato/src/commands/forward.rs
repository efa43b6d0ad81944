//! `minato forward add` and `rm`: changes while programs run.

use minato_inspect::{Forward, ForwardRequest, ForwardSpec};

use super::{DONE, views};
use crate::client::Client;
use crate::failure::{Failure, code};
use crate::flags::Name;
use crate::terminal::Terminal;

/// `minato forward add`.
pub(super) async fn add(
    host: &Name,
    forwards: Vec<ForwardSpec>,
    client: &Client,
    terminal: &Terminal,
) -> Result<u8, Failure> {
    views::require(Some(host), client).await?;
    let request = ForwardRequest { host: host.to_string(), forwards };
    let added = client.add_forwards(&request).await.map_err(|error| error.into_failure(client))?;
    Ok(changed(&added, terminal))
}

/// `minato forward rm`.
pub(super) async fn remove(
    host: &Name,
    forwards: Vec<ForwardSpec>,
    client: &Client,
    terminal: &Terminal,
) -> Result<u8, Failure> {
    views::require(Some(host), client).await?;
    let request = ForwardRequest { host: host.to_string(), forwards };
    let removed = client.remove_forwards(&request).await.map_err(|error| match error.into_failure(client) {
        // The host is there, so what is missing is the forward.
        failure if failure.code == code::NOTHING => Failure { code: code::FORWARD_MISSING, ..failure },
        failure => failure,
    })?;
    Ok(changed(&removed, terminal))
}

/// A change is silent for people, as `rm` is, and complete for programs.
fn changed(forwards: &[Forward], terminal: &Terminal) -> u8 {
    terminal.view("forwards", &forwards, |_| String::new());
    DONE
}

#[cfg(test)]
mod tests;
