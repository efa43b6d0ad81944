//! Why a command failed, what to do about it, and the exit code that says so.

use minato_inspect::{Holder, Problem, ProblemKind, Process, Unknown};
use serde::{Deserialize, Serialize};

use crate::render::{age, printable, transport};

/// Exit codes of the command line. `run` and `exec` give the program's own.
pub(crate) mod code {
    /// Something failed that is nobody's fault but ours or the machine's.
    pub(crate) const FAILED: u8 = 1;
    /// Wrong flags.
    pub(crate) const USAGE: u8 = 2;
    /// Nothing is bound there, or no such host runs.
    pub(crate) const NOTHING: u8 = 10;
    /// Wrong address or family.
    pub(crate) const WRONG_ADDRESS: u8 = 11;
    /// No such forward.
    pub(crate) const FORWARD_MISSING: u8 = 12;
    /// A privileged port.
    pub(crate) const PRIVILEGED: u8 = 13;
    /// Ports or addresses are used up.
    pub(crate) const EXHAUSTED: u8 = 14;
    /// This machine can't; `minato doctor` says why.
    pub(crate) const UNSUPPORTED: u8 = 15;
    /// A name, address or port is taken.
    pub(crate) const CONFLICT: u8 = 16;
    /// The program can't be executed, as a shell says it.
    pub(crate) const NOT_EXECUTABLE: u8 = 126;
    /// There is no such program, as a shell says it.
    pub(crate) const NOT_FOUND: u8 = 127;
}

/// A command that failed: one sentence on what, facts on why, and fixes, the most important one last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// What failed, in one sentence.
    pub(crate) title: String,
    /// Who holds what was wanted, evidence, causes: a line each.
    pub(crate) details: Vec<String>,
    /// What to do: a line each, the most important one last.
    pub(crate) fixes: Vec<String>,
}

impl Failure {
    /// A failure with nothing but a sentence.
    pub(crate) fn new(code: u8, title: impl Into<String>) -> Failure {
        Failure { code, title: title.into(), details: Vec::new(), fixes: Vec::new() }
    }

    /// Wrong flags.
    pub(crate) fn usage(title: impl Into<String>) -> Failure {
        Failure::new(code::USAGE, title)
    }

    /// An operation of ours or of the system that failed with an error.
    pub(crate) fn caused(title: impl Into<String>, cause: impl std::fmt::Display) -> Failure {
        Failure::new(code::FAILED, title).detail(cause.to_string())
    }

    /// Adds a fact.
    pub(crate) fn detail(mut self, line: impl Into<String>) -> Failure {
        self.details.push(line.into());
        self
    }

    /// Adds something to do, after (more important than) those that are there.
    pub(crate) fn fix(mut self, line: impl Into<String>) -> Failure {
        self.fixes.push(line.into());
        self
    }

    /// Points to what the engine has written, if that is still there.
    pub(crate) fn fix_with_log(self, log: &std::path::Path) -> Failure {
        if log.exists() { self.fix(format!("tail {}    # the engine's last words", log.display())) } else { self }
    }

    /// Shows the last of what an engine has written that is ending or has ended: its log goes with the network.
    pub(crate) fn last_words(mut self, log: &std::path::Path) -> Failure {
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        self.details.extend(lines[lines.len().saturating_sub(3)..].iter().map(|line| (*line).to_owned()));
        self
    }

    /// What failed and the facts, on one line.
    pub(crate) fn sentence(&self) -> String {
        std::iter::once(&self.title).chain(&self.details).map(String::as_str).collect::<Vec<_>>().join("; ")
    }

    /// The lines as they go to standard error.
    pub(crate) fn lines(&self) -> Vec<String> {
        let title = std::iter::once(format!("minato: {}", self.title));
        let details = self.details.iter().map(|line| format!("  {line}"));
        let fixes = self.fixes.iter().map(|line| format!("  try: {line}"));
        title.chain(details).chain(fixes).collect()
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        let mut failure = Failure::new(exit_code(problem.kind), problem.title);
        failure.details.extend(problem.holder.iter().flat_map(|holder| holder_lines(holder)));
        failure.fixes = problem.fixes;
        let processes = problem.holder.iter().flat_map(|holder| &holder.processes);
        let shown = processes.filter_map(network_of).map(|network| format!("minato --network {network} forward ls"));
        failure.fixes.splice(0..0, shown);
        if problem.kind == ProblemKind::Unsupported {
            failure.fixes.push("minato doctor    # checks what this machine lacks, and says how to change it".into());
        }
        failure
    }
}

fn exit_code(kind: ProblemKind) -> u8 {
    match kind {
        ProblemKind::Internal => code::FAILED,
        ProblemKind::Usage => code::USAGE,
        ProblemKind::NotFound => code::NOTHING,
        ProblemKind::WrongAddress => code::WRONG_ADDRESS,
        ProblemKind::Privileged => code::PRIVILEGED,
        ProblemKind::Exhausted => code::EXHAUSTED,
        ProblemKind::Unsupported => code::UNSUPPORTED,
        ProblemKind::Conflict => code::CONFLICT,
    }
}

/// Who holds a port: a line for each process. A forward of ours is named by the problem's own title.
fn holder_lines(holder: &Holder) -> Vec<String> {
    if holder.host.is_some() {
        return Vec::new();
    }
    let held = |who: String| format!("{}/{} is held by {who}", socket(holder), transport(holder.transport));
    if holder.processes.is_empty() {
        let who = match holder.unknown {
            Some(Unknown::NoPermission) => "a process that you have no permission to see",
            Some(Unknown::Vanished) => "a process that was gone before it could be named",
            None => "the kernel itself, or a socket that no process has open",
        };
        return vec![held(who.into())];
    }
    let who = |process: &Process| match network_of(process) {
        Some(network) => format!("your network {network}, as a forward (its engine has pid {})", process.pid),
        None => describe(process),
    };
    holder.processes.iter().map(|process| held(who(process))).collect()
}

/// The network of this user that a process is the engine of.
fn network_of(process: &Process) -> Option<&str> {
    let mut words = process.command.iter().skip_while(|word| *word != "__engine");
    let is_own = process.uid == rustix::process::geteuid().as_raw();
    let network = words.by_ref().skip_while(|word| *word != "--network").nth(1)?;
    is_own.then_some(network.as_str())
}

fn socket(holder: &Holder) -> String {
    std::net::SocketAddr::new(holder.address, holder.port).to_string()
}

/// A process as an error names it: name, pid, command line, directory and age.
pub(crate) fn describe(process: &Process) -> String {
    let mut text = format!("{} (pid {}", printable(&process.name), process.pid);
    if !process.command.is_empty() {
        text += &format!(", command: {}", printable(&process.command.join(" ")));
    }
    if let Some(cwd) = &process.cwd {
        text += &format!(", in {}", printable(cwd));
    }
    text += &format!(", for {})", age(process.age_seconds));
    text
}

#[cfg(test)]
mod tests;
