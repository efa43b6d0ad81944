//! What is so, in tests.

use std::net::SocketAddr;

use minato_host::firewall::{Fate, RuleName, Stop, Tool};
use minato_inspect::{AcceptQueue, EgressVerdict, Forward, ForwardState, PortRow, Transport};

use crate::explain::diagnose::diagnose;
use crate::explain::facts::{Facts, Network, Subject, Trial};
use crate::explain::firewall::{Filtered, Firewall};
use crate::explain::probe::Outcome;
use crate::flags::Name;
use crate::render::widths::whole;
use crate::render::{self, samples};

/// What is so, in a test: told by a few words, seen as an unprivileged user.
#[derive(Clone)]
pub(super) struct World(pub(super) Facts);

impl World {
    pub(super) fn new(subject: Subject) -> World {
        World(Facts {
            subject,
            from: None,
            network_name: Name::default(),
            network_flag: String::new(),
            network: None,
            others: Vec::new(),
            machine: Ok(Vec::new()),
            trials: Vec::new(),
            verdicts: Vec::new(),
            tls: None,
            first_bindable: 1024,
            user: 1000,
            is_root: false,
            stopped: Vec::new(),
            next_free: Some(8081),
            firewalls: Vec::new(),
        })
    }

    pub(super) fn machine() -> World {
        World::new(Subject::Machine(vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]))
    }

    pub(super) fn network(&mut self) -> &mut Network {
        self.0.network.get_or_insert_with(|| Network { hosts: samples::hosts(), ..Network::default() })
    }

    pub(super) fn service(mut self, host: &str, address: &str, port: u16) -> World {
        let row = row(Some(host), address, port);
        self.network().services.push(row);
        self
    }

    pub(super) fn forward(mut self, from: &str, host: &str, port: u16) -> World {
        let from: SocketAddr = from.parse().unwrap();
        let forward = samples::forward(from.ip(), from.port(), host, port, ForwardState::Open);
        let leads = |row: &&mut PortRow| row.host.as_deref() == Some(host) && row.port == port;
        self.network().services.iter_mut().filter(leads).for_each(|row| row.forwarded_from.push(forward.clone()));
        self.network().forwards.push(forward);
        self
    }

    /// What a host has at its own address on the machine.
    pub(super) fn own_forward(mut self, from: &str, host: &str) -> World {
        let from: SocketAddr = from.parse().unwrap();
        let forward = samples::forward(from.ip(), from.port(), host, from.port(), ForwardState::Open);
        self.network().forwards.push(Forward { automatic: true, ..forward });
        self
    }

    pub(super) fn held(mut self, address: &str, port: u16) -> World {
        self.0.machine.as_mut().unwrap().push(row(None, address, port));
        self
    }

    /// Another program on the same address and port, with `SO_REUSEPORT`.
    pub(super) fn shared(mut self, address: &str, port: u16, name: &str) -> World {
        let row = PortRow { processes: vec![samples::process(77, name)], ..row(None, address, port) };
        self.0.machine.as_mut().unwrap().push(row);
        self
    }

    /// Makes what was added last a relay.
    pub(super) fn relay(mut self, to: &str) -> World {
        let rows = self.0.network.as_mut().map(|network| &mut network.services);
        let last = rows.and_then(|rows| rows.last_mut()).or(self.0.machine.as_mut().unwrap().last_mut());
        let command = ["/usr/bin/minato", "relay", "--to", to, "x"].map(str::to_owned).to_vec();
        last.unwrap().processes = vec![minato_inspect::Process { command, ..samples::process(78, "minato") }];
        self
    }

    pub(super) fn stopped(mut self, pid: u32) -> World {
        self.0.stopped.push(pid);
        self
    }

    pub(super) fn queue(mut self, waiting: u32, limit: u32) -> World {
        let rows = self.0.network.as_mut().map(|network| &mut network.services);
        let last = rows.and_then(|rows| rows.last_mut()).or(self.0.machine.as_mut().unwrap().last_mut());
        last.unwrap().accept_queue = Some(AcceptQueue { waiting, limit });
        self
    }

    pub(super) fn firewall(mut self, host: Option<&str>, destination: &str, fate: fn(Stop) -> Fate) -> World {
        let (tool, table, chain) = (Tool::Nft("inet".into()), "filter".into(), "input".into());
        let fate = fate(Stop { tool, table, chain, rule: Some(RuleName::Handle(4)), rejects: false });
        let filtered = Filtered { fates: vec![(destination.parse().unwrap(), fate)], unread: Vec::new() };
        self.0.firewalls.push(Firewall { host: host.map(str::to_owned), outcome: Ok(filtered) });
        self
    }

    /// A rule of the older iptables, and one that can't be read.
    pub(super) fn older_firewall(mut self, destination: &str, rule: Option<&str>) -> World {
        let (table, chain) = ("filter".into(), "INPUT".into());
        let rule = rule.map(|words| RuleName::Words(words.into()));
        let fate = Fate::Stopped(Stop { tool: Tool::Iptables, table, chain, rule, rejects: true });
        let unread = vec!["there are rules of iptables (tables filter), and ip6tables-legacy-save: not found".into()];
        let filtered = Filtered { fates: vec![(destination.parse().unwrap(), fate)], unread };
        self.0.firewalls.push(Firewall { host: None, outcome: Ok(filtered) });
        self
    }

    /// What the policy of the host says that is asked from.
    pub(super) fn policy(mut self, allowed: bool, reason: &str, allow: Option<&str>) -> World {
        let (reason, allow) = (reason.into(), allow.map(str::to_owned));
        self.0.verdicts.push(EgressVerdict { allowed, rule: None, reason, allow });
        self.0.from = Some("web".into());
        self
    }

    pub(super) fn from(mut self, host: &str) -> World {
        self.0.from = Some(host.into());
        self
    }

    /// Another network of the user's, which has a host `web` and forwards a port to it.
    pub(super) fn beside(mut self, network: &str, from: &str) -> World {
        let from: SocketAddr = from.parse().unwrap();
        let forwards = vec![samples::forward(from.ip(), from.port(), "web", 80, ForwardState::Open)];
        let hosts = samples::hosts().into_iter().filter(|host| host.name == "web").collect();
        let name = network.parse().expect("a name");
        self.0.others.push(Network { name, hosts, forwards, ..Network::default() });
        self
    }

    /// Services of that network's host, reached by nothing of this machine.
    pub(super) fn serves_beside(mut self, address: &str, port: u16) -> World {
        self.0.others.last_mut().unwrap().services.push(row(Some("web"), address, port));
        self
    }

    /// Changes what was added last to UDP.
    pub(super) fn udp(mut self) -> World {
        let rows = self.0.network.as_mut().map(|network| &mut network.services);
        let last = rows.and_then(|rows| rows.last_mut()).or(self.0.machine.as_mut().unwrap().last_mut());
        last.unwrap().transport = Transport::Udp;
        self
    }

    pub(super) fn tried(mut self, destination: &str, outcome: Outcome) -> World {
        self.0.trials.push(Trial { from: None, destination: destination.parse().unwrap(), outcome });
        self
    }

    pub(super) fn explain(&self, target: &str) -> String {
        let explanation = diagnose(&target.parse().expect("a target"), &self.0);
        let text = whole(|look| render::explanation(&explanation, look));
        format!("$ minato explain {target}\n{text}-> {}\n\n", explanation.code)
    }
}

pub(super) fn row(host: Option<&str>, address: &str, port: u16) -> PortRow {
    PortRow {
        host: host.map(str::to_owned),
        addresses: address.split(' ').map(|address| address.parse().unwrap()).collect(),
        port,
        processes: vec![samples::process(u32::from(port), "server")],
        listening: true,
        forwarded_from: Vec::<Forward>::new(),
        ..samples::ports()[1].clone()
    }
}
