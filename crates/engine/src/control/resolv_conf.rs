//! What stands in a host's `/etc/resolv.conf` (resolv.conf(5)).

use std::net::IpAddr;

/// Names are asked at the gateway, and completed with the domain of the network of that name first, then with those of the
/// networks that the host has joined, and then as the machine completes them. The machine's options hold in its hosts too.
pub(super) fn of_host(network: &str, joined: &[String], gateway: &[IpAddr], machine: &str) -> String {
    let words = |line: &'_ str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let lines: Vec<Vec<String>> = machine.lines().map(words).collect();
    let keyed = |line: &&Vec<String>, keys: &[&str]| line.first().is_some_and(|key| keys.contains(&key.as_str()));
    // The last of these lines is the one that counts.
    let domains = lines.iter().rfind(|line| keyed(line, &["search", "domain"])).map_or(&[][..], |line| &line[1..]);
    let networks = std::iter::once(network).chain(joined.iter().map(String::as_str));
    let search: Vec<String> =
        networks.map(|network| format!("{network}.internal")).chain(domains.iter().cloned()).collect();
    let mut text: String = gateway.iter().map(|address| format!("nameserver {address}\n")).collect();
    text += &format!("search {}\n", search.join(" "));
    for options in lines.iter().filter(|line| keyed(line, &["options"])) {
        text += &format!("{}\n", options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(machine: &str) -> String {
        let gateway = ["10.77.0.1", "fd77::1"].map(|address| address.parse().unwrap());
        let text = of_host("shop", &[], &gateway, machine);
        let rest = text.strip_prefix("nameserver 10.77.0.1\nnameserver fd77::1\n").expect("the gateway first");
        rest.to_owned()
    }

    #[test]
    fn the_own_domain_comes_first_and_the_machines_follow() {
        assert_eq!(of(""), "search shop.internal\n");
        assert_eq!(of("nameserver 192.0.2.1\ndomain corp.example\n"), "search shop.internal corp.example\n");
        assert_eq!(
            of("search a.example\n# search none\nsearch b.example  c.example\noptions ndots:2 edns0\n"),
            "search shop.internal b.example c.example\noptions ndots:2 edns0\n"
        );
        assert_eq!(of("search\n"), "search shop.internal\n");
    }

    #[test]
    fn joined_networks_come_second() {
        let gateway = ["10.77.0.1", "fd77::1"].map(|address| address.parse().unwrap());
        let text = of_host("shop", &["back".into()], &gateway, "domain a.test");
        assert!(text.ends_with("search shop.internal back.internal a.test\n"), "{text}");
    }
}
