//! The machine of one test.
//!
//! libtest runs a test function in this process; [`Machine::run`] starts the same test once more inside of fresh
//! namespaces (see `init.sh`), where it is root and alone, and runs the test's body there. So the body can start
//! programs, open sockets and send signals directly.

pub(crate) mod leftovers;
mod outside;
mod processes;
mod program;
mod report;

use std::fs;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{peer, schema};

pub(crate) use processes::Process;
pub(crate) use program::{Finished, Program};

/// Runs as process 1 of the machine.
const INIT: &str = include_str!("init.sh");
/// Set in the environment of the inner run.
const INSIDE: &str = "MINATO_E2E_INSIDE";
/// Exit code of an inner run whose body ran and passed: a run that selected no test can't be taken for it.
const PASSED: i32 = 42;
/// The ordinary user.
const USER: u32 = 1000;

/// The machine's address on the link to the outside, and the outside's two addresses there.
pub(crate) const MACHINE_V4: &str = "198.51.100.1";
pub(crate) const MACHINE_V6: &str = "2001:db8:51::1";
pub(crate) const OUTSIDE_V4: &str = "198.51.100.2";
pub(crate) const OUTSIDE_V6: &str = "2001:db8:51::2";
pub(crate) const OUTSIDE_SECOND_V4: &str = "198.51.100.3";

/// A machine of its own for one test.
pub(crate) struct Machine {
    test: &'static str,
}

/// Somebody on the machine who runs programs.
pub(crate) struct Account<'m> {
    _machine: PhantomData<&'m Machine>,
    uid: u32,
}

impl Machine {
    /// Runs `body` in a new machine, if the programs and [`TIME_NAMESPACES`] in `needs` are there. To be called once,
    /// first thing, by a test function with a closure: the closure's type tells the test's name.
    pub(crate) fn run<F: FnOnce(&Machine)>(needs: &[&str], body: F) {
        let test = test_name::<F>();
        if let Ok(role) = std::env::var(peer::ROLE) {
            exit(peer::play(&role));
        }
        if std::env::var_os(INSIDE).is_some() {
            exit(Machine::inside(test, body));
        }
        if let Some(reason) = cannot_run(needs) {
            assert!(!in_ci(), "in CI nothing may be skipped: {reason}");
            eprintln!("SKIPPED: {test}: {reason}");
            return;
        }
        let status = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child=SIGKILL", "--mount-proc"])
            .args(["--propagation", "private", "bash", "-c", INIT, "init"])
            .arg(env!("CARGO_BIN_EXE_minato"))
            .arg(USER.to_string())
            .arg(std::env::current_exe().expect("path of this test"))
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(INSIDE, "1")
            .env("RUST_BACKTRACE", "0")
            .env("PATH", PATH)
            .status()
            .expect("unshare runs");
        assert_eq!(status.code(), Some(PASSED), "{test} failed in its machine, see above");
    }

    fn inside(test: &'static str, body: impl FnOnce(&Machine)) -> i32 {
        let machine = Machine { test };
        keep_engine_logs();
        report::on_panic();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            body(&machine);
            leftovers::assert_none();
        }));
        if outcome.is_ok() { PASSED } else { 1 }
    }

    /// The ordinary user, in whose name `minato` usually runs.
    pub(crate) fn user(&self) -> Account<'_> {
        Account { _machine: PhantomData, uid: USER }
    }

    /// The machine's administrator.
    pub(crate) fn root(&self) -> Account<'_> {
        Account { _machine: PhantomData, uid: 0 }
    }

    /// A directory that everybody may write, for the test's files.
    pub(crate) fn work(&self) -> &'static Path {
        Path::new("/run/work")
    }

    /// A command line that plays `role` in a host, see [`peer`].
    pub(crate) fn peer(&self, role: &str) -> Vec<String> {
        let role = format!("{}={role}", peer::ROLE);
        ["env", &role, "/run/bin/e2e", self.test, "--exact", "--nocapture", "--test-threads=1"]
            .map(str::to_owned)
            .to_vec()
    }

    /// The running engines.
    pub(crate) fn engines(&self) -> Vec<Process> {
        self.processes_with_argument("__engine")
    }

    /// Running processes with this word in their command line.
    pub(crate) fn processes_with_argument(&self, argument: &str) -> Vec<Process> {
        processes::all().into_iter().filter(|process| process.command.iter().any(|word| word == argument)).collect()
    }

    /// Running processes whose kernel name is `name`.
    pub(crate) fn processes_named(&self, name: &str) -> Vec<Process> {
        processes::all().into_iter().filter(|process| process.name == name).collect()
    }
}

