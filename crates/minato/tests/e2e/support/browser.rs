//! Chromium without a window.

use std::time::Duration;

use crate::machine::{Account, Finished, Machine};

/// Loads the page at `url`: its standard output is the page as it is after its scripts have run, its standard error tells
/// why it could not be loaded.
pub(crate) fn browse(machine: &Machine, account: &Account<'_>, url: &str) -> Finished {
    // A browser that has just started may learn of the network only then, and gives up what it has begun.
    const UNSETTLED: &str = "ERR_NETWORK_CHANGED";
    let tries = std::iter::repeat_with(|| browse_once(machine, account, url)).take(5);
    let mut tries = tries.skip_while(|loaded| loaded.stderr.contains(UNSETTLED));
    tries.next().unwrap_or_else(|| panic!("{url}: {UNSETTLED}, again and again"))
}

fn browse_once(machine: &Machine, account: &Account<'_>, url: &str) -> Finished {
    let profile = format!("--user-data-dir={}", machine.work().join("profile").display());
    let mut command = account.command("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--disable-dev-shm-usage", "--dump-dom", "--timeout=20000", &profile, url]);
    account.start(command).finish_within(Duration::from_secs(60))
}
