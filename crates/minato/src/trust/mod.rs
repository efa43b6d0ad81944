//! `minato trust`: a certificate authority of this user's own, so that browsers take `https://HOST.NET.localhost:7080/` as
//! they take any other site.
//!
//! [`authority`] is made once and signs names below `localhost` only; [`nss`] and [`system`] make programs trust it.

mod authority;
mod nss;
mod system;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use minato_host::check::{Check as Outcome, CheckState};
use rustix::fs::{FlockOperation, flock};

use crate::commands::{DONE, check_as_json};
use crate::failure::{Failure, code};
use crate::render;
use crate::state_dir;
use crate::terminal::Terminal;
pub(crate) use authority::{Absent, Authority, file};
use nss::Database;

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Make an authority unless there is one, and make programs trust it.
    Install,
    /// Print its certificate.
    Print,
    /// Undo all of it.
    Remove,
}

/// What is to be trusted.
struct Certificate<'a> {
    authority: &'a Authority,
    path: &'a Path,
    /// What databases call it.
    nickname: String,
}

/// Where the authority is.
pub(crate) fn directory() -> Result<PathBuf, Failure> {
    state_dir::path("trust")
}

/// Does it, and says what was done.
pub(crate) fn trust(what: Trust, terminal: &Terminal) -> Result<u8, Failure> {
    let directory = directory()?;
    let _turn = match what {
        Trust::Install | Trust::Remove => turn(&directory, what == Trust::Install)?,
        Trust::Print => None,
    };
    match what {
        Trust::Install => install(&directory, terminal),
        Trust::Print => print(&directory, terminal),
        Trust::Remove => remove(&directory, terminal),
    }
}

/// The lock of whoever changes it: of two at once the second finds what the first has done. `None` where there is nothing
/// to change and nothing is to be made.
fn turn(directory: &Path, make: bool) -> Result<Option<File>, Failure> {
    let Some(parent) = directory.parent() else { return Ok(None) };
    let locked = || -> io::Result<File> {
        if make {
            state_dir::create(parent)?;
        }
        let file = File::open(parent)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    };
    match locked() {
        Err(error) if !make && error.kind() == io::ErrorKind::NotFound => Ok(None),
        locked => locked.map(Some).map_err(|error| Failure::caused(format!("cannot lock {}", parent.display()), error)),
    }
}

fn install(directory: &Path, terminal: &Terminal) -> Result<u8, Failure> {
    let now = SystemTime::now();
    let (authority, made) = current(directory, now)?;
    let path = authority::public_file(directory);
    let certificate = Certificate { authority: &authority, path: &path, nickname: nickname() };
    let mut outcomes: Vec<Outcome> = databases().iter().map(|database| database.add(&certificate)).collect();
    outcomes.push(system::add(&certificate));
    let left = authority.until().duration_since(now).unwrap_or_default();
    let shown = serde_json::json!({
        "certificate": path,
        "days": left.as_secs() / (24 * 60 * 60),
        "stores": outcomes.iter().map(check_as_json).collect::<Vec<_>>(),
    });
    terminal.view("trust", &shown, |look| {
        let place = render::printable(&path.display().to_string());
        let age = render::age(left.as_secs_f64());
        let head = format!("{made}: {place}, good for {age}, for names below localhost only\n");
        head + &render::check_lines(&outcomes, look)
            + "https://HOST.NET.localhost:7080/ is what the proxy serves now, beside http.\n"
    });
    Ok(DONE)
}

/// The authority to use from now on, and what was done for it.
fn current(directory: &Path, now: SystemTime) -> Result<(Authority, String), Failure> {
    let made = match Authority::load(directory) {
        Ok(authority) if !authority.nears_its_end(now) => {
            authority.publish(directory)?;
            return Ok((authority, "the certificate authority is there".into()));
        }
        Ok(_) => "the certificate authority neared its end, and there is a new one".into(),
        Err(Absent::NotMade) => "made a certificate authority".into(),
        Err(Absent::Unreadable(reason)) => {
            return Err(Failure::caused(format!("cannot read {}", file(directory).display()), reason));
        }
        Err(Absent::Unusable(reason)) => format!("made a new certificate authority, because of the old one {reason}"),
    };
    Ok((Authority::make(directory, now)?, made))
}

fn print(directory: &Path, terminal: &Terminal) -> Result<u8, Failure> {
    let absent = |absent: Absent| {
        let title = format!("there is no certificate authority of yours: {}", absent.reason());
        Failure::new(code::NOTHING, title).fix("minato trust    # makes one")
    };
    let authority = Authority::load(directory).map_err(absent)?;
    authority.publish(directory)?;
    let path = authority::public_file(directory);
    let pem = fs::read_to_string(&path);
    let pem = pem.map_err(|error| Failure::caused(format!("cannot read {}", path.display()), error))?;
    terminal.view("certificate", &serde_json::json!({ "path": path, "pem": pem }), |_| pem.clone());
    Ok(DONE)
}

fn remove(directory: &Path, terminal: &Terminal) -> Result<u8, Failure> {
    let nickname = nickname();
    let mut outcomes: Vec<Outcome> = databases().iter().map(|database| database.remove(&nickname)).collect();
    outcomes.push(system::remove());
    unless_gone(fs::remove_dir_all(directory))
        .map_err(|error| Failure::caused(format!("cannot remove {}", directory.display()), error))?;
    let stores: Vec<_> = outcomes.iter().map(check_as_json).collect();
    let shown = serde_json::json!({ "certificate": null, "days": null, "stores": stores });
    terminal.view("trust", &shown, |look| {
        render::check_lines(&outcomes, look)
            + "The certificate authority and its key are gone; the proxy serves http only.\n"
    });
    let done = outcomes.iter().all(|outcome| outcome.state == CheckState::Ok);
    Ok(if done { DONE } else { code::FAILED })
}

fn databases() -> Vec<Database> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    home.map(|home| Database::all(&home)).unwrap_or_default()
}

fn nickname() -> String {
    format!("minato {}", rustix::process::geteuid().as_raw())
}

/// A removal has done its work, too, where there was nothing.
fn unless_gone(removal: io::Result<()>) -> io::Result<()> {
    match removal {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    shell_words::quote(&path.display().to_string()).into_owned()
}
