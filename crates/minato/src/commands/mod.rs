//! What each command does.

mod capture;
mod check;
mod doctor;
mod engine;
mod forward;
mod lease;
mod manual;
mod run;
mod service;
mod views;
mod watch;

pub(crate) use doctor::check_as_json;
pub(crate) use service::Entry;
#[cfg(test)]
pub(crate) use service::entries;

use crate::background;
use crate::client::Client;
use crate::demo;
use crate::explain;
use crate::failure::{Failure, code};
use crate::file::Choice;
use crate::flags::{Command, Invocation, Name, Show, View};
use crate::here;
use crate::proxy;
use crate::relay;
use crate::runtime_dir::RuntimeDir;
use crate::terminal::Terminal;
use crate::trust;
use crate::up;

/// Exit code of a command that did what it was asked.
pub(crate) const DONE: u8 = 0;

/// Does what was asked and gives the exit code.
pub(crate) fn perform(invocation: Invocation, terminal: &Terminal) -> Result<u8, Failure> {
    let named = invocation.network;
    let anew = || Client::new(RuntimeDir::of(&here::to_begin(named.clone())?));
    let client = || Client::new(RuntimeDir::of(&here::that_runs(named.clone(), terminal)?));
    match invocation.command {
        Command::Run(run) => block_on(run::run(run, anew()?, terminal)),
        Command::Exec(exec) => block_on(run::exec(exec, client()?, terminal)),
        Command::Watch(host) => block_on(watch::watch(host.as_ref(), &client()?, terminal)),
        Command::Up(up) => block_on(up::up(up, terminal)),
        Command::Supervise(up) => {
            background::leave_starter();
            block_on(up::supervise(up, terminal))
        }
        Command::Down(choice) => block_on(up::down(&of_file(&choice)?, terminal)),
        Command::Logs(choice, hosts, follow) => {
            let directory = RuntimeDir::of(&choice.network()?);
            block_on(up::logs(&directory, &hosts, follow, terminal))
        }
        Command::Ps(choice, watch) => {
            let is_of_file = !choice.files.is_empty() || choice.instance.is_some();
            let client = if is_of_file { of_file(&choice)? } else { client()? };
            block_on(views::show(&Show { view: View::Hosts, watch }, &client, terminal))
        }
        Command::Check(choice) => check::check(&choice, terminal),
        Command::Capture(request) => block_on(capture::capture(&request, &client()?, terminal)),
        // No network has anything to do with that, so none that is named wrongly.
        Command::Show(show @ Show { view: View::MachinePorts(_), .. }) => {
            let any = Client::new(RuntimeDir::of(&Name::default()))?;
            block_on(views::show(&show, &any, terminal))
        }
        Command::Show(show) => block_on(views::show(&show, &client()?, terminal)),
        Command::AddForwards(host, forwards) => block_on(forward::add(&host, forwards, &client()?, terminal)),
        Command::RemoveForwards(host, forwards) => block_on(forward::remove(&host, forwards, &client()?, terminal)),
        Command::Relay(request) => block_on(relay::relay(&request, terminal)),
        Command::Proxy => block_on(proxy::serve(terminal)),
        Command::ProxyInBackground => {
            background::leave_starter();
            block_on(proxy::serve_in_background())
        }
        Command::Trust(what) => trust::trust(what, terminal),
        Command::Lease(lease) => lease::lease(&lease, terminal),
        Command::KeepLease(lease, ports) => {
            background::leave_starter();
            lease::keep(&lease, &ports)
        }
        Command::Service(query) => service::service(&query, terminal),
        Command::Explain(target, from) => block_on(explain::explain(&target, from.as_ref(), &client()?, terminal)),
        Command::Probe(destination, transport) => Ok(explain::probe(destination, transport, terminal)),
        Command::Resolve(name) => Ok(explain::resolve(&name, terminal)),
        Command::Filter(packets) => explain::filter(&packets, terminal),
        Command::Doctor => block_on(async { Ok(doctor::doctor(terminal).await) }),
        Command::Demo(demo) => block_on(demo::demo(demo, anew()?, terminal)),
        Command::Completions(shell) => Ok(manual::completions(shell, terminal)),
        Command::Man(directory) => manual::man(directory.as_deref(), terminal),
        Command::Version => Ok(manual::version(terminal)),
        Command::Engine(directory, subnet) => engine::engine(&named.unwrap_or_default(), directory, subnet),
        Command::DemoPart(part) => demo::part(&part, terminal),
    }
}

/// The engine of a file's network.
fn of_file(choice: &Choice) -> Result<Client, Failure> {
    Client::new(RuntimeDir::of(&choice.network()?))
}

/// Runs a command on this thread: one connection and one child process need no more.
fn block_on(command: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(code::FAILED, "cannot wait for events").detail(error.to_string()))?;
    let result = runtime.block_on(command);
    // A blocking read that nobody waits for any more must not hold up the exit.
    runtime.shutdown_background();
    result
}
