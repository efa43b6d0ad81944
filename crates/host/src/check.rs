//! What minato needs from the machine, each with state, evidence and fix.

mod explain;
mod kernel;
mod limits;
mod namespaces;
mod tun;

use std::{fs, time::Instant};

use crate::agent::{Fabric, FabricConfig, HostConfig};

pub use self::explain::explain;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckState {
    /// As wanted.
    Ok,
    /// minato works, with a limit that `evidence` names.
    Warn,
    /// minato can't work.
    Fail,
}

/// One thing that minato needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Short name, such as `user namespaces`.
    pub name: &'static str,
    /// How it came out.
    pub state: CheckState,
    /// What was seen, such as `kernel.apparmor_restrict_unprivileged_userns = 1`.
    pub evidence: String,
    /// What to do, as a command where possible; `None` when all is well.
    pub fix: Option<String>,
}

/// Looks at everything, in the order of importance. Changes nothing that outlives the call.
pub fn all() -> Vec<Check> {
    vec![
        kernel::version(),
        namespaces::check(),
        tun::check(),
        kernel::sysctls(),
        kernel::socket_table(),
        kernel::ipv6(),
        limits::open_files(),
        limits::ping(),
        limits::low_ports(),
    ]
}

/// Makes a network with one host and removes it: what no look at switches can replace.
pub fn trial(config: &FabricConfig, host: &HostConfig) -> Check {
    const NAME: &str = "network with one host";
    let start = Instant::now();
    let fabric = match Fabric::create(config) {
        Ok((fabric, _tap)) => fabric,
        Err(error) => return explain(&error),
    };
    match fabric.add_host(host) {
        Ok(_) => {
            let made = start.elapsed();
            drop(fabric);
            Check::ok(NAME, format!("made in {:.1} ms", made.as_secs_f64() * 1e3))
        }
        Err(crate::agent::RequestError::Failed(error)) => explain(&error),
        Err(error) => Check::fail(NAME, error.to_string(), None),
    }
}

impl Check {
    fn ok(name: &'static str, evidence: impl Into<String>) -> Self {
        Self { name, state: CheckState::Ok, evidence: evidence.into(), fix: None }
    }

    fn warn(name: &'static str, evidence: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: CheckState::Warn, evidence: evidence.into(), fix: Some(fix.into()) }
    }

    fn fail(name: &'static str, evidence: impl Into<String>, fix: Option<String>) -> Self {
        Self { name, state: CheckState::Fail, evidence: evidence.into(), fix }
    }
}

/// The value of a sysctl, by its path below `/proc/sys`; `None` if there is no such thing.
fn sysctl(path: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok().map(|value| value.trim().replace('\t', " "))
}

#[cfg(test)]
mod tests;
