//! The certificates that this machine's programs trust: curl, Python and others, for every user. Only root changes them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use minato_host::check::CheckState::{self, Fail, Ok as Fine, Warn};

use super::{Certificate, Outcome, authority, quoted, unless_gone};

/// Where Debian's `update-ca-certificates` takes certificates from that an administrator adds.
const DIRECTORY: &str = "/usr/local/share/ca-certificates";
const UPDATE: &str = "/usr/sbin/update-ca-certificates";

const FRESH: &str = "--fresh";
/// What it makes of them: all that is trusted, in one file.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Adds a certificate if that may be done.
pub(super) fn add(certificate: &Certificate<'_>) -> Outcome {
    let (place, source) = (place(), certificate.path.display());
    let is_trusted = || certificate.authority.is_among(&bundle());
    if fs::read(&place).is_ok_and(|there| certificate.authority.is_in(&there)) && is_trusted() {
        return outcome(Fine, "trusts it already", &place, None);
    }
    if !Path::new(UPDATE).exists() {
        let how = format!("add {source} in the way of this system");
        return outcome(Warn, "does not trust it: there is no update-ca-certificates", &place, Some(how));
    }
    let command = format!("install -D -m 644 {} {} && {UPDATE}", quoted(certificate.path), quoted(&place));
    if !is_root() {
        return outcome(Warn, "does not trust it: only root may change that", &place, Some(as_root(&command)));
    }
    match install(certificate.path, &place).and_then(|()| update(&[])) {
        Ok(()) if is_trusted() => outcome(Fine, "trusts it now", &place, None),
        Ok(()) => outcome(Warn, &format!("does not trust it: {UPDATE} left it out"), &place, None),
        // One of its hooks, for stores of others.
        Err(error) if is_trusted() => outcome(Warn, &format!("trusts it, but {error}"), &place, Some(UPDATE.into())),
        Err(error) => {
            // Whoever runs the program next for another certificate is not to add this one.
            let _ = fs::remove_file(&place);
            outcome(Warn, &format!("does not trust it: {error}"), &place, Some(command))
        }
    }
}

/// Copies a certificate to where everybody may read it, whatever the umask: programs of other users follow links there.
fn install(certificate: &Path, place: &Path) -> io::Result<()> {
    if !Path::new(DIRECTORY).exists() {
        fs::create_dir_all(DIRECTORY)?;
        fs::set_permissions(DIRECTORY, Permissions::from_mode(0o755))?;
    }
    fs::copy(certificate, place)?;
    fs::set_permissions(place, Permissions::from_mode(0o644))
}

/// Removes what was added, by whomever.
pub(super) fn remove() -> Outcome {
    let place = place();
    let user = rustix::process::geteuid().as_raw();
    // The program makes links to each file, which it leaves when the file goes, unless it makes all of them anew.
    let link = PathBuf::from(format!("/etc/ssl/certs/minato-{user}.pem"));
    let is_trusted = || authority::any_of(user, &bundle());
    if fs::symlink_metadata(&place).is_err() && fs::symlink_metadata(&link).is_err() && !is_trusted() {
        return outcome(Fine, "does not trust it", &place, None);
    }
    let command = format!("rm -f {} && {UPDATE} {FRESH}", quoted(&place));
    if !is_root() {
        return outcome(Warn, "still trusts it: only root may change that", &place, Some(as_root(&command)));
    }
    let removed = unless_gone(fs::remove_file(&place)).and_then(|()| update(&[FRESH]));
    match removed {
        Ok(()) if !is_trusted() => outcome(Fine, "trusts it no more", &place, None),
        Ok(()) => outcome(Fail, &format!("still trusts it: it stays in {BUNDLE}"), &place, None),
        Err(error) if is_trusted() => outcome(Fail, &format!("still trusts it: {error}"), &place, Some(command)),
        Err(error) => outcome(Warn, &format!("trusts it no more, but {error}"), &place, Some(UPDATE.into())),
    }
}

fn bundle() -> Vec<u8> {
    fs::read(BUNDLE).unwrap_or_default()
}

fn place() -> PathBuf {
    Path::new(DIRECTORY).join(format!("minato-{}.crt", rustix::process::geteuid().as_raw()))
}

fn update(arguments: &[&str]) -> io::Result<()> {
    let mut command = Command::new(UPDATE);
    command.args(arguments);
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if done.success() { Ok(()) } else { Err(io::Error::other(format!("{UPDATE} failed"))) }
}

fn as_root(command: &str) -> String {
    format!("sudo sh -c {}", shell_words::quote(command))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn outcome(state: CheckState, what: &str, place: &Path, fix: Option<String>) -> Outcome {
    Outcome { name: "this machine", state, evidence: format!("{what} ({})", place.display()), fix }
}
