//! Web, mail and file transfer on one IP address, told apart by port.

use std::time::{Duration, Instant};

use crate::machine::{Machine, SOON, wait_until};
use crate::support::api::Api;
use crate::support::{net, servers};

#[test]
fn three_servers_share_one_address_and_one_can_go() {
    Machine::run(&["nginx", "vsftpd", "postfix"], |machine| {
        let root = machine.root();
        let (nginx, vsftpd, postfix) =
            (servers::nginx(machine, 80, "web"), servers::vsftpd(machine), servers::postfix(machine));
        let web = root.run(&["--name", "all", "-p", "8080:80", "-p", "2121:21", "-p", "2525:25"], &nginx.command);
        Api::ROOT.host("all");
        let transfer = root.exec("all", &vsftpd.command);
        let mail = root.exec("all", &postfix.command);

        let greets = |address, greeting: &str| net::greeting(address).is_some_and(|text| text.starts_with(greeting));
        wait_until("the web page", SOON, || {
            net::http_get("127.0.0.1:8080", "/").is_some_and(|answer| answer.ends_with("web"))
        });
        wait_until("FTP", SOON, || greets("127.0.0.1:2121", "220 minato test"));
        wait_until("SMTP", SOON, || greets("127.0.0.1:2525", "220 mail.test ESMTP"));
        for (port, process) in [(80, "nginx"), (21, "vsftpd"), (25, "master")] {
            let row = Api::ROOT.port("all", port).unwrap_or_else(|| panic!("no row of port {port}"));
            assert!(row.processes.iter().any(|holder| holder.name == process), "{port}: {row:?}");
        }

        machine.processes_named("vsftpd").iter().for_each(crate::machine::Process::kill);
        let killed = Instant::now();
        wait_until("the row to disappear and the forward to refuse", SOON, || {
            Api::ROOT.port("all", 21).is_none() && net::is_refused("127.0.0.1:2121")
        });
        // The kernel tells it, so that nobody waits for a look at the table; it takes some milliseconds where nothing else runs.
        let elapsed = killed.elapsed();
        assert!(elapsed < Duration::from_secs(2), "took {elapsed:?}");
        assert!(greets("127.0.0.1:2525", "220"), "mail must not notice");

        transfer.finish();
        mail.stop();
        web.stop();
    });
}
