//! What programs say: written to bounded files in the network's directory, and read from there by `minato logs`.

mod read;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::flags::Name;
use crate::runtime_dir::RuntimeDir;

pub(crate) use read::show;

/// The directory of the files, in the network's.
pub(super) const DIRECTORY: &str = "logs";
/// A host has two files of at most this size each: one that is written, and the one before.
const MOST: u64 = 1 << 20;
/// Longest line, in bytes; the rest goes to lines of its own.
pub(super) const LONGEST_LINE: usize = 16 * 1024;

/// Who says what no program has said; no host can be called so.
const SUPERVISOR: &str = "(up)";

/// A line, and who has written it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// When, in seconds since 1970 (UTC).
    pub(crate) time: f64,
    /// The host.
    pub(crate) host: String,
    /// The service, where the host has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// The line, without its end.
    pub(crate) text: String,
}

impl Line {
    /// A line of now.
    pub(super) fn now(host: &Name, service: Option<&Name>, text: String) -> Line {
        Line { time: seconds(), host: host.to_string(), service: service.map(Name::to_string), text }
    }

    /// A line of ours.
    pub(super) fn of_supervisor(text: String) -> Line {
        Line { time: seconds(), host: SUPERVISOR.to_owned(), service: None, text }
    }

    /// Who has written it, as it stands before the line.
    pub(super) fn author(&self) -> String {
        author(&self.host, self.service.as_ref())
    }
}

/// The name of a program for people: its host's, or host and service.
pub(super) fn author(host: impl Display, service: Option<impl Display>) -> String {
    service.map_or_else(|| host.to_string(), |service| format!("{host}/{service}"))
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The files that are written.
#[derive(Debug)]
pub(super) struct Logs {
    directory: PathBuf,
    files: BTreeMap<String, LogFile>,
}

#[derive(Debug)]
struct LogFile {
    file: File,
    length: u64,
}

impl Logs {
    /// Begins with none: what an earlier supervisor has left goes.
    pub(super) fn create(directory: &RuntimeDir) -> Result<Logs, Failure> {
        let directory = directory.path().join(DIRECTORY);
        let failed = |error: io::Error| Failure::caused(format!("cannot write to {}", directory.display()), error);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::create_dir(&directory).map_err(failed)?;
        Ok(Logs { directory, files: BTreeMap::new() })
    }

    /// Writes a line. When that fails, as on a full disk, the line is lost for `minato logs` and nothing else.
    pub(super) fn write(&mut self, line: &Line) {
        let _ = self.try_write(line);
    }

    fn try_write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let path = current(&self.directory, &line.host);
        let length = text.len() as u64;
        if self.files.get(&line.host).is_some_and(|log| log.length + length > MOST) {
            self.files.remove(&line.host);
            fs::rename(&path, before(&self.directory, &line.host))?;
        }
        let log = match self.files.get_mut(&line.host) {
            Some(log) => log,
            None => {
                let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
                self.files.entry(line.host.clone()).or_insert(LogFile { file, length: 0 })
            }
        };
        log.length += length;
        log.file.write_all(&text)
    }
}

fn current(directory: &Path, host: &str) -> PathBuf {
    directory.join(format!("{host}.jsonl"))
}

fn before(directory: &Path, host: &str) -> PathBuf {
    directory.join(format!("{host}.before.jsonl"))
}

#[cfg(test)]
mod tests;
