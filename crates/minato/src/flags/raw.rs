//! The command line as it is written: clap's view. It knows words, not meanings.

mod capture;
mod demo;
mod forward;
mod frequent;
mod lease;
mod run;
mod up;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use minato_engine::FixedSubnet;

use super::Name;
use capture::CAPTURE_HELP;
pub(crate) use capture::Capture;
pub(crate) use demo::{Demo, DemoPart, DemoRole};
pub(crate) use forward::Forward;
use lease::LEASE_HELP;
pub(crate) use lease::Lease;
use run::{EXEC_EXAMPLES, RUN_EXAMPLES};
pub(crate) use run::{Exec, Program, Run};
use up::UP_HELP;
use up::instance;
pub(crate) use up::{Files, Up};

/// Any program with its own IP address and its own 65,536 ports, without root.
#[derive(Clone, Debug, Parser)]
#[command(name = "minato", version, max_term_width = 100)]
pub(crate) struct Flags<C: Subcommand = Command> {
    /// The network to work in; it begins with its first host and ends with its last [default: $MINATO_NETWORK, or
    /// else the network of this directory's minato.toml if it runs, or else 'default'; run and demo don't look at the file, and
    /// up, down, logs and check at nothing else].
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
    pub(crate) command: C,
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
    /// Show hosts and their processes, and how far the services of `minato up` are.
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
    /// Pass what comes to one address on to another, of the same host or machine.
    #[command(after_help = RELAY_HELP)]
    Relay {
        /// The service.
        #[arg(long, value_name = "IP:PORT[/udp]")]
        to: String,
        /// Where clients come; without IP at both loopback addresses.
        #[arg(required = true, value_name = "[IP:]PORT")]
        at: Vec<String>,
    },
    /// Serve every host's web server at http://HOST.NET.localhost:7080/, for browsers.
    #[command(after_help = PROXY_HELP)]
    Proxy,
    /// Have browsers trust the proxy: https://HOST.NET.localhost:7080/.
    #[command(after_help = TRUST_HELP)]
    Trust {
        /// Print the certificate (PEM), for programs that want it in a file of their own.
        #[arg(long, conflicts_with = "remove")]
        print: bool,
        /// Undo all of it.
        #[arg(long)]
        remove: bool,
    },
    /// Print free ports that are held until servers listen on them.
    #[command(after_help = LEASE_HELP)]
    Lease(Lease),
    /// Look into IANA's registry of service names and port numbers.
    #[command(
        after_help = "Examples:\n  minato service 443\n  minato service postgresql\n  minato service 53/udp\n  minato service 5050-5060"
    )]
    Service {
        /// A number, a name or a part of one, or a range of numbers; /tcp, /udp, /sctp or /dccp behind it for one protocol.
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
    Engine(Engine),
    /// Be the proxy in the background (started by `up`).
    #[command(name = "__proxy", hide = true)]
    ProxyInBackground,
    /// Try a connection (started by `explain`).
    #[command(name = "__probe", hide = true)]
    Probe {
        /// Where to.
        destination: std::net::SocketAddr,
        /// By UDP.
        #[arg(long)]
        udp: bool,
    },
    /// Resolve a name (started by `explain`).
    #[command(name = "__resolve", hide = true)]
    Resolve {
        /// Which one.
        name: String,
    },
    /// Tell what the rules of a firewall do to packets (started by `explain`).
    #[command(name = "__filter", hide = true)]
    Filter {
        /// The packets, as JSON.
        packets: String,
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

const WATCH_HELP: &str = "\
Times are UTC. With --json each line is {\"version\":1,\"event\":{…}}. Sockets are looked at every
50 ms: one that lives for less may be missed. Ends with the network.";

const RELAY_HELP: &str = "\
Examples:
  minato relay --to 127.0.0.1:3000 192.0.2.7:3000
      a service of this machine that is bound to loopback only
  minato relay --to 127.0.0.1:3000 [::1]:3000
      one that has IPv4 only
  minato exec web -- minato relay --to 127.0.0.1:3000 10.77.0.2:3000
      one of a host, for the other hosts

For a service that is bound to too few addresses and can't be started otherwise just now. It lasts
as long as the command. The service sees the relay's address and not the client's; forwards
(minato forward add) keep the client's.

Exit codes: 10 nothing listens there; 11 no address of this machine; 13 privileged port; 16 the
port is in use.";

const PROXY_HELP: &str = "\
http://HOST.NET.localhost:7080/ leads to the web server of a host,
http://PORT.HOST.NET.localhost:7080/ to another port of it, in every network of yours. Browsers
and curl take these names for this machine by themselves. HTTP/1.1, HTTP/2 and WebSocket; the
service sees the headers Forwarded and X-Forwarded-*. `minato up` starts it in the background,
where it ends with the last network; this command serves until it is interrupted. After `minato
trust` it serves https at the same port.

MINATO_PROXY_PORT is another port.";

const TRUST_HELP: &str = "\
Makes a certificate authority of your own, whose certificates are good for names below localhost
only, and has Chromium and Firefox trust it, if certutil is there (Debian's libnss3-tools). What
only root may change is said; root changes it. The proxy then serves https too, at the same port
as http. Run it again when it nears its end, after two years less 60 days: it makes a new one.
Browsers that run now have to be started anew.

Exit codes: 10 with --print, there is none; 1 with --remove, something still trusts it.";

const EXPLAIN_HELP: &str = "\
Examples:
  minato explain 8080
  minato explain web:80
  minato explain http://localhost:8080/ --from db
  minato explain 53/udp

Exit codes: 0 it can be reached; 10 nothing bound there; 11 wrong address, family or transport; 12
forward missing; 13 privileged port; 14 ephemeral ports used up; 16 another program has the
number, or several share it; 1 anything else: a policy refuses it (--from), its program is
stopped, its accept queue is full, nftables stop it, or a reason that can't be seen.";

/// `minato __engine`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Engine {
    /// The network's runtime directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) runtime_dir: PathBuf,
    /// The network's subnet.
    #[arg(long, value_name = "SUBNET")]
    pub(crate) subnet: Option<FixedSubnet>,
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
