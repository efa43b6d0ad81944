//! What programs say: written to bounded files in the network's directory, and read from there by `minato logs`.

mod kept;
mod read;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::flags::Name;
use crate::runtime_dir::RuntimeDir;

pub(super) use kept::forget;
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
    /// That lines are missing here, which the text says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gap: Option<Gap>,
}

/// Why lines are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Gap {
    /// There were more than are kept.
    Older,
    /// They could not be written.
    Lost,
}

impl Line {
    /// A line of now.
    pub(super) fn now(host: &Name, service: Option<&Name>, text: String) -> Line {
        Line { time: seconds(), host: host.to_string(), service: service.map(Name::to_string), text, gap: None }
    }

    /// A line of ours.
    pub(super) fn of_supervisor(text: String) -> Line {
        Line { time: seconds(), host: SUPERVISOR.to_owned(), service: None, text, gap: None }
    }

    /// What stands in place of this line, or before it, where lines of its host are missing.
    fn gap(&self, gap: Gap, why: &str) -> Line {
        Line { time: self.time, host: self.host.clone(), service: None, text: format!("[{why}]"), gap: Some(gap) }
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
    /// Hosts whose last lines could not be written.
    lost: BTreeMap<String, Lost>,
}

/// Why lines are lost, and whether the file says so.
#[derive(Debug)]
struct Lost {
    why: String,
    noted: bool,
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
        Ok(Logs { directory, files: BTreeMap::new(), lost: BTreeMap::new() })
    }

    /// Writes a line. When that fails, as on a full disk, the line is lost for `minato logs` and nothing else, and the file
    /// says that lines are missing.
    pub(super) fn write(&mut self, line: &Line) {
        if let Some(Lost { why, noted: false }) = self.lost.get(&line.host) {
            let why = why.clone();
            return self.lose(line, why);
        }
        match self.try_write(line) {
            Ok(()) => drop(self.lost.remove(&line.host)),
            Err(error) if !self.lost.contains_key(&line.host) => self.lose(line, error.to_string()),
            Err(_) => {}
        }
    }

    /// A line is lost: notes that, once.
    fn lose(&mut self, line: &Line, why: String) {
        let gap = line.gap(Gap::Lost, &format!("lines are missing here: {why}"));
        let noted = self.try_write(&gap).or_else(|_| self.write_over_last(&gap)).is_ok();
        self.lost.insert(line.host.clone(), Lost { why, noted });
    }

    fn try_write(&mut self, line: &Line) -> io::Result<()> {
        let text = encoded(line)?;
        self.log(line, text.len() as u64)?.write(&text)
    }

    /// Writes a line in place of the last ones, whose room it gets where there is no other.
    fn write_over_last(&mut self, line: &Line) -> io::Result<()> {
        let text = encoded(line)?;
        let Some(log) = self.files.get_mut(&line.host) else { return Err(io::ErrorKind::NotFound.into()) };
        log.cut(text.len() as u64)?;
        log.write(&text)
    }

    /// The file for a line of so many bytes: a new one, where the one before would have too many.
    fn log(&mut self, line: &Line, length: u64) -> io::Result<&mut LogFile> {
        let host = &line.host;
        let (path, older) = (current(&self.directory, host), before(&self.directory, host));
        let is_full = self.files.get(host).is_some_and(|log| log.length + length > MOST);
        if is_full {
            self.files.remove(host);
            fs::rename(&path, &older)?;
        }
        if !self.files.contains_key(host) {
            let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&path)?;
            let length = file.metadata()?.len();
            let mut log = LogFile { file, length };
            if length == 0 && older.exists() {
                // It is true, and shown, when this file is the older one.
                log.write(&encoded(&line.gap(Gap::Older, "older lines are gone"))?)?;
            }
            self.files.insert(host.clone(), log);
        }
        self.files.get_mut(host).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl LogFile {
    /// Takes away the last lines that have together at least so many bytes, or all.
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        // Written, each of its bytes may take six.
        let room = bytes + 8 * LONGEST_LINE as u64;
        let from = self.length.saturating_sub(room);
        let mut tail = vec![0; usize::try_from(self.length - from).unwrap_or(0)];
        self.file.read_exact_at(&mut tail, from)?;
        let kept = tail.len().saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
        let end = tail[..kept].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.length = from + end as u64;
        self.file.set_len(self.length)
    }

    /// Writes a whole line or nothing.
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(text) {
            // What could not be taken back is no line, and ends with the next one's end.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }
}

fn encoded(line: &Line) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

fn current(directory: &Path, host: &str) -> PathBuf {
    directory.join(format!("{host}.jsonl"))
}

fn before(directory: &Path, host: &str) -> PathBuf {
    directory.join(format!("{host}.before.jsonl"))
}

#[cfg(test)]
mod tests;
