//! `minato watch`: a line for everything that happens.

use minato_inspect::{Event, Happening};

use super::{DONE, views};
use crate::client::Client;
use crate::failure::{Failure, code};
use crate::flags::Name;
use crate::render;
use crate::terminal::{Terminal, json_view};

/// Prints what happens in the network, or to one host, until the engine ends or somebody ends this.
pub(super) async fn watch(host: Option<&Name>, client: &Client, terminal: &Terminal) -> Result<u8, Failure> {
    let mut happenings = client.happenings().await.map_err(|error| error.into_failure(client))?;
    views::require(host, client).await?;
    loop {
        let next = happenings.next().await.map_err(|error| error.into_failure(client))?;
        let Some(event) = next else {
            return Err(Failure::new(code::FAILED, "the engine ended the stream of events without a reason"));
        };
        if concerns(&event, host) {
            terminal.print(&if terminal.json { json_view("event", &event) } else { render::event(&event) });
        }
        if matches!(event.what, Happening::EngineStopping { .. }) {
            return Ok(DONE);
        }
    }
}

/// Whether somebody who watches this host wants to know.
fn concerns(event: &Event, host: Option<&Name>) -> bool {
    let Some(host) = host.map(Name::as_str) else { return true };
    match &event.what {
        Happening::HostStarted { host: of, .. } | Happening::HostEnded { host: of } => of == host,
        Happening::HostJoined { host: of, .. } | Happening::HostLeft { host: of, .. } => of == host,
        Happening::Bind(socket) | Happening::Listen(socket) | Happening::Release(socket) => socket.host == host,
        Happening::FlowStarted { flow, .. } | Happening::FlowEnded { flow, .. } => {
            [&flow.client, &flow.server].iter().any(|end| end.host.as_deref() == Some(host))
        }
        Happening::ForwardsAdded(change)
        | Happening::ForwardsRemoved(change)
        | Happening::ForwardsOpened(change)
        | Happening::ForwardsClosed(change) => change.host == host,
        Happening::EgressRefused(refusal) => refusal.host == host,
        Happening::Collision(_)
        | Happening::CollisionEnded(_)
        | Happening::SubnetChanged { .. }
        | Happening::EventsLost { .. }
        | Happening::EngineStopping { .. } => true,
    }
}
