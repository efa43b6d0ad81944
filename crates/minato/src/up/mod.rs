//! `minato up`: a file's network, from its first host to its last. docs/adr/0010 says why it is made like this.
//!
//! The supervisor is a process of the user's: `up` itself, or with `-d` one that it leaves behind. It holds a session
//! for each host ([`host`]), runs the programs ([`service`]), writes down what they say ([`mod@logs`]), and is found by other
//! commands through what it leaves in the network's directory ([`presence`]). What is known about hosts is one map of
//! states ([`board`]) that everybody who waits for something watches.

mod board;
mod changes;
mod context;
mod detach;
mod display;
mod down;
mod environment;
mod forwards;
mod group;
mod host;
mod listening;
mod logs;
mod output;
mod presence;
mod progress;
mod readiness;
mod screen;
mod service;
mod show;
mod supervisor;

use std::sync::Arc;

use crate::client::{self, Client};
use crate::failure::Failure;
use crate::file::{Choice, Plan};
use crate::program::Signals;
use crate::runtime_dir::RuntimeDir;
use crate::terminal::Terminal;

use context::Context;
pub(crate) use detach::supervise;
use display::Display;
pub(crate) use down::down;
pub(crate) use group::LEADER;
pub(crate) use logs::show as logs;
use presence::Presence;
pub(crate) use presence::{Status, environment as environment_of, status};
use screen::Screen;
pub(crate) use show::table;
use supervisor::Supervisor;

/// `minato up`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Up {
    /// Which file.
    pub(crate) choice: Choice,
    /// Whether changes of the file are applied while it runs.
    pub(crate) watch: bool,
    /// Whether it goes on in the background once everything is ready, or is there already.
    pub(crate) detach: bool,
}

/// Runs what the file says until everything has ended, or somebody ends it.
pub(crate) async fn up(up: Up, terminal: &Terminal) -> Result<u8, Failure> {
    let plan = up.choice.plan().map_err(crate::file::Problems::into_failure)?;
    if up.detach {
        return detach::start(&up, &plan, terminal).await;
    }
    let display = Arc::new(Display::start(Screen::new(terminal))?);
    let result = run(&up, plan, Arc::clone(&display)).await;
    display.finish();
    result
}

/// Is the supervisor.
async fn run(up: &Up, plan: Plan, display: Arc<Display>) -> Result<u8, Failure> {
    let signals = Signals::catch()?;
    let client = Client::new(RuntimeDir::of(&plan.network))?;
    // The network is there from now on, and its directory as long as we want.
    let stay = client::stay(&client, plan.subnet).await?;
    let presence = Presence::claim(client.directory(), &plan)?;
    logs::forget(&plan.network);
    let context = Context::new(client, plan.network.clone(), presence, display)?;
    let client = context.client.clone();
    let watched = up.watch.then(|| up.choice.clone());
    let result = Supervisor::new(plan, context, watched, up.detach).run(stay, signals).await;
    // Whoever starts something else next finds nothing of this.
    let others = down::wait_for_the_end(&client).await;
    result.and_then(|code| others.map(|_| code))
}
