//! The command line as it is written: clap's view. It knows words, not meanings.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use super::Name;

/// Any program with its own IP address and its own 65,536 ports, without root.
#[derive(Clone, Debug, Parser)]
#[command(name = "minato", version, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Flags {
    /// The network to work in; it begins with its first host and ends with its last [default: default].
    #[arg(long, global = true, value_name = "NET")]
    pub(crate) network: Option<Name>,
    /// Print data as JSON: {"version":1,…}.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print without colour, as with NO_COLOR or TERM=dumb.
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program in a host of its own: own IP address, all 65,536 ports.
    #[command(override_usage = "minato run [OPTIONS] -- CMD…", after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Run another program on the IP address of a host that is there.
    #[command(override_usage = "minato exec [OPTIONS] HOST -- CMD…", after_help = EXEC_EXAMPLES)]
    Exec(Exec),
    /// Run the hosts of a minato.toml.
    #[command(after_help = UP_HELP)]
    Up(Up),
    /// End the hosts that `minato up` runs, in order, and wait until nothing of them is left.
    Down {
        /// Which network.
        #[command(flatten)]
        files: Files,
    },
    /// Show what the programs of `minato up` have said; the last 1 to 2 MB of each host.
    Logs {
        /// The file of the network.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Vec<PathBuf>,
        /// Which of several networks from one file.
        #[arg(long, value_name = "NAME", value_parser = instance)]
        instance: Option<Name>,
        /// Go on with what they say, until the network is down.
        #[arg(short, long)]
        follow: bool,
        /// Only these hosts.
        #[arg(value_name = "HOST")]
        host: Vec<Name>,
    },
    /// Check a minato.toml without running anything.
    #[command(after_help = "Exit code 2: something is wrong with it.")]
    Check {
        /// Which file.
        #[command(flatten)]
        files: Files,
    },
    /// Show hosts and their processes; with -f those of `minato up`, and how far its services are.
    Ps {
        /// Which network.
        #[command(flatten)]
        files: Files,
        /// How often to look.
        #[command(flatten)]
        watch: Watch,
    },
    /// Show who is bound where.
    #[command(after_help = "Exit code 10: nothing is bound to PORT.")]
    Ports {
        /// Only this port number, or ports whose registered name this is.
        #[arg(value_name = "PORT")]
        port: Option<String>,
        /// Show this machine's own ports instead of the network's.
        #[arg(long)]
        host: bool,
        /// Only these, and in this order.
        #[command(flatten)]
        choice: PortChoice,
        /// How often to look.
        #[command(flatten)]
        watch: Watch,
    },
    /// Show who talks to whom.
    Flows {
        /// Only flows of this host.
        #[arg(value_name = "HOST")]
        host: Option<Name>,
        /// How often to look.
        #[command(flatten)]
        watch: Watch,
    },
    /// Print a line for everything that happens: ports bound and released, flows, forwards, hosts.
    #[command(after_help = WATCH_HELP)]
    Watch {
        /// Only what concerns this host.
        #[arg(value_name = "HOST")]
        host: Option<Name>,
    },
    /// Show the packets of a host, with the processes at both ends; or write them for Wireshark.
    #[command(after_help = CAPTURE_HELP)]
    Capture(Capture),
    /// Change forwards while programs run.
    #[command(subcommand)]
    Forward(Forward),
    /// Serve every host's web server at http://HOST.NET.localhost:7080/, for browsers.
    #[command(after_help = PROXY_HELP)]
    Proxy,
    /// Print free ports that are held until servers listen on them.
    #[command(after_help = LEASE_HELP)]
    Lease(Lease),
    /// Look into IANA's registry of service names and port numbers.
    #[command(after_help = "Examples:\n  minato service 443\n  minato service postgresql\n  minato service 5050-5060")]
    Service {
        /// A number, a name or a part of one, or a range of numbers.
        #[arg(value_name = "NUMBER|NAME|RANGE")]
        what: String,
    },
    /// Explain how a connection gets to its service, hop by hop, where it breaks, and what mends it.
    #[command(after_help = EXPLAIN_HELP)]
    Explain {
        /// What is to be reached.
        #[arg(value_name = "PORT|HOST:PORT|URL")]
        target: String,
        /// As seen from inside this host.
        #[arg(long, value_name = "HOST")]
        from: Option<Name>,
    },
    /// Check whether this machine can do it, and what to change if not.
    #[command(after_help = "Exit code 15: something essential is missing.")]
    Doctor,
    /// See what port numbers are for: three services on one address, live.
    Demo(Demo),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff); `minato man | man -l -` shows it.
    Man {
        /// Write a page for every command into this directory instead.
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        out: Option<PathBuf>,
    },
    /// Print the version.
    Version,
    /// Serve a network (started by `run`).
    #[command(name = "__engine", hide = true)]
    Engine {
        /// The network's runtime directory.
        #[arg(long, value_name = "DIR")]
        runtime_dir: PathBuf,
    },
    /// Be the proxy in the background (started by `up`).
    #[command(name = "__proxy", hide = true)]
    ProxyInBackground,
    /// Try a connection (started by `explain`).
    #[command(name = "__probe", hide = true)]
    Probe {
        /// Where to.
        destination: std::net::SocketAddr,
    },
    /// Resolve a name (started by `explain`).
    #[command(name = "__resolve", hide = true)]
    Resolve {
        /// Which one.
        name: String,
    },
    /// Hold ports (started by `lease`).
    #[command(name = "__lease", hide = true)]
    KeepLease {
        /// The lease.
        #[command(flatten)]
        lease: Lease,
        /// A port that it must have.
        #[arg(long)]
        port: Vec<u16>,
    },
    /// Supervise in the background (started by `up -d`).
    #[command(name = "__up", hide = true)]
    Supervise(Up),
    /// Be one program of the demo.
    #[command(name = "__demo", hide = true)]
    DemoPart(DemoPart),
}

