//! From what files say to what is to be done: defaults, cross-references, and what contradicts itself.

mod order;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::draft::{Draft, HostDraft, ProgramDraft};
use super::plan::{FREE_PORTS, Forward, HostPlan, HostPorts, Plan, ReadyPort, ServicePlan, instance_label};
use super::ports::PortKey;
use super::problem::{At, Place, Problem, Sources};
use super::{Choice, environment};
use crate::flags::{self, Name};
use minato_engine::FixedSubnet;

/// How long programs may take to end unless the file says so.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Most characters of a label.
const LABEL: usize = 63;

/// Makes sense of a draft. What does not is noted in `problems`; `None` means that there are some.
pub(super) fn plan(draft: &Draft, choice: &Choice, sources: &Sources, problems: &mut Vec<Problem>) -> Option<Plan> {
    let network = network(draft, choice, sources, problems);
    // An instance leaves the file's subnet, as its ports, to the one that is none.
    let of_file = draft.subnet.as_ref().filter(|_| choice.instance.is_none()).map(|subnet| subnet.value);
    let subnet = choice.subnet.or(of_file);
    if let Some(problem) = too_many_hosts(draft, choice, subnet) {
        problems.push(problem);
        return None;
    }
    let mut resolver = Resolver { sources, problems, env_files: Vec::new() };
    if draft.hosts.is_empty() {
        let start = Place { file: 0, start: 0, end: 0 };
        let problem = Problem::new("this file has no host", start, "nothing to run");
        resolver.problems.push(problem.help("[host.web]\ncommand = \"nginx -g 'daemon off;'\""));
    }
    resolver.check_claims(draft);
    resolver.check_dependencies(draft);
    resolver.check_networks(draft, network.as_ref());
    let hosts: Vec<HostPlan> = draft
        .hosts
        .iter()
        .filter_map(|(name, host)| resolver.host(name, host, draft, choice.instance.is_some()))
        .collect();
    let files = sources.paths().map(Path::to_owned).chain(resolver.env_files).collect();
    if !problems.is_empty() {
        return None;
    }
    Some(Plan { network: network?, subnet, instance: choice.instance.clone(), files, hosts: order::in_order(hosts) })
}

/// Whether the network's subnet has no addresses for all hosts.
fn too_many_hosts(draft: &Draft, choice: &Choice, subnet: Option<FixedSubnet>) -> Option<Problem> {
    let most = usize::try_from(minato_engine::most_hosts(subnet)).ok()?;
    let (first_too_many, _) = draft.hosts.get(most)?;
    let range = subnet.map_or_else(|| "a network's subnet".to_owned(), |subnet| format!("the subnet {subnet}"));
    let what = format!("{} hosts are too many: {range} has addresses for {most}", draft.hosts.len());
    let problem = Problem::new(what, first_too_many.place, "the first that would have none");
    // What the file says does not count for an instance, nor beside the flag.
    let larger = match &choice.instance {
        Some(instance) => format!("minato up --instance {instance} --subnet 10.99.0.0/20"),
        None if choice.subnet.is_some() => "minato up --subnet 10.99.0.0/20".to_owned(),
        None => "subnet = \"10.99.0.0/20\"".to_owned(),
    };
    Some(problem.help(format!("{larger}    # a larger one, or several networks, which a host can join")))
}

/// The network's name: from the command line, the file, or the file's directory; and the instance.
pub(super) fn network(draft: &Draft, choice: &Choice, sources: &Sources, problems: &mut Vec<Problem>) -> Option<Name> {
    let directory = sources.directory(0).file_name().map(|name| name.to_string_lossy().into_owned());
    let named = choice.network.clone().or_else(|| draft.network.as_ref().map(|network| network.value.clone()));
    let place = draft.network.as_ref().map_or(Place { file: 0, start: 0, end: 0 }, |network| network.place);
    let Some(name) = named.or_else(|| instance_label(&directory.unwrap_or_default())) else {
        let problem = Problem::new("this network has no name", place, "its directory has none that could be used");
        problems.push(problem.help("network = \"NAME\""));
        return None;
    };
    let full = with_instance(&name, choice.instance.as_ref());
    full.map_err(|why| problems.push(Problem::new(why, place, format!("a name has at most {LABEL} characters")))).ok()
}

/// The name of an instance's network.
pub(super) fn with_instance(network: &Name, instance: Option<&Name>) -> Result<Name, String> {
    let Some(instance) = instance else { return Ok(network.clone()) };
    let full = format!("{network}-{instance}");
    full.parse().map_err(|_| format!("'{full}' is too long for the name of a network"))
}

struct Resolver<'a> {
    sources: &'a Sources,
    problems: &'a mut Vec<Problem>,
    env_files: Vec<PathBuf>,
}

