//! `minato logs`: what hosts have said, and what they say.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DIRECTORY, Gap, Line, before, current, kept};
use crate::commands::DONE;
use crate::failure::{Failure, code};
use crate::flags::Name;
use crate::render::age;
use crate::runtime_dir::RuntimeDir;
use crate::terminal::Terminal;
use crate::up::presence;
use crate::up::screen::Screen;

/// Between two looks at the files.
const PAUSE: Duration = Duration::from_millis(100);

/// Prints the lines of these hosts (none: of all), and with `follow` those that come until the network is down.
pub(crate) async fn show(
    directory: &RuntimeDir,
    hosts: &[Name],
    follow: bool,
    terminal: &Terminal,
) -> Result<u8, Failure> {
    directory.check()?;
    let logs = place(directory, terminal)?;
    let mut screen = Screen::new(terminal);
    let knows = |host: &str| presence::knows(directory, host) && (is_of(directory, &logs) || has(&logs, host));
    let stranger = hosts.iter().find(|host| !knows(host.as_str()));
    let only = hosts.iter().map(Name::to_string).collect();
    let mut reader = Reader { directory: logs.clone(), only, files: Vec::new() };
    if let Some(stranger) = stranger {
        return Err(Failure::new(
            code::NOTHING,
            format!("no host '{stranger}' is in network '{}'", directory.network()),
        ));
    }
    loop {
        // Asked before: what is written until it ends is read.
        let goes_on = follow && presence::is_up(directory);
        let lines = reader.new_lines();
        screen.expect(&lines.iter().map(Line::author).collect::<Vec<_>>());
        for line in lines {
            screen.line(&line);
        }
        if screen.is_broken() {
            return Ok(code::FAILED);
        }
        if screen.is_closed() {
            return Ok(DONE);
        }
        if !goes_on {
            return Ok(DONE);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Where the files of a network are: in its directory while it is up, and for one that has ended by itself where its last ones
/// are kept, which is told.
fn place(directory: &RuntimeDir, terminal: &Terminal) -> Result<PathBuf, Failure> {
    let logs = directory.path().join(DIRECTORY);
    if logs.is_dir() {
        return Ok(logs);
    }
    let not_up = format!("network '{}' is not up", directory.network());
    match kept::of(directory.network()) {
        Some((kept, ago)) => {
            let ago = age(ago.as_secs_f64());
            terminal.warn(&format!(
                "{not_up}; this was said until it ended {ago} ago, and is kept until the next up or down"
            ));
            Ok(kept)
        }
        None => Err(Failure::new(code::NOTHING, not_up).fix("minato up    # its logs last as long as it does")),
    }
}

/// Whether a directory with logs is that of a network that is there.
fn is_of(directory: &RuntimeDir, logs: &Path) -> bool {
    logs.starts_with(directory.path())
}

/// Whether a host has said something.
fn has(logs: &Path, host: &str) -> bool {
    [before(logs, host), current(logs, host)].iter().any(|path| path.exists())
}

/// Reads files to their ends, again and again.
pub(super) struct Reader {
    pub(super) directory: PathBuf,
    /// Only these hosts; empty: all.
    pub(super) only: Vec<String>,
    pub(super) files: Vec<Open>,
}

/// A file that is being read.
pub(super) struct Open {
    host: String,
    file: File,
    inode: u64,
    /// What follows the last whole line.
    rest: Vec<u8>,
    /// Whether a gap that its first line tells of is none.
    skips_gap: bool,
}

impl Reader {
    /// What was written since the last time, by time.
    pub(super) fn new_lines(&mut self) -> Vec<Line> {
        self.open_new();
        let mut lines: Vec<Line> = self.files.iter_mut().flat_map(Open::new_lines).collect();
        // Lines of one host keep their order: this is stable, and their times ascend.
        lines.sort_by(|one, other| one.time.total_cmp(&other.time));
        self.files.retain(|open| open.is_there(&self.directory));
        lines
    }

    /// Opens what is not open, the older file of a host first.
    fn open_new(&mut self) {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let host = |name: String| {
            let host = name.strip_suffix(".jsonl")?;
            Some(host.strip_suffix(".before").unwrap_or(host).to_owned())
        };
        let hosts: BTreeSet<String> = names.filter_map(host).collect();
        for host in hosts.into_iter().filter(|host| self.only.is_empty() || self.only.contains(host)) {
            // What is gone was before the older file; the newer one only follows it.
            let files = [(before(&self.directory, &host), false), (current(&self.directory, &host), true)];
            for (path, skips_gap) in files {
                let Ok(file) = File::open(path) else { continue };
                let Ok(inode) = file.metadata().map(|metadata| metadata.ino()) else { continue };
                if !self.files.iter().any(|open| open.inode == inode) {
                    self.files.push(Open { host: host.clone(), file, inode, rest: Vec::new(), skips_gap });
                }
            }
        }
    }
}

impl Open {
    fn new_lines(&mut self) -> Vec<Line> {
        match self.file.read_to_end(&mut self.rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Vec::new(),
        }
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole: Vec<u8> = self.rest.drain(..whole).collect();
        let lines = whole.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let mut lines: Vec<Line> = lines.collect();
        if !lines.is_empty() && std::mem::take(&mut self.skips_gap) && lines[0].gap == Some(Gap::Older) {
            lines.remove(0);
        }
        lines
    }

    /// Whether the file still has a name: one that has none is not written any more.
    fn is_there(&self, directory: &Path) -> bool {
        let is_it = |path: PathBuf| std::fs::metadata(path).is_ok_and(|metadata| metadata.ino() == self.inode);
        is_it(current(directory, &self.host)) || is_it(before(directory, &self.host))
    }
}
