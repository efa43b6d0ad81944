//! The paths that are compared: each with a guest in which the load program's server runs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::USER;
use super::measurement::{Direction, Failure, Outcome, Row};
use super::start::resident_kib;

/// Where the outer end listens; also where every guest's client connects to.
const OUTER: &str = "198.51.100.9:5000";
/// The contender whose programs hold sockets of the machine.
const DIRECT: &str = "minato-direct";
const BOTH: &[Direction] = &[Direction::Out, Direction::In];

/// One path between a guest and the machine.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Where a client on the machine connects to reach the guest's server.
    inward: String,
    /// What it does differently from the one before it, or at all.
    directions: &'static [Direction],
    /// Port of the server in the guest; tells its process from the others.
    port: u16,
    start: fn(&Contender) -> Result<Vec<Program>>,
    running: Option<Vec<Program>>,
    /// What each of its processes had in memory before it carried anything, in KiB.
    pub(crate) idle_kib: Vec<u64>,
}

/// A program that is ended with the value.
pub(crate) struct Program(Child);

impl Program {
    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The first process of a process namespace, if this made one: with it all others end. (`--kill-child` does not
        // do it, since the kernel forgets that wish when a process changes its user.)
        let pid = self.0.id();
        if let Ok(children) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
            for child in children.split_whitespace() {
                crate::command::succeeds(Command::new("kill").args(["-KILL", child]));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server on the machine.
pub(crate) fn outer_server() -> Result<Program> {
    start("outer", Command::new("/run/bin/minato-load").args(["server", "0.0.0.0:5000"]))
}

/// All of them; veth first.
pub(crate) fn all() -> Result<Vec<Contender>> {
    let forwarded = |port| format!("198.51.100.1:{port}");
    let new = |name, title, inward, port, start| Contender {
        name,
        title,
        inward,
        directions: BOTH,
        port,
        start,
        running: None,
        idle_kib: Vec::new(),
    };
    let mut spliced = new(
        "pasta-spliced",
        "pasta spliced (loopback)",
        "127.0.0.1:5005".to_owned(),
        5005,
        pasta_spliced as fn(&Contender) -> _,
    );
    spliced.directions = &[Direction::In];
    Ok(vec![
        new("veth", "veth", "10.99.0.2:5001".to_owned(), 5001, veth),
        new("minato", "minato", forwarded(5002), 5002, minato),
        new(DIRECT, "minato --direct", forwarded(5009), 5009, minato_direct),
        new("pasta", "pasta", forwarded(5003), 5003, |contender| pasta(contender, "1500")),
        new("pasta-65520", "pasta MTU 65520", forwarded(5004), 5004, |contender| pasta(contender, "65520")),
        spliced,
        new("slirp4netns", "slirp4netns", forwarded(5006), 5006, |contender| slirp4netns(contender, "1500")),
        new("slirp4netns-65520", "slirp4netns MTU 65520", forwarded(5007), 5007, |contender| {
            slirp4netns(contender, "65520")
        }),
        new("rootlesskit", "RootlessKit builtin", forwarded(5008), 5008, rootlesskit),
    ])
}

impl Contender {
    /// One run of one row. Starts the contender if it does not run, and ends it after a failure.
    pub(crate) fn measure(&mut self, row: &Row, direction: Direction, milliseconds: u32) -> Outcome {
        if !self.directions.contains(&direction) {
            return Err(Failure::NotOffered);
        }
        let outcome = self.try_measure(row, direction, milliseconds);
        outcome.map_err(|error| {
            self.running = None;
            Failure::Failed(format!("{error:#}"))
        })
    }

    fn try_measure(&mut self, row: &Row, direction: Direction, milliseconds: u32) -> Result<f64> {
        if self.running.is_none() {
            self.running = Some((self.start)(self)?);
            self.wait_for_server().with_context(|| self.last_words())?;
            self.idle_kib = self.resident_kib();
        }
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", "12"]);
        let address = match direction {
            Direction::Out => {
                self.enter(&mut command)?;
                OUTER
            }
            Direction::In => &self.inward,
        };
        command.args(["/run/bin/minato-load", "client", address, row.name, &milliseconds.to_string()]);
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
            bail!("{}", if output.status.code() == Some(124) { "no end after 12 s" } else { message.trim() });
        }
        String::from_utf8_lossy(&output.stdout).trim().parse().context("a number")
    }

    /// Makes a command one that runs in the guest.
    fn enter(&self, command: &mut Command) -> Result<()> {
        if self.name == DIRECT {
            // Only what minato has started gets sockets of the machine.
            let engine = self.helper_processes().into_iter().min().context("the engine is gone")?;
            command.args(["nsenter", "--pid", "--mount", "--target", &engine.to_string()]);
            command.args(as_user_with_setpriv());
            command.args(["/run/bin/minato", "--network", DIRECT, "exec", "bench", "--"]);
            with_environment(command);
        } else {
            let pid = self.server_pid().context("the guest's server is gone")?;
            command.args(["nsenter", "--net", "--target", &pid.to_string()]);
        }
        Ok(())
    }

    /// The end of its log.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(format!("/run/log/{}", self.name)).unwrap_or_default();
        log.lines().last().unwrap_or("it says nothing").to_owned()
    }

    fn server_address(&self) -> String {
        format!("0.0.0.0:{}", self.port)
    }

    fn server_pid(&self) -> Option<u32> {
        let wanted = format!("/run/bin/minato-load\0server\0{}\0", self.server_address());
        processes().find(|(_, command)| *command == wanted).map(|(pid, _)| pid)
    }

    /// Processes that carry the guest's data, told by a word of their command line.
    pub(crate) fn helper_processes(&self) -> Vec<u32> {
        let port = self.port.to_string();
        let engine = format!("\0__engine\0--network\0{}\0", self.name);
        let is_helper = |command: &str| match self.name {
            "minato" | DIRECT => command.contains(&engine),
            _ => {
                let program =
                    ["pasta\0", "slirp4netns\0", "rootlesskit\0"].iter().any(|program| command.starts_with(program));
                program && (command.contains(&port) || command.contains(&format!("{}.sock", self.name)))
            }
        };
        let helpers: Vec<u32> = processes().filter(|(_, command)| is_helper(command)).map(|(pid, _)| pid).collect();
        // The agent's command line does not tell whose it is; its parent does.
        let children = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let agents: String = helpers.iter().map(children).collect();
        let agents = agents.split_whitespace().filter_map(|pid| pid.parse().ok());
        helpers.iter().copied().chain(agents).collect()
    }

    /// What each of them has in memory now, in KiB.
    pub(crate) fn resident_kib(&self) -> Vec<u64> {
        self.helper_processes().into_iter().map(resident_kib).collect()
    }

    fn wait_for_server(&self) -> Result<()> {
        wait_for("an answer through the path", || {
            let mut probe = Command::new("timeout");
            probe.args(["2", "/run/bin/minato-load", "client", &self.inward, "exchange", "1"]);
            crate::command::succeeds(&mut probe).then_some(())
        })
    }
}

/// Process IDs and command lines, with a NUL after each word.
pub(super) fn processes() -> impl Iterator<Item = (u32, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?)))
}

