//! The kernel's counts of the sockets of a network namespace, `/proc/net/sockstat` and `sockstat6`: read in microseconds,
//! where a dump walks the whole machine's tables. They tell *that* sockets have come or gone, not which.

use std::{fs::File, os::fd::OwnedFd};

use rustix::io::pread;

const FILES: [&str; 2] = ["sockstat", "sockstat6"];

/// Bound or connected sockets in a namespace, TCP and UDP of both families. Equal counts at two times mean that nothing
/// has begun, unless as much has ended meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InUse([u32; 4]);

impl InUse {
    /// Whether there is no such socket at all.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The two files, opened in the namespace. They keep it alive.
#[derive(Debug)]
pub(super) struct Counters(Vec<OwnedFd>);

impl Counters {
    pub(super) fn new(files: Vec<OwnedFd>) -> Option<Self> {
        (!files.is_empty()).then_some(Self(files))
    }

    pub(super) fn read(&self) -> Option<InUse> {
        let mut counts = InUse::default();
        let mut next = counts.0.iter_mut();
        let mut buffer = [0; 1024];
        for file in &self.0 {
            // From the start each time: the kernel writes the text anew.
            let length = rustix::io::retry_on_intr(|| pread(file, &mut buffer, 0)).ok()?;
            let text = std::str::from_utf8(&buffer[..length]).ok()?;
            for transport in ["TCP", "UDP"] {
                *next.next()? = count(text, transport)?;
            }
        }
        Some(counts)
    }
}

/// Opens the files; the second one is missing in a kernel without IPv6.
pub(super) fn open() -> Vec<OwnedFd> {
    FILES.iter().map_while(|name| Some(File::open(format!("/proc/thread-self/net/{name}")).ok()?.into())).collect()
}

/// The count in the line of `transport`: `TCP: inuse 1 …` or `TCP6: inuse 1`.
fn count(text: &str, transport: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(transport)?;
        rest.strip_prefix(": inuse ").or_else(|| rest.strip_prefix("6: inuse "))?.split(' ').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_files() {
        let v4 = "sockets: used 23\nTCP: inuse 17 orphan 0 tw 3 alloc 1 mem 71\nUDP: inuse 4 mem 0\nUDPLITE: inuse 9\n";
        assert_eq!((count(v4, "TCP"), count(v4, "UDP")), (Some(17), Some(4)));
        let v6 = "TCP6: inuse 5\nUDP6: inuse 6\nUDPLITE6: inuse 9\n";
        assert_eq!((count(v6, "TCP"), count(v6, "UDP")), (Some(5), Some(6)));
        assert_eq!(count("nonsense", "TCP"), None);
    }

    #[test]
    fn a_socket_that_listens_is_counted() {
        let counters = Counters::new(open()).expect("/proc/net/sockstat");
        // Other programs of this machine come and go too; not for ever.
        let seen = (0..100).any(|_| {
            let before = counters.read().unwrap().0[0];
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let during = counters.read().unwrap().0[0];
            drop(socket);
            during == before + 1 && counters.read().unwrap().0[0] == before
        });
        assert!(seen);
    }
}
