//! From words to meanings: what clap can't check because it needs to know what a port is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use minato_host::enter::Identity;
use minato_inspect::{ForwardSpec, Transport};

use super::raw;
use super::{
    Capture, Command, Demo, Exec, Invocation, Lease, Name, PortQuery, Program, Run, Show, View, Which, argument,
};
use crate::failure::Failure;
use crate::file::Choice;
use crate::trust::Trust;
use crate::up::Up;

/// Makes sense of a command line.
pub(crate) fn resolve(flags: raw::Flags) -> Result<Invocation, Failure> {
    let command = command(flags.command, flags.network.as_ref())?;
    if let Some(network) = flags.network.as_ref().filter(|_| command.is_of_the_machine()) {
        let title = format!("--network {network} means nothing to this command, which is about the whole machine");
        return Err(Failure::usage(title).fix("leave it out"));
    }
    Ok(Invocation { network: flags.network, command })
}

fn command(raw: raw::Command, network: Option<&Name>) -> Result<Command, Failure> {
    Ok(match raw {
        raw::Command::Run(raw) => Command::Run(run(raw)?),
        raw::Command::Exec(raw) => {
            let mut program = program(raw.program)?;
            if raw.net_admin {
                program.identity = Identity::NetAdmin;
            }
            Command::Exec(Exec { host: raw.host, program })
        }
        raw::Command::Check { files } => Command::Check(choice(files, network)),
        raw::Command::Up(raw) => Command::Up(up(raw, network)),
        raw::Command::Supervise(raw) => Command::Supervise(Up { detach: true, ..up(raw, network) }),
        raw::Command::Down { files } => Command::Down(choice(files, network)),
        raw::Command::Logs { file, instance, follow, host } => {
            Command::Logs(choice(raw::Files { file, instance }, network), host, follow)
        }
        raw::Command::Ps { files, watch } => Command::Ps(choice(files, network), watch.watch),
        raw::Command::Ports { port, host, choice, watch } => {
            let query = port_query(port.as_deref(), choice)?;
            show(if host { View::MachinePorts(query) } else { View::Ports(query) }, watch)
        }
        raw::Command::Watch { host } => Command::Watch(host),
        raw::Command::Flows { host, watch } => show(View::Flows(host), watch),
        raw::Command::Capture(raw) => Command::Capture(capture(raw)?),
        raw::Command::Forward(raw) => forward(raw)?,
        raw::Command::Relay { to, at } => Command::Relay(argument::relay(&to, &at)?),
        raw::Command::Proxy => Command::Proxy,
        raw::Command::ProxyInBackground => Command::ProxyInBackground,
        raw::Command::Trust { print: true, .. } => Command::Trust(Trust::Print),
        raw::Command::Trust { remove: true, .. } => Command::Trust(Trust::Remove),
        raw::Command::Trust { .. } => Command::Trust(Trust::Install),
        raw::Command::Lease(raw) => Command::Lease(lease(raw)),
        raw::Command::KeepLease { lease: raw, port } => Command::KeepLease(lease(raw), port),
        raw::Command::Service { what } => Command::Service(argument::service(&what)?),
        raw::Command::Explain { target, from } => {
            let wrong = |why: String| {
                let usage = "minato explain PORT, HOST:PORT, IP:PORT or URL; /udp behind a port for UDP";
                Failure::usage(format!("'{target}' can't be explained: {why}")).fix(usage)
            };
            Command::Explain(target.parse().map_err(wrong)?, from)
        }
        raw::Command::Probe { destination, udp } => {
            use minato_ports::Transport;
            Command::Probe(destination, if udp { Transport::Udp } else { Transport::Tcp })
        }
        raw::Command::Resolve { name } => Command::Resolve(name),
        raw::Command::Filter { packets } => Command::Filter(packets),
        raw::Command::Doctor => Command::Doctor,
        raw::Command::Demo(raw) => {
            Command::Demo(Demo { without_ports: raw.without_ports, once: raw.once, port_base: raw.port_base })
        }
        raw::Command::Completions { shell } => Command::Completions(shell),
        raw::Command::Man { out } => Command::Man(out),
        raw::Command::Version => Command::Version,
        raw::Command::Engine(raw) => Command::Engine(raw.runtime_dir, raw.subnet),
        raw::Command::DemoPart(part) => Command::DemoPart(part),
    })
}

fn up(raw: raw::Up, network: Option<&Name>) -> Up {
    let choice = Choice { subnet: raw.subnet, ..choice(raw.files, network) };
    Up { choice, watch: raw.watch, detach: raw.detach }
}

