//! `minato capture`: the packets of a host, shown or written.

use std::io::IsTerminal;

use minato_host::capture::PortFilter;
use tokio::signal::unix::{SignalKind, signal};

use super::{DONE, views};
use crate::capture::{Account, Capture, Sink, Wanted};
use crate::client::Client;
use crate::failure::Failure;
use crate::flags;
use crate::machine;
use crate::terminal::Terminal;

/// Enough for every header, where nothing but headers is looked at.
const HEADERS: u32 = 512;

/// What no capture of a direct host has.
const UNSEEN: &str = "TCP connections of its programs from and to the outside are over sockets of the machine, and none of their \
                      packets passes the host; minato flows shows them";

/// Captures until somebody ends it, the host ends, or there are enough packets.
pub(super) async fn capture(request: &flags::Capture, client: &Client, terminal: &Terminal) -> Result<u8, Failure> {
    let flags::Capture { host, ports, write, count, snap_length } = request;
    let is_direct = views::require(Some(host), client).await?.is_some_and(|host| host.direct);
    let ports = ports.as_ref().map(|filter| PortFilter {
        first: filter.ports.first().value(),
        last: filter.ports.last().value(),
        transport: filter.transport.map(machine::transport),
    });
    let (snap_length, mut sink) = match write {
        Some(path) => {
            if path.as_os_str() == "-" && std::io::stdout().is_terminal() {
                return Err(Failure::usage("pcapng is not for a terminal")
                    .fix(format!("minato capture {host} -w - | wireshark -k -i -")));
            }
            (*snap_length, Sink::create(path, *snap_length, &about(host.as_str(), is_direct))?)
        }
        None => (HEADERS, Sink::Lines(terminal.clone())),
    };
    let end = end()?;
    let wanted = Wanted { host: host.to_string(), ports, snap_length, count: *count };
    let capture = Capture::begin(client, wanted, &mut sink).await?;
    terminal.warn(&format!("capturing packets of {host}; Ctrl-C ends it"));
    if is_direct {
        terminal.warn(&format!("{host} is direct: {UNSEEN}"));
    }
    let account = capture.run(end).await?;
    terminal.warn(&summary(&account));
    Ok(DONE)
}

/// What a reader of the file should know.
fn about(host: &str, is_direct: bool) -> String {
    let unseen = if is_direct { format!(" The host is direct: {UNSEEN}.") } else { String::new() };
    format!(
        "Packets of the minato host {host}, as its kernel sees them: its link and its loopback. Segments larger than the \
         MTU, datagrams larger than that (several equal ones, which programs receive each by itself), and checksums that are \
         not filled in yet, come from offloading. Comments name the processes at both ends.{unseen}"
    )
}

fn summary(Account { captured, dropped }: &Account) -> String {
    let packets = if *captured == 1 { "packet" } else { "packets" };
    match dropped {
        0 => format!("{captured} {packets}; none was dropped"),
        dropped => {
            format!("{captured} {packets}; {dropped} more were dropped, because they came faster than they were taken")
        }
    }
}

/// Returns when somebody ends the command.
fn end() -> Result<impl Future<Output = ()>, Failure> {
    let catch = |kind| signal(kind).map_err(|error| Failure::caused("cannot catch signals", error));
    let (mut interrupt, mut terminate) = (catch(SignalKind::interrupt())?, catch(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