fn veth(contender: &Contender) -> Result<Vec<Program>> {
    let server = guest_server(contender, &["nsenter", "--net=/run/netns/veth"])?;
    Ok(vec![server])
}

fn minato(contender: &Contender) -> Result<Vec<Program>> {
    run_minato(contender, &[])
}

/// The programs hold the machine's own sockets.
fn minato_direct(contender: &Contender) -> Result<Vec<Program>> {
    run_minato(contender, &["--direct"])
}

fn run_minato(contender: &Contender, flags: &[&str]) -> Result<Vec<Program>> {
    let (tcp, port) = (format!("{}:{}", contender.inward, contender.port), contender.server_address());
    let udp = format!("{tcp}/udp");
    let run = ["--network", contender.name, "run", "--name", "bench", "-p", &tcp, "-p", &udp];
    let server = ["--", "/run/bin/minato-load", "server", &port];
    Ok(vec![start(contender.name, family_as_user("/run/bin/minato").args(run).args(flags).args(server))?])
}

fn pasta(contender: &Contender, mtu: &str) -> Result<Vec<Program>> {
    let forward = format!("198.51.100.1/{0}:{0}", contender.port);
    run_pasta(contender, &["--mtu", mtu, "-t", &forward, "-u", &forward])
}

fn pasta_spliced(contender: &Contender) -> Result<Vec<Program>> {
    let forward = contender.port.to_string();
    run_pasta(contender, &["-t", &forward, "-u", &forward])
}

