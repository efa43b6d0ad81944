//! The machine's resolvers, from its `/etc/resolv.conf`, which is read again when it changes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The port that resolvers answer at.
const PORT: u16 = 53;
/// How often at most the file is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// What tells one version of the file from another.
type Version = Option<(u64, u64, i64, i64, u64)>;

/// The resolvers, as of the last look at the file.
#[derive(Debug)]
pub(super) struct Servers {
    path: PathBuf,
    version: Version,
    looked: Instant,
    servers: Vec<SocketAddr>,
}

impl Servers {
    /// Those of the machine.
    pub(super) fn system(now: Instant) -> Servers {
        Servers::of(PathBuf::from("/etc/resolv.conf"), now)
    }

    fn of(path: PathBuf, now: Instant) -> Servers {
        let mut servers = Servers { path, version: None, looked: now, servers: Vec::new() };
        servers.read();
        servers
    }

    /// The resolvers in the order in which they are to be asked.
    pub(super) fn current(&mut self, now: Instant) -> &[SocketAddr] {
        if now.saturating_duration_since(self.looked) >= PAUSE {
            self.looked = now;
            if self.version() != self.version {
                self.read();
            }
        }
        &self.servers
    }

    fn read(&mut self) {
        self.version = self.version();
        self.servers = parse(&fs::read_to_string(&self.path).unwrap_or_default());
    }

    fn version(&self) -> Version {
        let metadata = fs::metadata(&self.path).ok()?;
        Some((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.size()))
    }
}

/// The `nameserver` lines; without any the local resolver, as resolv.conf(5) says.
fn parse(text: &str) -> Vec<SocketAddr> {
    let servers: Vec<SocketAddr> = text.lines().filter_map(nameserver).collect();
    if servers.is_empty() { vec![(Ipv4Addr::LOCALHOST, PORT).into()] } else { servers }
}

fn nameserver(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_ascii_whitespace();
    let address = (words.next() == Some("nameserver")).then(|| words.next()).flatten()?;
    if let Some((address, interface)) = address.split_once('%') {
        let address: Ipv6Addr = address.parse().ok()?;
        return Some(SocketAddrV6::new(address, PORT, 0, scope(interface)?).into());
    }
    Some((address.parse::<IpAddr>().ok()?, PORT).into())
}

/// The index of an interface that is given by name or index (RFC 4007 §11).
fn scope(interface: &str) -> Option<u32> {
    let index = || fs::read_to_string(format!("/sys/class/net/{interface}/ifindex")).ok();
    interface.parse().ok().or_else(|| index()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_resolv_conf_may_hold() {
        let text = "# comment\nsearch port.test\nnameserver 192.0.2.53\n  nameserver\t2001:db8::53 ; second\n\
                    nameserver fe80::53%7\nnameserver nonsense\nnameserver\noptions timeout:1\n";
        let expected: Vec<SocketAddr> =
            ["192.0.2.53:53", "[2001:db8::53]:53", "[fe80::53%7]:53"].map(|text| text.parse().unwrap()).into();
        assert_eq!(parse(text), expected);
        assert_eq!(parse("search port.test\n"), ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let path = std::env::temp_dir().join(format!("minato-resolv-{}", std::process::id()));
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        let now = Instant::now();
        let mut servers = Servers::of(path.clone(), now);
        let first: SocketAddr = "192.0.2.1:53".parse().unwrap();
        assert_eq!(servers.current(now), [first]);

        // As editors and network managers do it: a new file in the place of the old one.
        let new = path.with_extension("new");
        fs::write(&new, "nameserver 192.0.2.2\n").unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(servers.current(now), [first], "looked at not more often than every 100 ms");
        let second: SocketAddr = "192.0.2.2:53".parse().unwrap();
        assert_eq!(servers.current(now + PAUSE), [second]);
        fs::remove_file(path).unwrap();
    }
}
