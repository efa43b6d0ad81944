//! The certificate databases of browsers: Chromium, Chrome and Edge share one for each user, Firefox has one for each
//! profile. They are NSS's, and changed with its `certutil`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use minato_host::check::CheckState::{self, Fail, Ok as Fine, Warn};

use super::{Certificate, Outcome, quoted};

/// Where Firefox has its profiles, below the home directory: its own place, the newer one, Ubuntu's and Flatpak's.
const FIREFOX: [&str; 4] = [
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
];
const CHROMIUM: &str = ".pki/nssdb";
/// Chromium as Ubuntu packs it has a home directory of its own.
const CHROMIUM_SNAP: &str = "snap/chromium/current/.pki/nssdb";

/// A database.
#[derive(Debug, PartialEq)]
pub(super) struct Database {
    /// Whose it is.
    pub(super) browser: &'static str,
    pub(super) directory: PathBuf,
}

impl Database {
    /// Those below a home directory. Chromium's may be missing: it trusts what is in it before its own first start.
    pub(super) fn all(home: &Path) -> Vec<Database> {
        let exists = |database: &Database| database.directory.join("cert9.db").exists();
        let chromium = |place: &str| Database { browser: "Chromium", directory: home.join(place) };
        let profiles = FIREFOX.iter().flat_map(|place| fs::read_dir(home.join(place)).into_iter().flatten().flatten());
        let mut firefox: Vec<PathBuf> = profiles.map(|entry| entry.path()).collect();
        firefox.sort_unstable();
        let firefox = firefox.into_iter().map(|directory| Database { browser: "Firefox", directory });
        let more = std::iter::once(chromium(CHROMIUM_SNAP)).chain(firefox).filter(exists);
        std::iter::once(chromium(CHROMIUM)).chain(more).collect()
    }

    /// Makes the browser trust a certificate, and no older one of the same name.
    pub(super) fn add(&self, certificate: &Certificate<'_>) -> Outcome {
        if let Err(outcome) = self.prepare() {
            return outcome;
        }
        let there = self.certutil(&["-L", "-a", "-n", &certificate.nickname]);
        if there.as_ref().is_ok_and(|there| there.status.success() && certificate.authority.is_in(&there.stdout)) {
            return self.outcome(Fine, "trusts it already", None);
        }
        self.delete_all(&certificate.nickname);
        let path = certificate.path.display().to_string();
        // An empty file of passwords: one that is set is never asked for.
        let add = ["-A", "-n", &certificate.nickname, "-t", "C,,", "-i", &path];
        match self.certutil(&[&add[..], &["-f", "/dev/null"]].concat()) {
            Ok(done) if done.status.success() => self.outcome(Fine, "trusts it now", None),
            failed => {
                self.delete_all(&certificate.nickname);
                let (database, path) = (self.quoted(), quoted(certificate.path));
                let fix = format!("certutil -d {database} -A -n '{}' -t C,, -i {path}", certificate.nickname);
                self.outcome(Warn, &format!("does not trust it: {}", said(failed)), Some(fix))
            }
        }
    }

    /// Makes it trust none of this name.
    pub(super) fn remove(&self, nickname: &str) -> Outcome {
        if !self.directory.join("cert9.db").exists() {
            return self.outcome(Fine, "has never trusted it", None);
        }
        if !has_certutil() {
            return self.outcome(
                Warn,
                NO_CERTUTIL,
                Some("apt-get install libnss3-tools && minato trust --remove".into()),
            );
        }
        let had = self.delete_all(nickname);
        match self.has(nickname) {
            Ok(true) => {
                let fix = format!("certutil -d {} -D -n '{nickname}'", self.quoted());
                self.outcome(Fail, "still trusts it", Some(fix))
            }
            Ok(false) if had => self.outcome(Fine, "trusts it no more", None),
            Ok(false) => self.outcome(Fine, "does not trust it", None),
            Err(why) => self.outcome(Fail, &format!("may trust it still: {why}"), None),
        }
    }

    /// Whether it has a certificate of this name. From the list of all: with one that can't be read, asking for a name
    /// fails just as it does when that name is not there.
    fn has(&self, nickname: &str) -> Result<bool, String> {
        match self.certutil(&["-L"]) {
            Ok(list) if list.status.success() => {
                let is_it = |line: &str| line.strip_prefix(nickname).is_some_and(|rest| rest.starts_with(' '));
                Ok(String::from_utf8_lossy(&list.stdout).lines().any(is_it))
            }
            failed => Err(said(failed)),
        }
    }

    /// The database must be there, and the program that changes it.
    fn prepare(&self) -> Result<(), Outcome> {
        if !has_certutil() {
            let fix = "apt-get install libnss3-tools && minato trust";
            return Err(self.outcome(Warn, NO_CERTUTIL, Some(fix.into())));
        }
        if self.directory.join("cert9.db").exists() {
            return Ok(());
        }
        let made = fs::create_dir_all(&self.directory).and_then(|()| self.certutil(&["-N", "--empty-password"]));
        match made {
            Ok(done) if done.status.success() => Ok(()),
            failed => Err(self.outcome(Warn, &format!("has no database: {}", said(failed)), None)),
        }
    }

    /// Deletes every certificate of a name, and says whether there was one.
    fn delete_all(&self, nickname: &str) -> bool {
        const MORE_THAN_ANYBODY_HAS: usize = 16;
        let delete = || self.certutil(&["-D", "-n", nickname, "-f", "/dev/null"]);
        let deleted = (0..MORE_THAN_ANYBODY_HAS).take_while(|_| delete().is_ok_and(|done| done.status.success()));
        deleted.count() > 0
    }

    fn certutil(&self, arguments: &[&str]) -> io::Result<Output> {
        let mut command = Command::new("certutil");
        command.args(["-d", &self.argument()]).args(arguments);
        command.stdin(Stdio::null()).output()
    }

    fn argument(&self) -> String {
        format!("sql:{}", self.directory.display())
    }

    /// The same for a command to copy.
    fn quoted(&self) -> String {
        shell_words::quote(&self.argument()).into_owned()
    }

    fn outcome(&self, state: CheckState, what: &str, fix: Option<String>) -> Outcome {
        Outcome { name: self.browser, state, evidence: format!("{what} ({})", self.directory.display()), fix }
    }
}

const NO_CERTUTIL: &str = "is left as it is: there is no program certutil";

fn has_certutil() -> bool {
    let mut command = Command::new("certutil");
    let tried = command.arg("-H").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    tried.status().is_ok()
}

/// The last that a program said.
fn said(result: io::Result<Output>) -> String {
    let text = match result {
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    text.trim_end().lines().last().unwrap_or("certutil failed").trim_start_matches("certutil: ").to_owned()
}