impl Resolver<'_> {
    fn host(&mut self, name: &At<Name>, host: &HostDraft, draft: &Draft, is_instance: bool) -> Option<HostPlan> {
        let forwards = self.forwards(host, is_instance);
        let ready = self.ready(host);
        let default_port = forwarded(host).next();
        let policy = host.policy.resolve(&draft.policy, self.problems);
        let services = self.services(name, host, draft, default_port)?;
        Some(HostPlan {
            name: name.value.clone(),
            services,
            forwards,
            ready,
            ready_command: host.ready_command.as_ref().map(|command| command.value.clone()),
            depends_on: values(host.depends_on.as_ref()),
            ephemeral_range: host.ephemeral_range.as_ref().map(|range| range.value),
            host_ports: values(host.host_ports.as_ref()),
            policy,
            networks: values(host.networks.as_ref()),
            stop_timeout: host.stop_timeout.as_ref().map_or(STOP_TIMEOUT, |timeout| timeout.value),
        })
    }

    /// An instance leaves the file's ports of the machine to the one that is none.
    fn forwards(&mut self, host: &HostDraft, is_instance: bool) -> Vec<Forward> {
        let mut forwards = Vec::new();
        for (key, lines) in &host.ports {
            for line in lines.value.iter().flatten() {
                let mut forward = line.forward(key.value);
                if let (HostPorts::Fixed(first, last), true) = (forward.host_ports, is_instance) {
                    forward.host_ports = HostPorts::InsteadOf(first, last);
                }
                if forward.fixed().is_none() && key.value.last - key.value.first >= FREE_PORTS.end - FREE_PORTS.start {
                    let message = format!("ports {} are too many to be led to from free ones", key.value.shown());
                    let why = format!("free ports are looked for from {FREE_PORTS:?}");
                    self.problems.push(Problem::new(message, lines.place, why));
                }
                forwards.push(forward);
            }
        }
        forwards
    }

    /// The programs of a host: its own, or its services.
    fn services(
        &mut self,
        name: &At<Name>,
        host: &HostDraft,
        draft: &Draft,
        default_port: Option<PortKey>,
    ) -> Option<Vec<ServicePlan>> {
        let everywhere = ProgramDraft { environment: draft.environment.clone(), ..ProgramDraft::default() };
        let own = host.program.clone().over(everywhere);
        match (&host.program.command, host.services.as_slice()) {
            (Some(_), []) => self.service(None, &name.place, own, default_port).map(|service| vec![service]),
            (None, []) => {
                let what = format!("host '{}' runs nothing", name.value);
                let problem = Problem::new(what, name.place, "no command");
                self.problems
                    .push(problem.help("command = \"PROGRAM ARGUMENT…\", or several as [host.HOST.service.NAME]"));
                None
            }
            (Some(command), [(service, _), ..]) => {
                let what = format!("host '{}' has a command and services", name.value);
                let problem = Problem::new(what, command.place, "one program").and(service.place, "and several");
                self.problems.push(problem.help("make the command a service with a name too"));
                None
            }
            (None, services) => {
                let all: Vec<_> = services
                    .iter()
                    .map(|(service, program)| {
                        let program = program.clone().over(ProgramDraft { ready: None, ..own.clone() });
                        self.service(Some(&service.value), &service.place, program, default_port)
                    })
                    .collect();
                all.into_iter().collect()
            }
        }
    }

    fn service(
        &mut self,
        name: Option<&Name>,
        place: &Place,
        program: ProgramDraft,
        default_port: Option<PortKey>,
    ) -> Option<ServicePlan> {
        let Some(command) = program.command else {
            self.problems.push(Problem::new("this service runs nothing", *place, "no command"));
            return None;
        };
        if let (Some(direct), Some(watch)) = (&program.direct, &program.bind_watch)
            && direct.value
            && !watch.value
        {
            let what = "direct connections need the bind watch";
            self.problems.push(Problem::new(what, direct.place, "needs it").and(watch.place, "turns it off"));
        }
        let mut variables = BTreeMap::new();
        // Everything that is wrong is told, not only the first.
        let files: Vec<_> = program.env_file.iter().flatten().map(|file| self.env_file(file)).collect();
        let directory = self.directory(program.directory.as_ref());
        variables.extend(files.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten());
        variables.extend(program.environment.into_iter().map(|(name, value)| (name.value, value)));
        let port = program.ready.as_ref().and_then(|ready| ready.first()).map(|port| port.value).or(default_port);
        Some(ServicePlan {
            name: name.cloned(),
            command: command.value,
            environment: variables,
            directory: directory?,
            restart: program.restart.map(|restart| restart.value).unwrap_or_default(),
            map_root: program.map_root.is_some_and(|map_root| map_root.value),
            bind_watch: program.bind_watch.is_none_or(|bind_watch| bind_watch.value),
            direct: program.direct.is_some_and(|direct| direct.value),
            port: port.map(|port| port.first),
        })
    }

    fn directory(&mut self, directory: Option<&At<String>>) -> Option<PathBuf> {
        let Some(directory) = directory else { return Some(self.sources.directory(0).to_owned()) };
        let path = self.sources.directory(directory.place.file).join(&directory.value);
        if !path.is_dir() {
            let what = format!("there is no directory {}", path.display());
            self.problems.push(Problem::new(what, directory.place, "relative to this file"));
            return None;
        }
        Some(path)
    }

    fn env_file(&mut self, file: &At<String>) -> Option<Vec<(String, String)>> {
        let path = self.sources.directory(file.place.file).join(&file.value);
        let read = match std::fs::read_to_string(&path) {
            Ok(text) => environment::read(&text).map_err(|(line, why)| format!("{}:{line}: {why}", path.display())),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        };
        if !self.env_files.contains(&path) {
            self.env_files.push(path);
        }
        match read {
            Ok(variables) => Some(variables),
            Err(why) => {
                self.problems.push(Problem::new(why, file.place, "this file, relative to the one that names it"));
                None
            }
        }
    }

    /// What must listen: `ready`, or else the ports of the host and what its services call ready.
    fn ready(&mut self, host: &HostDraft) -> Vec<ReadyPort> {
        let of_services = host.services.iter().flat_map(|(_, service)| service.ready.iter().flatten());
        let of_services: Vec<PortKey> = of_services.map(|port| port.value).collect();
        let own: Vec<PortKey> = match &host.program.ready {
            Some(ready) => ready.iter().map(|port| port.value).collect(),
            // A range is room for ports that come and go.
            None => forwarded(host).filter(|key| key.first == key.last).collect(),
        };
        let mut ports: Vec<ReadyPort> = own.into_iter().chain(of_services).flat_map(PortKey::each).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Refuses two forwards that claim one port of the machine.
    fn check_claims(&mut self, draft: &Draft) {
        let mut claims: Vec<(minato_inspect::ForwardSpec, &Name, Place)> = Vec::new();
        for (name, host) in &draft.hosts {
            for (key, lines) in &host.ports {
                let forwards = lines.value.iter().flatten().map(|line| line.forward(key.value));
                for spec in forwards.filter_map(|forward| forward.fixed()) {
                    if let Some((_, other, place)) = claims.iter().find(|(other, ..)| flags::claim_same(other, &spec)) {
                        let what = format!("'{other}' and '{}' both claim a port of this machine", name.value);
                        self.problems.push(Problem::new(what, lines.place, "again").and(*place, "first here"));
                    }
                    claims.push((spec, &name.value, lines.place));
                }
            }
        }
    }

    /// Refuses networks that a host can't join: its own, and one twice.
    fn check_networks(&mut self, draft: &Draft, own: Option<&Name>) {
        for (name, host) in &draft.hosts {
            let networks = host.networks.as_deref().unwrap_or_default();
            for (index, network) in networks.iter().enumerate() {
                if Some(&network.value) == own {
                    let what = format!("host '{}' is in network '{}' anyway", name.value, network.value);
                    self.problems.push(Problem::new(what, network.place, "its own network"));
                }
                if let Some(first) = networks[..index].iter().find(|other| other.value == network.value) {
                    let what = format!("host '{}' joins network '{}' twice", name.value, network.value);
                    self.problems.push(Problem::new(what, network.place, "again").and(first.place, "first here"));
                }
            }
        }
    }

    /// Refuses hosts that depend on what is not there, or on themselves.
    fn check_dependencies(&mut self, draft: &Draft) {
        let waits = order::Waits::of(draft);
        for (name, dependent) in &draft.hosts {
            for on in dependent.depends_on.iter().flatten() {
                if !waits.knows(&on.value) {
                    let names: Vec<&str> = draft.hosts.iter().map(|(name, _)| name.value.as_str()).collect();
                    let what = format!("there is no host '{}' to depend on", on.value);
                    let problem = Problem::new(what, on.place, "this one");
                    self.problems.push(problem.help(format!("hosts: {}", names.join(", "))));
                } else if waits.for_each_other(&name.value, &on.value) {
                    let what = format!("host '{}' would wait for itself", name.value);
                    self.problems.push(Problem::new(what, on.place, "this host waits, in the end, for that one"));
                }
            }
        }
    }
}

/// The ports of a host to which something leads, unless an upper file has taken that away.
fn forwarded(host: &HostDraft) -> impl Iterator<Item = PortKey> {
    host.ports.iter().filter(|(_, lines)| lines.value.is_some()).map(|(key, _)| key.value)
}

fn values<T: Clone>(list: Option<&Vec<At<T>>>) -> Vec<T> {
    list.into_iter().flatten().map(|one| one.value.clone()).collect()
}