const RUN_EXAMPLES: &str = "\
Examples:
  minato run -- bash
      a shell with an IP address of its own
  minato run --name web -p 8080:80 -- nginx -g 'daemon off;'
      http://127.0.0.1:8080 leads to its port 80
  minato run -p 5353:53/udp -p 8000-8010:8000-8010 -- PROGRAM
      UDP, and a range
  minato run -p 0.0.0.0:8080:80 -- PROGRAM
      reachable from other machines too

Exit code: the program's own; 127 when there is no such program, 126 when it can't be executed.";

const UP_HELP: &str = "\
Examples:
  minato up
      minato.toml of this directory; Ctrl-C ends everything in order, a second Ctrl-C at once
  minato up -d && curl http://127.0.0.1:8080/ && minato down
      returns when every host is ready
  minato up -d --instance $(git branch --show-current)
      a network of its own for each branch, with the same file and the same ports inside

Exit codes: 0 everything has ended well, or was ended; 1 a program has not, or the engine ended; 2 the file is wrong;
16 it is up already, or a port of this machine is taken.";

const WATCH_HELP: &str = "\
Times are UTC. With --json each line is {\"version\":1,\"event\":{…}}. Sockets are looked at every 50 ms: one that lives for
less may be missed. Ends with the network.";

const CAPTURE_HELP: &str = "\
Examples:
  minato capture web
  minato capture web 80
  minato capture web 53/udp -c 10
  minato capture web -w web.pcapng
  minato capture web -w - | wireshark -k -i -

What passes the host's own loopback is among them: forwards lead there. Programs send segments larger than the MTU, which
the kernel cuts later or never (segmentation offload): they are shown as they are. A port leaves out what has none, as ICMP.
Ends with Ctrl-C, or with the host.";

const PROXY_HELP: &str = "\
http://HOST.NET.localhost:7080/ leads to the web server of a host, http://PORT.HOST.NET.localhost:7080/ to another port of
it, in every network of yours. Browsers and curl take these names for this machine by themselves. HTTP/1.1 and WebSocket; the
service sees the headers Forwarded and X-Forwarded-*. `minato up` starts it in the background, where it ends with the last
network; this command serves until it is interrupted.

MINATO_PROXY_PORT is another port.";

const LEASE_HELP: &str = "\
Examples:
  PORT=$(minato lease) && python3 -m http.server $PORT
  minato lease 3 --for my-tests
      the same three ports each time

From the moment they are printed until a server listens on each of them, nobody gets these TCP ports by chance: not by
asking for any port, not for an outgoing connection, and not by number without SO_REUSEADDR. A server must set SO_REUSEADDR,
as servers do; one that does not is refused while the port is held.

Exit codes: 14 no ports are left; 16 a port of the key is in use.";

const EXPLAIN_HELP: &str = "\
Examples:
  minato explain 8080
  minato explain web:80
  minato explain http://localhost:8080/ --from db
  minato explain 53/udp