fn choice(raw: raw::Files, network: Option<&Name>) -> Choice {
    Choice { files: raw.file, network: network.cloned(), instance: raw.instance, subnet: None }
}

fn run(raw: raw::Run) -> Result<Run, Failure> {
    Ok(Run {
        name: raw.name,
        subnet: raw.subnet,
        join: raw.join,
        forwards: forwards(&raw.publish)?,
        ephemeral_range: raw.ephemeral_range.as_deref().map(argument::ephemeral_range).transpose()?,
        host_ports: raw.host_port.iter().map(|text| argument::host_port(text)).collect::<Result<_, _>>()?,
        no_loopback: raw.no_loopback,
        direct: raw.direct,
        policy: argument::policy(&raw.allow, &raw.deny)?,
        program: program(raw.program)?,
    })
}

fn capture(raw: raw::Capture) -> Result<Capture, Failure> {
    let raw::Capture { host, port, write, count, snap_length } = raw;
    Ok(Capture { host, ports: port.as_deref().map(argument::ports).transpose()?, write, count, snap_length })
}

fn lease(raw: raw::Lease) -> Lease {
    let within = std::time::Duration::from_secs(raw.within.into());
    Lease { count: raw.count, key: raw.key, within }
}

fn forward(raw: raw::Forward) -> Result<Command, Failure> {
    Ok(match raw {
        raw::Forward::Add(change) => Command::AddForwards(change.host, which(&change.publish)?),
        raw::Forward::Rm(change) => Command::RemoveForwards(change.host, which(&change.publish)?),
        raw::Forward::Ls { host, watch } => show(View::Forwards(host), watch),
    })
}

fn which(texts: &[String]) -> Result<Which, Failure> {
    match texts {
        [all] if all == "all" => Ok(Which::All),
        _ => forwards(texts).map(Which::These),
    }
}

fn port_query(port: Option<&str>, choice: raw::PortChoice) -> Result<PortQuery, Failure> {
    let raw::PortChoice { of, process, tcp, udp, sort } = choice;
    let transport = match (tcp, udp) {
        (true, _) => Some(Transport::Tcp),
        (_, true) => Some(Transport::Udp),
        (false, false) => None,
    };
    Ok(PortQuery { filter: port.map(argument::ports).transpose()?, of, process, transport, sort })
}

fn show(view: View, watch: raw::Watch) -> Command {
    Command::Show(Show { view, watch: watch.watch })
}

fn program(raw: raw::Program) -> Result<Program, Failure> {
    let raw::Program { map_root, no_bind_watch, command } = raw;
    let mut words = command.into_iter();
    match words.next() {
        Some(name) if !name.is_empty() => {
            let identity = if map_root { Identity::MapRoot } else { Identity::Own };
            Ok(Program { name, arguments: words.collect(), identity, bind_watch: !no_bind_watch })
        }
        _ => Err(Failure::usage("the program to run has no name").fix("minato run -- PROGRAM [ARGUMENT]…")),
    }
}

/// Forwards that do not claim a port of the machine twice.
fn forwards(texts: &[String]) -> Result<Vec<ForwardSpec>, Failure> {
    let mut forwards: Vec<ForwardSpec> = Vec::new();
    for text in texts {
        let forward = argument::forward(text)?;
        if let Some(index) = forwards.iter().position(|other| claim_same(other, &forward)) {
            let first = forward.host_ports.0.max(forwards[index].host_ports.0);
            let title = format!("'-p {text}' and '-p {}' both claim port {first} of this machine", texts[index]);
            return Err(Failure::usage(title).fix("give each forward a port of the machine, or an address, of its own"));
        }
        forwards.push(forward);
    }
    Ok(forwards)
}

/// Whether both want one port of this machine.
pub(crate) fn claim_same(one: &ForwardSpec, other: &ForwardSpec) -> bool {
    let ports = one.host_ports.0 <= other.host_ports.1 && other.host_ports.0 <= one.host_ports.1;
    let places = addresses(one).any(|a| addresses(other).any(|b| in_each_others_way(a, b)));
    one.transport == other.transport && ports && places
}

/// What a forward binds: both loopback addresses unless one address is given.
fn addresses(forward: &ForwardSpec) -> impl Iterator<Item = IpAddr> {
    let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let given = forward.address.into_iter();
    given.chain(loopback.into_iter().filter(|_| forward.address.is_none()))
}

/// Equal addresses are, and the unspecified one is in the way of every other of its family.
fn in_each_others_way(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4() && (one == other || one.is_unspecified() || other.is_unspecified())
}