impl Account<'_> {
    /// A command that runs as this account, with a plain environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("TMPDIR", "/run/tmp").current_dir("/run/work");
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{}", self.uid));
        if self.uid == 0 {
            command.env("HOME", "/run/user/0").env("USER", "root");
        } else {
            command.env("HOME", format!("/run/user/{}/home", self.uid)).env("USER", "tester");
            command.uid(self.uid).gid(self.uid);
        }
        command
    }

    /// `minato` with `arguments`.
    pub(crate) fn minato(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("/run/bin/minato");
        command.args(arguments);
        command
    }

    /// Starts a program that goes on beside the test.
    pub(crate) fn start(&self, mut command: impl std::borrow::BorrowMut<Command>) -> Program {
        Program::start(command.borrow_mut())
    }

    /// Starts `minato run ARGUMENTS -- COMMAND`.
    pub(crate) fn run<S: AsRef<str>>(&self, arguments: &[&str], command: &[S]) -> Program {
        let mut run = self.minato(&[&["run"], arguments, &["--"]].concat());
        run.args(command.iter().map(AsRef::as_ref));
        self.start(run)
    }

    /// Starts `minato exec HOST -- COMMAND`.
    pub(crate) fn exec<S: AsRef<str>>(&self, host: &str, command: &[S]) -> Program {
        let mut exec = self.minato(&["exec", host, "--"]);
        exec.args(command.iter().map(AsRef::as_ref));
        self.start(exec)
    }

    /// Whether it is root.
    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Runs `program` to its end.
    pub(crate) fn finish(&self, program: &str, arguments: &[&str]) -> Finished {
        let mut command = self.command(program);
        command.args(arguments);
        self.start(command).finish()
    }

    /// Runs `minato ARGUMENTS` to its end.
    pub(crate) fn minato_finish(&self, arguments: &[&str]) -> Finished {
        self.start(self.minato(arguments)).finish()
    }

    /// What `minato ARGUMENTS --json` prints.
    pub(crate) fn minato_json(&self, arguments: &[&str]) -> serde_json::Value {
        let finished = self.minato_finish(&[arguments, &["--json"]].concat()).expect_success();
        schema::judge(&finished.stdout);
        serde_json::from_str(&finished.stdout).expect("JSON")
    }
}

/// Calls `probe` until it gives something. Panics with `what` after `patience`.
pub(crate) fn wait_for<T>(what: &str, patience: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain for: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// As [`wait_for`], for something that is so or not.
pub(crate) fn wait_until(what: &str, patience: Duration, mut probe: impl FnMut() -> bool) {
    wait_for(what, patience, || probe().then_some(()));
}

/// Long enough for anything that is expected to happen soon, on a machine that is busy with something else.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// What a test needs whose subject they are.
pub(crate) const TIME_NAMESPACES: &str = "/proc/self/ns/time";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `e2e::web::apache_serves::{{closure}}` is the closure of the test `web::apache_serves`.
fn test_name<F>() -> &'static str {
    let name = std::any::type_name::<F>();
    let name = name.split_once("::").map_or(name, |(_crate, path)| path);
    name.strip_suffix("::{{closure}}").expect("the body is a closure")
}

fn cannot_run(needs: &[&str]) -> Option<String> {
    if !processes::is_root() {
        return Some("needs root, to make a machine out of namespaces".to_owned());
    }
    let exists = |program: &&&str| !PATH.split(':').any(|directory| Path::new(directory).join(program).exists());
    let missing: Vec<&str> = ["unshare", "ip", "bash"].iter().chain(needs).filter(exists).copied().collect();
    if missing.contains(&TIME_NAMESPACES) {
        return Some(format!("needs a kernel with time namespaces (CONFIG_TIME_NS): there is no {TIME_NAMESPACES}"));
    }
    (!missing.is_empty())
        .then(|| format!("needs these programs: {} (cargo xtask test installs them)", missing.join(", ")))
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value != "false" && !value.is_empty())
}

/// An engine that ends removes its log with its directory: keeps a second name for each.
fn keep_engine_logs() {
    thread::spawn(|| {
        let mut kept = 0;
        let mut known = Vec::new();
        loop {
            for log in engine_logs() {
                let inode = fs::metadata(&log).map_or(0, |metadata| std::os::unix::fs::MetadataExt::ino(&metadata));
                if !known.contains(&inode) && fs::hard_link(&log, format!("/run/kept/engine-{kept}.log")).is_ok() {
                    known.push(inode);
                    kept += 1;
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
}

fn engine_logs() -> Vec<PathBuf> {
    leftovers::runtime_directories()
        .into_iter()
        .map(|directory| directory.join("engine.log"))
        .filter(|log| log.exists())
        .collect()
}