Exit codes: 0 it can be reached; 10 nothing bound there; 11 wrong address, family or transport; 12 forward missing;
13 privileged port; 14 ephemeral ports used up; 16 another program has the number, or several share it; 1 anything
else: a policy refuses it (--from), its program is stopped, its accept queue is full, nftables stop it, or a reason that can't be seen.";

const EXEC_EXAMPLES: &str = "\
Examples:
  minato exec web -- curl http://127.0.0.1/
  minato exec web -- bash

Exit code: the program's own; 127 when there is no such program, 126 when it can't be executed.";

/// `minato up`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Up {
    /// Which file.
    #[command(flatten)]
    pub(crate) files: Files,
    /// Go on in the background once everything is ready.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Apply changes of the file while it runs.
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Which `minato.toml`, and which network of it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Files {
    /// The file; a further one is laid over those before it [default: minato.toml, and minato.override.toml over it].
    #[arg(short, long = "file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Vec<PathBuf>,
    /// Which of several networks from one file: a branch, a ticket, any word. Each has names and addresses of its own.
    #[arg(long, value_name = "NAME", value_parser = instance)]
    pub(crate) instance: Option<Name>,
}

/// Whatever can be made a label, such as `feature/login`.
fn instance(text: &str) -> Result<Name, String> {
    crate::file::instance_label(text).ok_or_else(|| "an instance is named with letters or digits".into())
}

/// `minato run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Run {
    /// Name of the host [default: the program's name].
    #[arg(long, value_name = "HOST")]
    pub(crate) name: Option<Name>,
    /// Forward a port of this machine, or a range, to one of the host. Without IP: 127.0.0.1 and ::1. May be repeated.
    #[arg(short, long, value_name = "[IP:]HOSTPORT:PORT[/udp]")]
    pub(crate) publish: Vec<String>,
    /// Ports that the host's kernel chooses from for outgoing connections [default: 49152-65535].
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) ephemeral_range: Option<String>,
    /// Let the host reach this port of the machine's own loopback, at the gateway address. May be repeated.
    #[arg(long, value_name = "PORT")]
    pub(crate) host_port: Vec<String>,
    /// Let the host reach only what such rules name, beyond its network: 'example.com', '*.example.com:443', '10.0.0.0/8:5432',
    /// '[2001:db8::]/32', '192.0.2.1:1-1024/udp', or 'dns' (any name may be asked for). May be repeated.
    #[arg(long, value_name = "RULE")]
    pub(crate) allow: Vec<String>,
    /// Keep the host from these addresses, whatever else it may reach; 'all' from everything that is not allowed. May be
    /// repeated.
    #[arg(long, value_name = "RULE|all")]
    pub(crate) deny: Vec<String>,
    /// Give the host no address of its own on this machine's loopback (127.77.N.H, where its services are reached under
    /// their own numbers).
    #[arg(long)]
    pub(crate) no_loopback: bool,
    /// Let the program see itself as root (it has no more rights than you).
    #[arg(long)]
    pub(crate) map_root: bool,
    /// Don't watch for binds that fail: for programs that bring a seccomp listener of their own, as container runtimes do.
    #[arg(long)]
    pub(crate) no_bind_watch: bool,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) program: Vec<OsString>,
}

/// `minato capture`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Capture {
    /// The host.
    #[arg(value_name = "HOST")]
    pub(crate) host: Name,
    /// Only from or to this port, range, or registered name.
    #[arg(value_name = "PORT")]
    pub(crate) port: Option<String>,
    /// Write them to a new file as pcapng, with the processes as comments; - is standard output.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "json")]
    pub(crate) write: Option<PathBuf>,
    /// End after so many packets.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Keep so many bytes of each packet.
    #[arg(long, value_name = "BYTES", requires = "write", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(64..=262_144))]
    pub(crate) snap_length: u32,
}

/// `minato lease`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Lease {
    /// How many.
    #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) count: u16,
    /// Remember them: the same KEY gets the same ports again.
    #[arg(long = "for", value_name = "KEY", value_parser = key)]
    pub(crate) key: Option<String>,
    /// Hold them for so long when no server comes.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = clap::value_parser!(u32).range(1..=86400))]
    pub(crate) within: u32,
}

/// A key is a file name too.
fn key(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(fine) {
        return Ok(text.to_owned());
    }
    Err("a key has 1 to 64 characters of a-z, A-Z, 0-9, - and _".into())
}