fn run_pasta(contender: &Contender, arguments: &[&str]) -> Result<Vec<Program>> {
    let mut pasta = family_as_user("pasta");
    pasta.args(["--quiet", "--ipv4-only", "--config-net", "--foreground"]).args(arguments);
    pasta.args(["--", "/run/bin/minato-load", "server", &contender.server_address()]);
    Ok(vec![start(contender.name, &mut pasta)?])
}

fn slirp4netns(contender: &Contender, mtu: &str) -> Result<Vec<Program>> {
    let guest =
        start(contender.name, as_user("unshare").args(["--user", "--map-root-user", "--net", "sleep", "7200"]))?;
    let (target, socket) = (guest.0.id().to_string(), format!("/run/work/{}.sock", contender.name));
    wait_for("the guest's namespace", || {
        let ours = fs::read_link("/proc/self/ns/net").ok()?;
        let link = fs::read_link(format!("/proc/{target}/ns/net")).ok()?;
        let command = fs::read_to_string(format!("/proc/{target}/cmdline")).ok()?;
        (link != ours && command.starts_with("sleep")).then_some(())
    })?;
    let _ = fs::remove_file(&socket);
    let slirp = start(
        &format!("{}-slirp", contender.name),
        as_user("slirp4netns").args(["--configure", "--mtu", mtu, "--api-socket", &socket, &target, "tap0"]),
    )?;
    for protocol in ["tcp", "udp"] {
        let request = format!(
            r#"{{"execute":"add_hostfwd","arguments":{{"proto":"{protocol}","host_addr":"198.51.100.1","host_port":{0},"guest_addr":"10.0.2.100","guest_port":{0}}}}}"#,
            contender.port
        );
        let answer = wait_for("slirp4netns's socket", || {
            let mut stream = UnixStream::connect(&socket).ok()?;
            stream.write_all(request.as_bytes()).ok()?;
            stream.shutdown(std::net::Shutdown::Write).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        })?;
        if !answer.contains("return") {
            bail!("slirp4netns: {answer}");
        }
    }
    let server = guest_server(contender, &["nsenter", "--net", "--target", &target])?;
    Ok(vec![server, slirp, guest])
}

/// RootlessKit forwards with its own port driver; its way out is slirp4netns.
fn rootlesskit(contender: &Contender) -> Result<Vec<Program>> {
    let forward = format!("198.51.100.1:{0}:{0}", contender.port);
    let mut rootlesskit = family_as_user("rootlesskit");
    rootlesskit.args([
        "--net=slirp4netns",
        "--mtu=1500",
        "--port-driver=builtin",
        "--disable-host-loopback",
        "--subid-source=static",
    ]);
    rootlesskit.args(["-p", &format!("{forward}/tcp"), "-p", &format!("{forward}/udp")]);
    rootlesskit.args(["/run/bin/minato-load", "server", &contender.server_address()]);
    Ok(vec![start(contender.name, &mut rootlesskit)?])
}

fn guest_server(contender: &Contender, enter: &[&str]) -> Result<Program> {
    let mut command = Command::new(enter[0]);
    command.args(&enter[1..]).args(["/run/bin/minato-load", "server", &contender.server_address()]);
    start(&format!("{}-server", contender.name), &mut command)
}

pub(crate) fn as_user(program: &str) -> Command {
    let mut command = Command::new(program);
    command.uid(USER).gid(USER);
    with_environment(&mut command);
    command
}

/// As an ordinary user, in a process namespace: when the command is killed, all that it started is.
pub(crate) fn family_as_user(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).args(as_user_with_setpriv()).arg(program);
    with_environment(&mut command);
    command
}

fn as_user_with_setpriv() -> [String; 4] {
    ["setpriv".to_owned(), "--clear-groups".to_owned(), format!("--reuid={USER}"), format!("--regid={USER}")]
}

fn with_environment(command: &mut Command) {
    command.env("HOME", "/run/work").env("USER", "tester").env("TMPDIR", "/run/tmp").current_dir("/run/work");
    command.env("XDG_RUNTIME_DIR", format!("/run/user/{USER}"));
}

pub(crate) fn start(name: &str, command: &mut Command) -> Result<Program> {
    let log = File::create(format!("/run/log/{name}"))?;
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
    Ok(Program(child.with_context(|| format!("cannot start {}", command.get_program().display()))?))
}

fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if start.elapsed() > Duration::from_secs(5) {
            bail!("waited 5 s in vain for {what}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}
