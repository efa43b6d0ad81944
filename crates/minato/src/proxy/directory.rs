//! What networks, hosts and ports there are.

use minato_inspect::Transport;
use tokio::net::UnixStream;

use crate::client::Client;
use crate::flags::Name;
use crate::runtime_dir::RuntimeDir;

/// A network, as a page shows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    pub(super) network: String,
    /// Hosts with the TCP ports on which their services listen.
    pub(super) hosts: Vec<(String, Vec<u16>)>,
}

impl Listed {
    /// Whether it has a host of this name.
    pub(super) fn has(&self, host: &Name) -> bool {
        self.hosts.iter().any(|(name, _)| name == host.as_str())
    }
}

/// Whether any network of this user runs.
pub(super) async fn any_network() -> bool {
    for directory in RuntimeDir::all() {
        if UnixStream::connect(directory.socket()).await.is_ok() {
            return true;
        }
    }
    false
}

/// Every network of this user that runs.
pub(super) async fn networks() -> Vec<Listed> {
    let mut listed = Vec::new();
    for directory in RuntimeDir::all() {
        listed.extend(look(directory).await);
    }
    listed
}

async fn look(directory: RuntimeDir) -> Option<Listed> {
    let network = directory.network().to_string();
    let client = Client::new(directory).ok()?;
    let (hosts, ports) = (client.hosts().await.ok()?, client.ports().await.ok()?);
    let ports_of = |name: &str| -> Vec<u16> {
        let serves = |row: &&minato_inspect::PortRow| {
            row.host.as_deref() == Some(name) && row.listening && row.transport == Transport::Tcp
        };
        let mut numbers: Vec<u16> = ports.iter().filter(serves).map(|row| row.port).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    // A guest's web server has its name in its own network.
    let own = hosts.into_iter().filter(|host| host.home.is_none());
    let hosts = own.map(|host| (host.name.clone(), ports_of(&host.name))).collect();
    Some(Listed { network, hosts })
}