/// `minato exec`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Exec {
    /// The host to join.
    #[arg(value_name = "HOST")]
    pub(crate) host: Name,
    /// Let the program see itself as root (it has no more rights than you).
    #[arg(long)]
    pub(crate) map_root: bool,
    /// Don't watch for binds that fail: for programs that bring a seccomp listener of their own, as container runtimes do.
    #[arg(long)]
    pub(crate) no_bind_watch: bool,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub(crate) program: Vec<OsString>,
}

/// Which ports, and in which order.
#[derive(Clone, Debug, Args)]
pub(crate) struct PortChoice {
    /// Only ports of this host.
    #[arg(long, value_name = "HOST", conflicts_with = "host")]
    pub(crate) of: Option<Name>,
    /// Only ports of processes with this name.
    #[arg(long, value_name = "NAME")]
    pub(crate) process: Option<String>,
    /// Only TCP.
    #[arg(long, conflicts_with = "udp")]
    pub(crate) tcp: bool,
    /// Only UDP.
    #[arg(long)]
    pub(crate) udp: bool,
    /// Sort by this [default: host, then port].
    #[arg(long, value_name = "COLUMN")]
    pub(crate) sort: Option<PortOrder>,
}

/// What ports can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PortOrder {
    /// The number.
    Port,
    /// The host.
    Host,
    /// The name of the process.
    Process,
}

/// `minato forward`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Forward {
    /// Add forwards to a host: all of them or, when one is impossible, none.
    Add(ForwardChange),
    /// Remove forwards from a host: all of them or, when one is not there, none.
    #[command(after_help = "Exit code 12: there is no such forward.")]
    Rm(ForwardChange),
    /// Show forwards with their counters.
    Ls {
        /// Only forwards to this host.
        #[arg(value_name = "HOST")]
        host: Option<Name>,
        /// How often to look.
        #[command(flatten)]
        watch: Watch,
    },
}

/// Forwards of a host.
#[derive(Clone, Debug, Args)]
pub(crate) struct ForwardChange {
    /// The forward, spelled as for `run`. May be repeated. `all` alone: to add, the same number for each port on which
    /// the host listens and that has no forward; to remove, every forward of the host.
    #[arg(short, long, required = true, value_name = "[IP:]HOSTPORT:PORT[/udp]|all")]
    pub(crate) publish: Vec<String>,
    /// The host.
    #[arg(value_name = "HOST")]
    pub(crate) host: Name,
}

/// How often to look.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Watch {
    /// Show it again whenever it has changed, looking every SECONDS [default: 1]; with --json a line each time.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = seconds)]
    pub(crate) watch: Option<Duration>,
}

/// A pause that is neither busy nor absurd.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("'{text}' is no number of seconds"))?;
    if (0.01..=86_400.0).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err("the pause is between 0.01 and 86400 seconds".into())
}

/// `minato demo`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Demo {
    /// Show what is lost without port numbers: one service for each address.
    #[arg(long)]
    pub(crate) without_ports: bool,
    /// End after the story instead of staying up until Ctrl-C.
    #[arg(long)]
    pub(crate) once: bool,
    /// A service on port N is forwarded from port BASE + N of this machine.
    #[arg(long, value_name = "BASE", default_value_t = 8000, value_parser = clap::value_parser!(u16).range(1..=65000))]
    pub(crate) port_base: u16,
}

/// One program of the demo.
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct DemoPart {
    /// Which one.
    pub(crate) role: DemoRole,
    /// The port to bind, or the address and port to talk to.
    pub(crate) place: String,
    /// Of a client: how many connections at once.
    #[arg(long, default_value_t = 1)]
    pub(crate) parallel: usize,
    /// Of a client: what kind of server it expects.
    #[arg(long)]
    pub(crate) speaks: Option<DemoRole>,
    /// Of a client: send everything from this port instead of one that the kernel chooses.
    #[arg(long)]
    pub(crate) source_port: Option<u16>,
}

/// What a program of the demo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoRole {
    /// A web server.
    Web,
    /// A mail server that greets.
    Mail,
    /// A file server that greets.
    Files,
    /// A client.
    Client,
}

impl DemoRole {
    /// The role as the command line spells it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            DemoRole::Web => "web",
            DemoRole::Mail => "mail",
            DemoRole::Files => "files",
            DemoRole::Client => "client",
        }
    }
}
