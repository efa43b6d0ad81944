//! Load for the benchmark: `minato-load server ADDRESS:PORT` and `minato-load client ADDRESS:PORT ROW MILLISECONDS`;
//! `minato-load hold COUNT`, for those who list sockets; `minato-load bind FIRST LAST`, for those who take ports.
//!
//! A client measures one row and prints one number. Every load ends by itself: it is bounded in time and in bytes.
//! Both ends ask for the same congestion control, whatever the machine's default is.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod client;
mod hold;
mod request;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            let stalled = matches!(kind, Some(std::io::ErrorKind::WouldBlock));
            eprintln!("{error:#}{}", if stalled { " (nothing came or went for 5 s)" } else { "" });
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["server", address] => server::serve(address.parse().context("ADDRESS:PORT")?),
        ["client", address, row, milliseconds] => {
            let address: SocketAddr = address.parse().context("ADDRESS:PORT")?;
            let duration = Duration::from_millis(milliseconds.parse::<u32>().context("MILLISECONDS")?.into());
            println!("{:.3}", client::measure(address, row, duration)?);
            Ok(())
        }
        ["hold", count] => hold::hold(count.parse().context("COUNT")?),
        ["bind", first, last] => {
            println!("{:.3}", hold::bind(first.parse().context("FIRST")?, last.parse().context("LAST")?)?);
            Ok(())
        }
        _ => bail!(
            "usage: minato-load server ADDRESS:PORT | client ADDRESS:PORT ROW MILLISECONDS | hold COUNT | bind FIRST LAST"
        ),
    }
}
