//! From the text of one file to a [`Draft`]: which keys there are, and what each may hold.

mod values;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::{Draft, Environment, HostDraft, Ports, ProgramDraft};
use super::ports::{PortKey, PortLine};
use super::problem::{At, Place, Problem};
use crate::flags::Name;

/// The keys of the file.
pub(super) const FILE_KEYS: &[&str] = &["network", "subnet", "policy", "allow", "deny", "environment", "host"];
/// The keys that a host has, and a service does not.
pub(super) const HOST_KEYS: &[&str] = &[
    "service",
    "ports",
    "ready-command",
    "depends-on",
    "ephemeral-range",
    "host-ports",
    "policy",
    "allow",
    "deny",
    "networks",
    "stop-timeout",
];
/// The keys that both have.
pub(super) const PROGRAM_KEYS: &[&str] =
    &["command", "environment", "env-file", "directory", "restart", "map-root", "bind-watch", "direct", "ready"];

/// What other files call some of them.
const SHORT: &[(&str, &str)] =
    &[("env", "environment"), ("cmd", "command"), ("cwd", "directory"), ("workdir", "directory")];

type Table<'a> = DeTable<'a>;
type Value<'a> = Spanned<DeValue<'a>>;
type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

/// Reads a file as far as it can be read, and notes everything that is wrong with it.
pub(super) fn draft(text: &str, file: usize, problems: &mut Vec<Problem>) -> Draft {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let place = Place { file, start: span.start, end: span.end };
        problems.push(Problem::new("this is not TOML", place, error.message()));
    }
    if !errors.is_empty() {
        // What follows from a broken line would only confuse.
        return Draft { hides_network: true, ..Draft::default() };
    }
    Reader { file, problems }.file(table.get_ref())
}

/// Walks through a file.
struct Reader<'p> {
    file: usize,
    problems: &'p mut Vec<Problem>,
}

