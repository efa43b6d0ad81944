//! The story with ports: three services on one address, two requests to one of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::report::Report;
use super::stage::{Actor, Host};
use super::{CLIENT, SERVER, SERVICES, Service};
use crate::client::{Client, News, network_flag};
use crate::commands::DONE;
use crate::failure::{Failure, code};
use crate::flags::Demo;
use crate::flags::raw::DemoRole;
use crate::program::Signals;
use crate::render;
use crate::terminal::Terminal;

/// Tells it, and stays up until somebody ends it.
pub(super) async fn tell(demo: Demo, client: &Client, terminal: &Terminal) -> Result<u8, Failure> {
    let mut signals = Signals::catch()?;
    let forwards = SERVICES.map(|service| service.forward(demo.port_base)).to_vec();
    let host = Host::open(client, SERVER, forwards).await.map_err(|failure| offer_other_ports(failure, demo))?;
    let story = Story { demo, client, terminal };
    let told = tokio::select! {
        told = story.all(&host) => told,
        _ = signals.next() => Ok(None),
    };
    match told? {
        Some(cast) if !demo.once => story.stay(cast, host, &mut signals).await,
        Some(cast) => {
            for actor in cast.actors {
                actor.end().await;
            }
            story.end(host).await
        }
        None => story.end(host).await,
    }
}

/// A forward's port is taken: no substitute is chosen silently, but one is offered.
fn offer_other_ports(failure: Failure, demo: Demo) -> Failure {
    let free = |base: &u16| SERVICES.iter().all(|service| is_free(service.host_port(*base)));
    if failure.code != code::CONFLICT || free(&demo.port_base) {
        return failure;
    }
    let fixes = (1..=56).map(|step| demo.port_base.saturating_add(step * 1000)).find(free);
    let fixes = fixes.map(|base| format!("minato demo --port-base {base}")).into_iter().collect();
    Failure { fixes, ..failure }
}

/// Whether a port can be had on both loopback addresses; a machine without IPv6 has only one.
fn is_free(port: u16) -> bool {
    let taken = |address: IpAddr| {
        let bound = std::net::TcpListener::bind((address, port));
        bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    !taken(Ipv4Addr::LOCALHOST.into()) && !taken(Ipv6Addr::LOCALHOST.into())
}

/// What stands before the lines of an act.
const INDENT: &str = "   ";

/// What the acts of the story share.
struct Story<'a> {
    demo: Demo,
    client: &'a Client,
    terminal: &'a Terminal,
}

/// The servers, in the order of [`SERVICES`].
struct Cast {
    actors: [Actor; SERVICES.len()],
}

impl Cast {
    /// Waits until a server has taken a connection, and says whose.
    async fn delivered(&mut self, index: usize) -> Result<SocketAddr, Failure> {
        match self.actors[index].expect().await? {
            Report::Accepted { client, .. } => Ok(client),
            other => Err(unexpected(&other)),
        }
    }

    /// The next thing that any of them tells. May be cancelled and called again.
    async fn next(&mut self) -> (usize, Option<Report>) {
        let [web, mail, files] = &mut self.actors;
        tokio::select! {
            report = web.next() => (0, report),
            report = mail.next() => (1, report),
            report = files.next() => (2, report),
        }
    }
}

async fn connected(asking: &mut Actor) -> Result<SocketAddr, Failure> {
    match asking.expect().await? {
        Report::Connected { source } => Ok(source),
        other => Err(unexpected(&other)),
    }
}

