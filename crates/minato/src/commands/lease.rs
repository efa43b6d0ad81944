//! `minato lease`: free ports without a race. docs/adr/0007 says what is promised and what is not.
//!
//! A process of its own (`minato __lease`) holds the ports after the command has printed them, until a server listens on
//! each of them or time is up. For a KEY the ports are written down, so that the same KEY gets the same ones.

mod book;
mod keeper;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use minato_inspect::Transport;
use serde::{Deserialize, Serialize};

use super::DONE;
use crate::failure::{Failure, code, describe};
use crate::flags::Lease;
use crate::machine;
use crate::terminal::Terminal;
use book::Entry;
pub(super) use keeper::keep;

/// What the keeper says when it holds the ports, or can't.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Held(Vec<u16>),
    Taken(u16),
    Failed(String),
}

/// Holds ports and prints them.
pub(super) fn lease(lease: &Lease, terminal: &Terminal) -> Result<u8, Failure> {
    let (ports, keeper, written) = match &lease.key {
        None => {
            let (ports, keeper) = start_keeper(lease, &[])?;
            (ports, Some(keeper), None)
        }
        Some(key) => {
            let entry = Entry::open(key)?;
            let all = entry.ports()?;
            let count = usize::from(lease.count);
            let known = &all[..all.len().min(count)];
            let (ports, keeper) = match entry.kept()? {
                // Its keeper can't end while we have the entry locked, and lives on for another while from now on.
                Some(kept) if known.len() == count && known.iter().all(|port| kept.contains(port)) => {
                    refuse_taken(known)?;
                    (known.to_vec(), None)
                }
                Some(kept) => return Err(still_kept(key, &kept)),
                None => start_keeper(lease, known).map(|(ports, keeper)| (ports, Some(keeper)))?,
            };
            let rest = all.iter().skip(ports.len());
            entry.write(&ports.iter().chain(rest).copied().collect::<Vec<_>>())?;
            (ports, keeper, entry.written())
        }
    };
    let text = terminal.viewed("lease", &ports, |_| numbers(&ports));
    terminal.print_or(&text, || keeper.into_iter().for_each(|keeper| release(keeper, lease, written)));
    Ok(DONE)
}

/// Gives ports back that nobody was told of: neither by this command, nor by another one that has written its key's entry
/// since this one has.
fn release(mut keeper: Child, lease: &Lease, written: Option<SystemTime>) {
    // Locked until the keeper has ended, so that nobody is told of it meanwhile.
    let entry = lease.key.as_deref().map(Entry::open);
    let is_ours = |entry: &Result<Entry, _>| entry.as_ref().is_ok_and(|entry| entry.written() == written);
    if entry.as_ref().is_none_or(is_ours) {
        // It may have ended by itself.
        let _ = keeper.kill().and_then(|()| keeper.wait());
    }
}

/// A line each, for scripts.
fn numbers(ports: &[u16]) -> String {
    ports.iter().map(|port| format!("{port}\n")).collect()
}

/// Starts the process that holds these ports, and more where the lease is for more.
fn start_keeper(lease: &Lease, known: &[u16]) -> Result<(Vec<u16>, Child), Failure> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["__lease", &lease.count.to_string(), "--within", &lease.within.as_secs().to_string()]);
    if let Some(key) = &lease.key {
        command.args(["--for", key]);
    }
    command.args(known.iter().flat_map(|port| ["--port".to_owned(), port.to_string()]));
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let failed = |error| Failure::caused("cannot start the process that holds the ports", error);
    let mut keeper = command.spawn().map_err(failed)?;
    let mut line = String::new();
    if let Some(output) = keeper.stdout.take() {
        BufReader::new(output).read_line(&mut line).map_err(failed)?;
    }
    match serde_json::from_str(&line) {
        Ok(Word::Held(ports)) => Ok((ports, keeper)),
        Ok(Word::Taken(port)) => Err(taken(port)),
        Ok(Word::Failed(why)) => Err(Failure::new(code::EXHAUSTED, "the ports cannot be held").detail(why)),
        Err(_) => Err(Failure::new(code::FAILED, "the process that holds the ports has failed")),
    }
}

/// A port of a key that somebody listens on is no free port.
fn refuse_taken(ports: &[u16]) -> Result<(), Failure> {
    let listening = minato_host::sockets::listening_ports();
    let listening = listening.map_err(|error| Failure::caused("cannot read the kernel's socket table", error))?;
    ports.iter().find(|port| listening.contains(port)).map_or(Ok(()), |port| Err(taken(*port)))
}

/// A key has one keeper at a time, which holds what it was asked for at first.
fn still_kept(key: &str, kept: &[u16]) -> Failure {
    let ports = kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Failure::new(code::CONFLICT, format!("the lease '{key}' is still held, for other ports than these: {ports}"))
        .fix("ask again when its servers have come or its time is up, or use another key")
}

fn taken(port: u16) -> Failure {
    let mut failure = Failure::new(code::CONFLICT, format!("port {port}, which this key had before, is in use"));
    let rows = machine::ports().unwrap_or_default();
    for row in rows.iter().filter(|row| (row.port, row.transport) == (port, Transport::Tcp)) {
        failure.details.extend(row.processes.iter().map(|process| format!("it is held by {}", describe(process))));
    }
    failure.fix("end that program, or lease ports for another key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::widths::whole;

    #[test]
    fn a_number_a_line() {
        insta::assert_snapshot!(whole(|_| numbers(&[49152, 80, 65535])), @r"
        49152
        80
        65535
        ");
    }
}