impl Reader<'_> {
    fn file(&mut self, table: &Table<'_>) -> Draft {
        let mut draft = Draft::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "network" => {
                    draft.network = self.name(value);
                    draft.hides_network = draft.network.is_none();
                }
                "subnet" => draft.subnet = self.subnet(value),
                "policy" => draft.policy.default = self.policy(value),
                "allow" => draft.policy.allow = self.texts(value),
                "deny" => draft.policy.deny = self.texts(value),
                "environment" => draft.environment = self.environment(value),
                "host" => {
                    draft.hosts = self.named(value, "[host.NAME]", Reader::host);
                    self.refuse_reserved(&draft.hosts);
                }
                _ => self.unknown(key, &[FILE_KEYS]),
            }
        }
        draft
    }

    /// Refuses names that mean something else in every network.
    fn refuse_reserved(&mut self, hosts: &[(At<Name>, HostDraft)]) {
        for (name, _) in hosts.iter().filter(|(name, _)| minato_engine::RESERVED_NAMES.contains(&name.value.as_str())) {
            let message = format!("'{}' can't be the name of a host", name.value);
            self.problems.push(Problem::new(message, name.place, "in the network it has a meaning"));
        }
    }

    fn host(&mut self, table: &Table<'_>) -> HostDraft {
        let mut host = HostDraft::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "service" => host.services = self.named(value, "[host.HOST.service.NAME]", Reader::service),
                "ports" => host.ports = self.ports(value),
                "ready-command" => host.ready_command = self.command(value),
                "depends-on" => host.depends_on = self.names(value),
                "ephemeral-range" => host.ephemeral_range = self.ephemeral_range(value),
                "host-ports" => host.host_ports = self.port_numbers(value),
                "policy" => host.policy.default = self.policy(value),
                "allow" => host.policy.allow = self.texts(value),
                "deny" => host.policy.deny = self.texts(value),
                "networks" => host.networks = self.names(value),
                "stop-timeout" => host.stop_timeout = self.stop_timeout(value),
                _ => {
                    if !self.program_key(&mut host.program, key, value) {
                        self.unknown(key, &[PROGRAM_KEYS, HOST_KEYS]);
                    }
                }
            }
        }
        host
    }

    fn service(&mut self, table: &Table<'_>) -> ProgramDraft {
        let mut program = ProgramDraft::default();
        for (key, value) in table {
            if !self.program_key(&mut program, key, value) {
                if HOST_KEYS.contains(&key.get_ref().as_ref()) {
                    let message = format!("'{}' is a matter of the host, not of one service", key.get_ref());
                    self.problem(message, key.span(), "write it below [host.NAME]");
                } else {
                    self.unknown(key, &[PROGRAM_KEYS]);
                }
            }
        }
        program
    }

    /// Reads a key of [`PROGRAM_KEYS`]; `false` if it is none.
    fn program_key(&mut self, program: &mut ProgramDraft, key: &Key<'_>, value: &Value<'_>) -> bool {
        match key.get_ref().as_ref() {
            "command" => program.command = self.command(value),
            "environment" => program.environment = self.environment(value),
            "env-file" => program.env_file = self.text_or_texts(value),
            "directory" => program.directory = self.text(value),
            "restart" => program.restart = self.restart(value),
            "map-root" => program.map_root = self.truth(value),
            "bind-watch" => program.bind_watch = self.truth(value),
            "direct" => program.direct = self.truth(value),
            "ready" => program.ready = self.ready(value),
            _ => return false,
        }
        true
    }

    /// A table of tables with names.
    fn named<T>(
        &mut self,
        value: &Value<'_>,
        shape: &str,
        read: impl Fn(&mut Self, &Table<'_>) -> T,
    ) -> Vec<(At<Name>, T)> {
        let Some(table) = self.table(value, &format!("tables {shape}")) else { return Vec::new() };
        let mut all = Vec::new();
        for (key, value) in table {
            let name = self.name_of(key.get_ref(), key.span());
            if let (Some(name), Some(table)) = (name, self.table(value, &format!("a table {shape}"))) {
                all.push((name, read(self, table)));
            }
        }
        all
    }

    fn environment(&mut self, value: &Value<'_>) -> Environment {
        let Some(table) = self.table(value, "a table such as { NAME = \"value\" }") else { return Vec::new() };
        let mut variables = Vec::new();
        for (key, value) in table {
            if let Err(why) = super::environment::check_name(key.get_ref()) {
                self.problem(why, key.span(), "this one");
            }
            let text = match value.get_ref() {
                DeValue::String(text) => text.clone().into_owned(),
                DeValue::Integer(number) => values::decimal(number),
                DeValue::Float(number) => number.as_str().to_owned(),
                DeValue::Boolean(truth) => truth.to_string(),
                _ => {
                    self.expected(value, "a string, a number, true or false");
                    continue;
                }
            };
            if text.contains('\0') {
                self.problem("a variable can't hold a NUL", value.span(), "this one does");
            }
            variables.push((self.at(key.get_ref().clone().into_owned(), key.span()), text));
        }
        variables
    }

    fn ports(&mut self, value: &Value<'_>) -> Ports {
        let Some(table) = self.table(value, "a table such as { 80 = 8080 }") else { return Vec::new() };
        let mut ports = Ports::new();
        for (key, value) in table {
            let parsed = match PortKey::parse(key.get_ref()) {
                Ok(parsed) => parsed,
                Err(why) => {
                    let message = format!("'{}' names no port of a service", key.get_ref());
                    self.problem(message, key.span(), &why);
                    continue;
                }
            };
            if let Some((first, _)) = ports.iter().find(|(other, _)| other.value == parsed) {
                let message = format!("port {} stands here twice", parsed.shown());
                let again = self.place(key.span());
                self.problems.push(Problem::new(message, again, "again").and(first.place, "first here"));
            }
            if let Some(lines) = self.port_lines(value, parsed) {
                ports.push((self.at(parsed, key.span()), self.at(lines, value.span())));
            }
        }
        ports
    }

    /// What stands right of a service's port; `Some(None)` for `false`, which takes a file's forward away again.
    fn port_lines(&mut self, value: &Value<'_>, key: PortKey) -> Option<Option<Vec<PortLine>>> {
        match value.get_ref() {
            DeValue::Boolean(false) => Some(None),
            DeValue::Array(list) => {
                let lines: Vec<_> = list.iter().map(|one| self.port_line(one, key)).collect();
                lines.into_iter().collect::<Option<Vec<_>>>().map(Some)
            }
            _ => self.port_line(value, key).map(|line| Some(vec![line])),
        }
    }

    fn port_line(&mut self, value: &Value<'_>, key: PortKey) -> Option<PortLine> {
        let text = match value.get_ref() {
            DeValue::Integer(number) => values::decimal(number),
            DeValue::String(text) => text.clone().into_owned(),
            _ => {
                self.expected(value, "a port such as 8080, \"127.0.0.2:8080\", \"8000-8010\" or \"auto\", or false");
                return None;
            }
        };
        match PortLine::parse(&text, key) {
            Ok(line) => Some(line),
            Err(why) => {
                let message = format!("'{text}' can't lead to port {}", key.shown());
                self.problem(message, value.span(), &why);
                None
            }
        }
    }

    /// A key that means nothing, with the one that was meant.
    fn unknown(&mut self, key: &Key<'_>, known: &[&[&str]]) {
        let word = key.get_ref();
        // Whatever stands below the heading of a table belongs to the table.
        if FILE_KEYS.contains(&word.as_ref()) {
            let message = format!("'{word}' is a matter of the whole file");
            return self.problem(message, key.span(), "write it above the first [table]");
        }
        let close = known.iter().flat_map(|keys| keys.iter().copied());
        // What an abbreviation means is nearer than what it looks like.
        let likeness =
            |other| if SHORT.contains(&(word.as_ref(), other)) { 1.0 } else { strsim::jaro_winkler(word, other) };
        let close = close.map(|other| (likeness(other), other));
        let best = close.max_by(|one, other| one.0.total_cmp(&other.0)).filter(|(likeness, _)| *likeness > 0.7);
        let place = self.place(key.span());
        let problem = Problem::new(
            format!("unknown key '{word}'"),
            place,
            match best {
                Some((_, other)) => format!("did you mean '{other}'?"),
                None => "nothing reads this".to_owned(),
            },
        );
        let all: Vec<&str> = known.iter().flat_map(|keys| keys.iter().copied()).collect();
        self.problems.push(if best.is_some() {
            problem
        } else {
            problem.help(format!("known here: {}", all.join(", ")))
        });
    }

    fn expected(&mut self, value: &Value<'_>, what: &str) {
        let found = value.get_ref().type_str();
        self.problem(format!("expected {what}"), value.span(), &format!("this is of type {found}"));
    }

    fn problem(&mut self, message: impl Into<String>, span: std::ops::Range<usize>, label: &str) {
        let place = self.place(span);
        self.problems.push(Problem::new(message, place, label));
    }

    fn at<T>(&self, value: T, span: std::ops::Range<usize>) -> At<T> {
        At { value, place: self.place(span) }
    }

    fn place(&self, span: std::ops::Range<usize>) -> Place {
        Place { file: self.file, start: span.start, end: span.end }
    }
}
