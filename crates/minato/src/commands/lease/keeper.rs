//! `minato __lease`: holds ports until servers have taken all of them, or time is up.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime};

use minato_host::sockets::{HoldError, LeasedPort, listening_ports};

use super::Word;
use super::book::Entry;
use crate::background;
use crate::commands::DONE;
use crate::failure::Failure;
use crate::flags::Lease;
use crate::program;

/// Between two looks at who listens.
const PAUSE: Duration = Duration::from_millis(100);

/// Holds these ports, and others up to the lease's count; says so in one line, and goes to the background.
pub(crate) fn keep(lease: &Lease, known: &[u16]) -> Result<u8, Failure> {
    program::rename("minato-lease");
    let held = match hold(lease.count, known) {
        Ok(held) => held,
        Err(error) => {
            let word = match error {
                HoldError::InUse(address) if address.port() != 0 => Word::Taken(address.port()),
                error => Word::Failed(error.to_string()),
            };
            return background::say(&word).map(|()| DONE).map_err(unheard);
        }
    };
    let ports: Vec<u16> = held.iter().map(LeasedPort::port).collect();
    // The starter has the key's entry locked; this is the other lock.
    let keeper = lease.key.as_deref().map(|key| Entry::keeper_of(key, &ports)).transpose()?;
    background::say(&Word::Held(ports.clone())).map_err(unheard)?;
    let _entry = wait(lease, &ports);
    drop((held, keeper));
    Ok(DONE)
}

fn unheard(error: std::io::Error) -> Failure {
    Failure::caused("nobody waits for the ports", error)
}

/// All of them or none.
fn hold(count: u16, known: &[u16]) -> Result<Vec<LeasedPort>, HoldError> {
    let mut held = known.iter().map(|port| LeasedPort::of(*port)).collect::<Result<Vec<_>, _>>()?;
    while held.len() < usize::from(count) {
        held.push(LeasedPort::any()?);
    }
    Ok(held)
}

/// Returns when every port was taken, or nobody has come in time; with the key's entry locked, so that nobody can be told
/// that the ports are held while they are given up.
fn wait(lease: &Lease, ports: &[u16]) -> Option<Entry> {
    let mut waiting: HashSet<u16> = ports.iter().copied().collect();
    let mut deadline = Instant::now() + lease.within;
    let mut known = None;
    loop {
        std::thread::sleep(PAUSE);
        retain_waiting(&mut waiting);
        if !waiting.is_empty() && Instant::now() < deadline {
            continue;
        }
        // Without its book nobody can be told anything.
        let entry = Entry::open(lease.key.as_deref()?).ok()?;
        let written = entry.written();
        let since = written.and_then(|written| SystemTime::now().duration_since(written).ok()).unwrap_or_default();
        if written == known || since >= lease.within {
            return Some(entry);
        }
        // It was asked for since the last time: what has no server now waits again.
        known = written;
        deadline = Instant::now() + (lease.within - since);
        waiting = ports.iter().copied().collect();
    }
}

fn retain_waiting(waiting: &mut HashSet<u16>) {
    if let Ok(listening) = listening_ports() {
        waiting.retain(|port| !listening.contains(port));
    }
}
