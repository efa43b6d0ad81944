//! A host that is not where it was looked for may be in another network of the same user.

use super::{Client, RequestError, no_such_host};
use crate::failure::{Failure, code};

/// What the user is told who has named a host that was not found: where one of that name is, if there is one.
pub(crate) async fn missing_host(host: &str, error: RequestError, client: &Client) -> Failure {
    let failure = match error {
        RequestError::NotRunning => no_such_host(host, client.directory()),
        error => error.into_failure(client),
    };
    let networks = if failure.code == code::NOTHING { networks_with(host, client).await } else { Vec::new() };
    if networks.is_empty() {
        return failure;
    }
    // A second one of that name is hardly what was wanted.
    let found = Failure { fixes: Vec::new(), ..failure };
    networks.into_iter().fold(found, |failure, network| {
        failure.detail(format!("{host} is a host of network '{network}'")).fix(format!("--network {network}"))
    })
}

/// The user's other networks that have a host of this name; one whose engine does not answer has none.
async fn networks_with(host: &str, client: &Client) -> Vec<String> {
    let mut found = Vec::new();
    for directory in client.directory().siblings() {
        let network = directory.network().to_string();
        let Ok(client) = Client::new(directory) else { continue };
        // One that has joined the network is reached through its own.
        if client.host(host).await.is_ok_and(|host| host.home.is_none()) {
            found.push(network);
        }
    }
    found
}
