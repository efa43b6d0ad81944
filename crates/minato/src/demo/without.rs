//! The story without ports: what an address can do when nothing but the address tells programs apart.
//!
//! Every program uses one and the same number on both ends, which is as good as none; the kernel's refusals are real.

use std::net::SocketAddr;

use super::report::Report;
use super::stage::{Actor, Host};
use super::story::unexpected;
use super::{CLIENT, SERVER, SERVICES};
use crate::client::Client;
use crate::commands::DONE;
use crate::failure::Failure;
use crate::flags::raw::DemoRole;
use crate::render;
use crate::terminal::Terminal;

/// The one number that everybody uses.
const ONLY: u16 = 1;

/// Tells it and ends.
pub(super) async fn tell(client: &Client, terminal: &Terminal) -> Result<u8, Failure> {
    let story = Story { client, terminal };
    story.say("Imagine a network without port numbers: an address names a machine, and nothing names a program on it.");
    story.say(&format!("To play it for real, every program below uses number {ONLY} on both ends: a number that all share tells nothing apart."));
    let host = Host::open(client, SERVER, Vec::new()).await?;
    let first = story.one_service(&host).await?;
    story.second_service(&host, &first).await?;
    let asking = Host::open(client, CLIENT, Vec::new()).await?;
    story.wrong_service(&host, &asking).await?;
    story.second_request(&host, &asking).await?;
    asking.close().await?;
    story.way_out(&host).await?;
    first.end().await;
    host.close().await?;
    story.act("With port numbers one address is enough: minato demo");
    Ok(DONE)
}

struct Story<'a> {
    client: &'a Client,
    terminal: &'a Terminal,
}

impl Story<'_> {
    async fn one_service(&self, host: &Host) -> Result<Actor, Failure> {
        let service = SERVICES[0];
        self.act("1. The first service takes the address, all of it");
        let mut actor = host.start(service.role, &[&ONLY.to_string()])?;
        match actor.expect().await? {
            Report::Bound { .. } => {
                let address = host.session.host.address_v4;
                self.say(&format!("   {:<12} process {:<8} has {address}", service.title, actor.pid));
            }
            other => return Err(unexpected(&other)),
        }
        Ok(actor)
    }

    async fn second_service(&self, host: &Host, first: &Actor) -> Result<(), Failure> {
        self.act("2. The second service is refused, and so is the third");
        for service in &SERVICES[1..] {
            let mut actor = host.start(service.role, &[&ONLY.to_string()])?;
            match actor.expect().await? {
                Report::BindRefused { reason, .. } => {
                    self.say(&format!("   {:<12} process {:<8} bind refused: {reason}", service.title, actor.pid));
                }
                other => return Err(unexpected(&other)),
            }
            actor.end().await;
        }
        let rows = self.client.ports().await.map_err(|error| error.into_failure(self.client))?;
        let row = rows.iter().find(|row| row.host.as_deref() == Some(host.name()) && row.port == ONLY);
        let holder = row.map_or_else(|| "unknown".into(), |row| render::holders(&row.processes, row.process_unknown));
        self.say(&format!(
            "   why: {} is held by {holder} (the {}, process {})",
            host.session.host.address_v4, SERVICES[0].title, first.pid
        ));
        self.say(
            "   Data for this address can go to one program only: there is nothing in a packet that says which other.",
        );
        Ok(())
    }

    async fn wrong_service(&self, host: &Host, asking: &Host) -> Result<(), Failure> {
        let place = SocketAddr::from((host.session.host.address_v4, ONLY));
        self.act(&format!("3. Host '{}' wants to hand mail to {}", asking.name(), place.ip()));
        let mut client = asking.start(DemoRole::Client, &[&place.to_string(), "--speaks", "mail"])?;
        loop {
            match client.expect().await? {
                Report::Answered { text, .. } => {
                    self.say(&format!(
                        "   it expects “220 …” of a mail server, and gets “{}”",
                        render::printable(&text)
                    ));
                    self.say(&format!(
                        "   The {} took it: the address could not say what was wanted.",
                        SERVICES[0].title
                    ));
                    client.end().await;
                    return Ok(());
                }
                Report::Connected { .. } => {}
                other => return Err(unexpected(&other)),
            }
        }
    }

    async fn second_request(&self, host: &Host, asking: &Host) -> Result<(), Failure> {
        let place = SocketAddr::from((host.session.host.address_v4, ONLY));
        self.act(&format!("4. Host '{}' makes two requests to {} at the same time", asking.name(), place.ip()));
        let both = [&place.to_string(), "--parallel", "2", "--source-port", &ONLY.to_string()];
        let mut client = asking.start(DemoRole::Client, &both)?;
        for number in 1..=2 {
            match client.expect().await? {
                Report::Connected { source } => {
                    self.say(&format!("   request {number}    {} → {}", source.ip(), place.ip()));
                }
                Report::BindRefused { reason, .. } => self.say(&format!("   request {number}    refused: {reason}")),
                other => return Err(unexpected(&other)),
            }
        }
        self.say("   Two answers would come back to one address, and nobody could tell which is whose.");
        client.end().await;
        Ok(())
    }

    async fn way_out(&self, host: &Host) -> Result<(), Failure> {
        self.act("5. The only way out: an address for each service");
        self.say(&format!("   {:<12} {}", SERVICES[0].title, host.session.host.address_v4));
        let mut others = Vec::new();
        for service in &SERVICES[1..] {
            let other = Host::open(self.client, &format!("{SERVER}-{}", service.role.word()), Vec::new()).await?;
            let mut actor = other.start(service.role, &[&ONLY.to_string()])?;
            match actor.expect().await? {
                Report::Bound { .. } => self.say(&format!(
                    "   {:<12} {}, process {}: bind succeeds",
                    service.title, other.session.host.address_v4, actor.pid
                )),
                report => return Err(unexpected(&report)),
            }
            others.push((other, actor));
        }
        let addresses = 1 + others.len();
        for (other, actor) in others {
            actor.end().await;
            other.close().await?;
        }
        self.say(&format!("   {} services, {addresses} addresses.", SERVICES.len()));
        Ok(())
    }

    fn act(&self, title: &str) {
        self.say("");
        self.say(title);
    }

    fn say(&self, line: &str) {
        self.terminal.print(&format!("{line}\n"));
    }
}
