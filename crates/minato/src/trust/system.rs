//! The certificates that this machine's programs trust: curl, Python and others, for every user. Only root changes them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use minato_host::check::CheckState::{self, Fail, Ok as Fine, Warn};

use super::{Certificate, Outcome};

/// Where Debian's `update-ca-certificates` takes certificates from that an administrator adds.
const DIRECTORY: &str = "/usr/local/share/ca-certificates";
const UPDATE: &str = "/usr/sbin/update-ca-certificates";

/// Adds a certificate if that may be done.
pub(super) fn add(certificate: &Certificate<'_>) -> Outcome {
    let (place, source) = (place(), certificate.path.display());
    if fs::read(&place).is_ok_and(|there| certificate.authority.is_in(&there)) {
        return outcome(Fine, "trusts it already", &place, None);
    }
    if !Path::new(UPDATE).exists() {
        let how = format!("add {source} in the way of this system");
        return outcome(Warn, "does not trust it: there is no update-ca-certificates", &place, Some(how));
    }
    let command = format!("install -D -m 644 '{source}' '{}' && {UPDATE}", place.display());
    if !is_root() {
        return outcome(Warn, "does not trust it: only root may change that", &place, Some(as_root(&command)));
    }
    let added = fs::create_dir_all(DIRECTORY).and_then(|()| fs::copy(certificate.path, &place)).and_then(|_| update());
    match added {
        Ok(()) => outcome(Fine, "trusts it now", &place, None),
        Err(error) => outcome(Warn, &format!("does not trust it: {error}"), &place, Some(command)),
    }
}

/// Removes what was added, by whomever.
pub(super) fn remove() -> Outcome {
    let place = place();
    if fs::symlink_metadata(&place).is_err() {
        return outcome(Fine, "does not trust it", &place, None);
    }
    let command = format!("rm '{}' && {UPDATE}", place.display());
    if !is_root() {
        return outcome(Warn, "still trusts it: only root may change that", &place, Some(as_root(&command)));
    }
    match fs::remove_file(&place).and_then(|()| update()) {
        Ok(()) => outcome(Fine, "trusts it no more", &place, None),
        Err(error) => outcome(Fail, &format!("still trusts it: {error}"), &place, Some(command)),
    }
}

fn place() -> PathBuf {
    Path::new(DIRECTORY).join(format!("minato-{}.crt", rustix::process::geteuid().as_raw()))
}

fn update() -> io::Result<()> {
    let mut command = Command::new(UPDATE);
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if done.success() { Ok(()) } else { Err(io::Error::other(format!("{UPDATE} failed"))) }
}

fn as_root(command: &str) -> String {
    format!("sudo sh -c \"{command}\"")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn outcome(state: CheckState, what: &str, place: &Path, fix: Option<String>) -> Outcome {
    Outcome { name: "this machine", state, evidence: format!("{what} ({})", place.display()), fix }
}
