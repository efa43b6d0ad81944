//! `minato forward add` and `rm`: changes while programs run.

use minato_inspect::{Forward, ForwardRequest, ForwardSpec, PortClass, PortRow, Transport};

use super::{DONE, views};
use crate::client::Client;
use crate::failure::{Failure, code};
use crate::flags::{Name, Which};
use crate::terminal::Terminal;

/// `minato forward add`.
pub(super) async fn add(host: &Name, which: Which, client: &Client, terminal: &Terminal) -> Result<u8, Failure> {
    let request = request(host, which, unforwarded(host, client), client).await?;
    let added = client.add_forwards(&request).await.map_err(|error| error.into_failure(client))?;
    Ok(changed(&added, terminal))
}

/// `minato forward rm`.
pub(super) async fn remove(host: &Name, which: Which, client: &Client, terminal: &Terminal) -> Result<u8, Failure> {
    let all = async { Ok(client.host(host.as_str()).await.map_err(|error| error.into_failure(client))?.forwards) };
    let request = request(host, which, all, client).await?;
    let removed = client.remove_forwards(&request).await.map_err(|error| match error.into_failure(client) {
        // The host is there, so what is missing is the forward.
        failure if failure.code == code::NOTHING => Failure { code: code::FORWARD_MISSING, ..failure },
        failure => failure,
    })?;
    Ok(changed(&removed, terminal))
}

/// What to change of a host that is there; `all` is asked for only where everything is to be changed.
async fn request(
    host: &Name,
    which: Which,
    all: impl Future<Output = Result<Vec<ForwardSpec>, Failure>>,
    client: &Client,
) -> Result<ForwardRequest, Failure> {
    views::require(Some(host), client).await?;
    let forwards = match which {
        Which::These(forwards) => forwards,
        Which::All => all.await?,
    };
    Ok(ForwardRequest { host: host.to_string(), forwards })
}

/// A forward of the same number for each port on which the host listens and that has none.
async fn unforwarded(host: &Name, client: &Client) -> Result<Vec<ForwardSpec>, Failure> {
    let rows = client.ports().await.map_err(|error| error.into_failure(client))?;
    let is_client = |row: &PortRow| row.transport == Transport::Udp && row.class == PortClass::Dynamic;
    let lacks = |row: &&PortRow| {
        let is_forwarded = row.forwarded_from.iter().any(|forward| !forward.automatic);
        row.host.as_deref() == Some(host.as_str()) && row.listening && !is_forwarded && !is_client(row)
    };
    let mut ends: Vec<(Transport, u16)> = rows.iter().filter(lacks).map(|row| (row.transport, row.port)).collect();
    ends.sort_unstable();
    ends.dedup();
    if ends.is_empty() {
        return Err(Failure::new(code::NOTHING, format!("nothing listens in {host} that is not forwarded already")));
    }
    let same = |(transport, port)| ForwardSpec {
        address: None,
        host_ports: (port, port),
        service_ports: (port, port),
        transport,
    };
    Ok(ends.into_iter().map(same).collect())
}

/// A change is silent for people, as `rm` is, and complete for programs.
fn changed(forwards: &[Forward], terminal: &Terminal) -> u8 {
    terminal.view("forwards", &forwards, |_| String::new());
    DONE
}

#[cfg(test)]
mod tests;