impl Story<'_> {
    async fn all(&self, host: &Host) -> Result<Option<Cast>, Failure> {
        self.say("An IP address names a machine. A port number names the program on it. Watch:");
        self.one_address(host);
        let mut cast = self.three_binds(host).await?;
        let client = Host::open(self.client, CLIENT, Vec::new()).await?;
        let closed = async {
            self.two_requests(host, &client, &mut cast).await?;
            self.other_ports(host, &client, &mut cast).await
        };
        let acts = closed.await;
        client.close().await?;
        acts?;
        self.through_the_forward(&mut cast).await?;
        Ok(Some(cast))
    }

    fn one_address(&self, host: &Host) {
        let host = &host.session.host;
        self.act(&format!("1. Host '{}' gets an address of its own", host.name));
        self.say(&format!(
            "   {}, each with 65,535 ports for TCP and as many for UDP",
            crate::render::addresses(host.addresses())
        ));
    }

    async fn three_binds(&self, host: &Host) -> Result<Cast, Failure> {
        self.act("2. Three programs bind, each to a port of its own");
        let start = |service: Service| host.start(service.role, &[&service.port.to_string()]);
        let mut actors = [start(SERVICES[0])?, start(SERVICES[1])?, start(SERVICES[2])?];
        for (service, actor) in SERVICES.into_iter().zip(&mut actors) {
            match actor.expect().await? {
                Report::Bound { local } => {
                    self.say(&format!(
                        "   {:<12} process {:<8} bind → port {}",
                        service.title,
                        actor.pid,
                        local.port()
                    ));
                }
                other => return Err(unexpected(&other)),
            }
        }
        let mut rows = self.client.ports().await.map_err(|error| error.into_failure(self.client))?;
        rows.retain(|row| row.host.as_deref() == Some(host.name()));
        self.say(&format!("   As 'minato{} ports' shows it:", network_flag(self.client.directory())));
        render::ports(&rows, &self.terminal.look.narrower(INDENT.len()))
            .lines()
            .for_each(|line| self.say(&format!("{INDENT}{line}")));
        Ok(Cast { actors })
    }

    async fn two_requests(&self, host: &Host, client: &Host, cast: &mut Cast) -> Result<(), Failure> {
        let service = SERVICES[0];
        let place = SocketAddr::from((host.session.host.address_v4, service.port));
        let (first, last) = client.session.host.ephemeral_range;
        self.act(&format!("3. Host '{}' asks {place} twice at the same time", client.name()));
        self.say(&format!("   Its kernel chooses an ephemeral port, out of {first}–{last}, for each:"));
        let mut asking = client.start(DemoRole::Client, &[&place.to_string(), "--parallel", "2"])?;
        let mut sources = Vec::new();
        for number in 1..=2 {
            let source = connected(&mut asking).await?;
            self.say(&format!("   request {number}    {source} → {place}"));
            sources.push(source);
        }
        for _ in &sources {
            let from = cast.delivered(0).await?;
            let number = sources.iter().position(|source| *source == from).map_or(0, |index| index + 1);
            let pid = cast.actors[0].pid;
            self.say(&format!(
                "   delivered    request {number}, from port {}, to the {}, process {pid}",
                from.port(),
                service.title
            ));
        }
        for _ in &sources {
            self.answer_and_release(&mut asking).await?;
        }
        self.say("   One address, one port, one process: the ports of the client tell its two requests apart.");
        asking.end().await;
        Ok(())
    }

    async fn other_ports(&self, host: &Host, client: &Host, cast: &mut Cast) -> Result<(), Failure> {
        self.act("4. The same address, other ports: other programs");
        for (index, service) in SERVICES.into_iter().enumerate().skip(1) {
            let place = SocketAddr::from((host.session.host.address_v4, service.port));
            let mut asking = self.ask(client, service, place)?;
            let source = connected(&mut asking).await?;
            self.say(&format!("   connection   {source} → {place}"));
            cast.delivered(index).await?;
            self.say(&format!("   delivered    to the {}, process {}", service.title, cast.actors[index].pid));
            self.answer_and_release(&mut asking).await?;
            asking.end().await;
        }
        Ok(())
    }

    fn ask(&self, client: &Host, service: Service, place: SocketAddr) -> Result<Actor, Failure> {
        client.start(DemoRole::Client, &[&place.to_string(), "--speaks", service.role.word()])
    }

    async fn answer_and_release(&self, asking: &mut Actor) -> Result<(), Failure> {
        match asking.expect().await? {
            Report::Answered { source, text } => {
                self.say(&format!("   answer       to port {}: “{}”", source.port(), render::printable(&text)));
            }
            other => return Err(unexpected(&other)),
        }
        match asking.expect().await? {
            Report::Released { source, after_micros: Some(after) } => {
                self.say(&format!("   released     port {} is free again, {after} µs after close", source.port()));
            }
            Report::Released { source, after_micros: None } => {
                self.say(&format!("   not released port {} is still taken a second after close", source.port()));
            }
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }

    async fn through_the_forward(&self, cast: &mut Cast) -> Result<(), Failure> {
        let service = SERVICES[0];
        let place = SocketAddr::from((Ipv4Addr::LOCALHOST, service.host_port(self.demo.port_base)));
        self.act("5. This machine's ports lead to them");
        for service in SERVICES {
            let port = service.host_port(self.demo.port_base);
            self.say(&format!(
                "   127.0.0.1:{port} → {SERVER}:{}    {}",
                service.port,
                service.trial(self.demo.port_base)
            ));
        }
        let stream = tokio::net::TcpStream::connect(place).await;
        let stream =
            stream.map_err(|error| Failure::caused(format!("cannot connect to the forward {place}"), error))?;
        let source = stream.local_addr().map_err(|error| Failure::caused("cannot see the own port", error))?;
        let from = cast.delivered(0).await?;
        self.say(&format!(
            "   tried        {source} → {place}, delivered to the {} as coming from {from}",
            service.title
        ));
        Ok(())
    }

    /// Shows every connection until somebody ends the demo.
    async fn stay(&self, mut cast: Cast, mut host: Host, signals: &mut Signals) -> Result<u8, Failure> {
        let flag = network_flag(self.client.directory());
        self.act("It stays up. Try it from another terminal; Ctrl-C ends it.");
        for view in ["ps", "ports", "flows", "exec demo -- bash"] {
            self.say(&format!("   minato{flag} {view}"));
        }
        loop {
            tokio::select! {
                arrival = cast.next() => match arrival {
                    (index, Some(Report::Accepted { client, local })) => self.say(&format!(
                        "   {client} → port {} → {}, process {}",
                        local.port(), SERVICES[index].title, cast.actors[index].pid
                    )),
                    (_, Some(_)) => {}
                    (index, None) => return self.server_ended(index, host, signals).await,
                },
                news = host.session.news() => match news {
                    News::Warning(message) => self.terminal.warn(&message),
                    News::BindFailed(failure) => self.terminal.report(&failure),
                    News::EngineEnded(reason) => return Err(Failure::caused("the engine ended, and the demo with it", reason)),
                },
                _ = signals.next() => return self.end(host).await,
            }
        }
    }

    /// A server is gone: with all of them when the user wants that, for Ctrl-C reaches them too, or by itself.
    async fn server_ended(&self, index: usize, host: Host, signals: &mut Signals) -> Result<u8, Failure> {
        let asked = tokio::time::timeout(Duration::from_millis(500), signals.next()).await;
        let ended = self.end(host).await?;
        match asked {
            Ok(_) => Ok(ended),
            Err(_) => Err(Failure::new(code::FAILED, format!("the {} of the demo has ended", SERVICES[index].title))),
        }
    }

    async fn end(&self, host: Host) -> Result<u8, Failure> {
        host.close().await?;
        self.act("Ended: programs, ports and addresses are all released.");
        Ok(DONE)
    }

    fn act(&self, title: &str) {
        self.say("");
        self.say(title);
    }

    fn say(&self, line: &str) {
        self.terminal.print(&format!("{line}\n"));
    }
}

/// A program of the demo told something else than the story needs.
pub(super) fn unexpected(report: &Report) -> Failure {
    match report {
        Report::BindRefused { wanted, reason } => {
            Failure::new(code::CONFLICT, format!("cannot bind {wanted}: {reason}"))
        }
        other => Failure::new(code::FAILED, format!("a program of the demo did something else: {other:?}")),
    }
}
