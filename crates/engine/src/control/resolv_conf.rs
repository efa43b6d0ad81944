//! What stands in a host's `/etc/resolv.conf` (resolv.conf(5)), which follows the machine's.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use minato_host::names::{Changes, RESOLV_CONF};

use super::{Control, Phase, blocking, readable};

/// Changes come together, as when a file is written anew and then renamed.
const PAUSE: Duration = Duration::from_millis(50);

impl Control {
    /// Lets what hosts see follow the machine, for as long as the engine runs.
    pub(crate) async fn watch_names(self: Arc<Self>) {
        if let Err(error) = self.follow_names().await {
            tracing::warn!(%error, "can't follow {RESOLV_CONF}: hosts keep what it says when they begin");
        }
    }

    async fn follow_names(self: &Arc<Self>) -> io::Result<()> {
        let changes = readable(Changes::follow()?)?;
        loop {
            // Also at first: the first host's start is kept waiting by nothing.
            tokio::time::sleep(PAUSE).await;
            // In this order: what changes after the drain is told anew, and what appeared before is watched.
            changes.get_ref().drain();
            changes.get_ref().watch();
            let control = Arc::clone(self);
            if blocking(move || control.update_names()).await.is_err() {
                return Ok(());
            }
            changes.readable().await?.clear_ready();
        }
    }

    /// Has every host see what it would see if it began now.
    fn update_names(&self) {
        let hosts: Vec<(String, Vec<String>)> = {
            let state = self.state();
            // One that is being made may have read what stood there before.
            let hosts = state.hosts.iter().filter(|(_, host)| matches!(host.phase, Phase::Creating | Phase::Running));
            hosts.map(|(name, host)| (name.clone(), host.networks.clone())).collect()
        };
        for (name, networks) in hosts {
            let path = self.resolv_conf(&name);
            let updated = rewrite(&path, &self.resolv_conf_text(&networks)).map_err(|error| error.to_string());
            let updated =
                updated.and_then(|()| self.fabric.cover_names(&name, &path).map_err(|error| error.to_string()));
            // It may have ended meanwhile, or not be there yet, and then sees what is there when it is.
            if let Err(error) = updated {
                tracing::debug!(error, host = name, "the machine's way of resolving names is not followed");
            }
        }
    }

    /// Writes a new host's file.
    pub(super) fn write_resolv_conf(&self, path: &Path, joined: &[String]) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, self.resolv_conf_text(joined))
    }

    /// Where a host's file is.
    pub(super) fn resolv_conf(&self, host: &str) -> PathBuf {
        self.host_directory(host).join("resolv.conf")
    }

    /// The gateway answers names.
    fn resolv_conf_text(&self, joined: &[String]) -> String {
        let machine = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        let network = self.network();
        let gateway: Vec<IpAddr> =
            std::iter::once(network.gateway_v4.into()).chain(network.gateway_v6.map(IpAddr::V6)).collect();
        of_host(&self.name, joined, &gateway, &machine)
    }
}

/// Gives a file other text, unless it has it already. It stays the same file, which is mounted elsewhere, and whoever reads it
/// meanwhile reads lines of either text, and empty ones.
fn rewrite(path: &Path, text: &str) -> io::Result<()> {
    let before = fs::read_to_string(path)?;
    if before == text {
        return Ok(());
    }
    let file = File::options().write(true).open(path)?;
    let mut padded = text.to_owned();
    padded.extend(std::iter::repeat_n('\n', before.len().saturating_sub(text.len())));
    file.write_all_at(padded.as_bytes(), 0)?;
    file.set_len(text.len() as u64)
}

/// Names are asked at the gateway, and completed with the domain of the network of that name first, then with those of the
/// networks that the host has joined, and then as the machine completes them. The machine's options hold in its hosts too.
fn of_host(network: &str, joined: &[String], gateway: &[IpAddr], machine: &str) -> String {
    let words = |line: &'_ str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let lines: Vec<Vec<String>> = machine.lines().map(words).collect();
    let keyed = |line: &&Vec<String>, keys: &[&str]| line.first().is_some_and(|key| keys.contains(&key.as_str()));
    // The last of these lines is the one that counts.
    let domains = lines.iter().rfind(|line| keyed(line, &["search", "domain"])).map_or(&[][..], |line| &line[1..]);
    let networks = std::iter::once(network).chain(joined.iter().map(String::as_str));
    let search: Vec<String> =
        networks.map(|network| format!("{network}.internal")).chain(domains.iter().cloned()).collect();
    let mut text: String = gateway.iter().map(|address| format!("nameserver {address}\n")).collect();
    text += &format!("search {}\n", search.join(" "));
    for options in lines.iter().filter(|line| keyed(line, &["options"])) {
        text += &format!("{}\n", options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(machine: &str) -> String {
        let gateway = ["10.77.0.1", "fd77::1"].map(|address| address.parse().unwrap());
        let text = of_host("shop", &[], &gateway, machine);
        let rest = text.strip_prefix("nameserver 10.77.0.1\nnameserver fd77::1\n").expect("the gateway first");
        rest.to_owned()
    }

    #[test]
    fn the_own_domain_comes_first_and_the_machines_follow() {
        assert_eq!(of(""), "search shop.internal\n");
        assert_eq!(of("nameserver 192.0.2.1\ndomain corp.example\n"), "search shop.internal corp.example\n");
        assert_eq!(
            of("search a.example\n# search none\nsearch b.example  c.example\noptions ndots:2 edns0\n"),
            "search shop.internal b.example c.example\noptions ndots:2 edns0\n"
        );
        assert_eq!(of("search\n"), "search shop.internal\n");
    }

    #[test]
    fn a_file_that_is_rewritten_stays_the_same_one() {
        use std::io::Read;
        let path = std::env::temp_dir().join(format!("minato-resolv-conf-{}", std::process::id()));
        fs::write(&path, "nameserver 10.77.0.1\nsearch shop.internal corp.example\n").unwrap();
        let mut open = File::open(&path).unwrap();
        for text in ["search a.test\n", "nameserver 10.77.0.1\nsearch shop.internal\n"] {
            rewrite(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let mut seen = String::new();
        open.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "nameserver 10.77.0.1\nsearch shop.internal\n");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn joined_networks_come_second() {
        let gateway = ["10.77.0.1", "fd77::1"].map(|address| address.parse().unwrap());
        let text = of_host("shop", &["back".into()], &gateway, "domain a.test");
        assert!(text.ends_with("search shop.internal back.internal a.test\n"), "{text}");
    }
}
