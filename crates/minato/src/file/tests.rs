use std::path::Path;

use insta::assert_snapshot;

use super::plan::{HostPorts, Restart};
use super::*;

mod nonsense;
mod schema;

/// Writes files into a directory called `shop`, and reads those that are named.
fn plan_of(files: &[(&str, &str)], instance: Option<&str>) -> Result<Plan, String> {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("shop");
    std::fs::create_dir_all(directory.join("sub")).expect("a directory");
    for (name, text) in files {
        std::fs::write(directory.join(name), text).expect("a file");
    }
    let is_toml = |name: &&str| Path::new(name).extension().is_some_and(|extension| extension == "toml");
    let named = files.iter().map(|(name, _)| *name).filter(is_toml).map(|name| directory.join(name)).collect();
    let choice = Choice { files: named, network: None, instance: instance.and_then(instance_label), subnet: None };
    let shorten = |text: String| text.replace(&directory.display().to_string(), "DIR");
    choice.plan().map_err(|problems| shorten(problems.into_failure().lines().join("\n")))
}

fn plan(text: &str) -> Plan {
    plan_of(&[("minato.toml", text)], None).unwrap_or_else(|why| panic!("{why}"))
}

fn refusal(text: &str) -> String {
    plan_of(&[("minato.toml", text)], None).expect_err("it is wrong")
}

#[test]
fn a_file_becomes_a_plan() {
    let plan = plan(
        r#"
[host.web]
command = "nginx -g 'daemon off;'"
ports = { 80 = 8080, 443 = "0.0.0.0:8443", "53/udp" = 5353, 8000 = ["[::1]:8000", "auto"] }
depends-on = ["db"]
environment = { A = 1, B = "two words", C = true }

[host.db]
command = ["postgres", "-D", "data dir"]
ready = 5432
"#,
    );
    assert_eq!(plan.network.as_str(), "shop");
    let [db, web] = plan.hosts.as_slice() else { panic!("{plan:?}") };
    assert_eq!((db.name.as_str(), web.name.as_str()), ("db", "web"), "what others depend on comes first");
    assert_eq!(web.services[0].command, ["nginx", "-g", "daemon off;"]);
    assert_eq!(db.services[0].command, ["postgres", "-D", "data dir"]);
    assert_eq!(web.services[0].environment["B"], "two words");
    assert_eq!(web.services[0].environment["A"], "1");
    assert_eq!((web.services[0].port, db.services[0].port), (Some(80), Some(5432)));
    assert_eq!(web.forwards.len(), 5);
    assert_eq!(
        web.forwards[0].fixed().map(|spec| (spec.host_ports, spec.service_ports)),
        Some(((8080, 8080), (80, 80)))
    );
    assert_eq!(web.forwards[1].address, Some("0.0.0.0".parse().unwrap()));
    assert_eq!(web.forwards[4].host_ports, HostPorts::Any);
    let ready: Vec<(u16, minato_inspect::Transport)> =
        web.ready.iter().map(|ready| (ready.port, ready.transport)).collect();
    use minato_inspect::Transport::{Tcp, Udp};
    assert_eq!(ready, [(53, Udp), (80, Tcp), (443, Tcp), (8000, Tcp)]);
    assert_eq!(db.ready.len(), 1);
}

#[test]
fn what_a_host_says_holds_for_its_services() {
    let plan = plan(
        r#"
environment = { WHERE = "everywhere", WHO = "nobody" }
[host.app]
directory = "sub"
restart = "always"
environment = { WHO = "host" }
ports = { http = "auto" }
[host.app.service.web]
command = "web"
[host.app.service.worker]
command = "worker"
restart = "no"
ready = 9000
environment = { WHO = "worker" }
"#,
    );
    let [web, worker] = plan.hosts[0].services.as_slice() else { panic!("{plan:?}") };
    assert!(web.directory.ends_with("shop/sub") && worker.directory == web.directory);
    assert_eq!((web.restart, worker.restart), (Restart::Always, Restart::No));
    assert_eq!((web.environment["WHO"].as_str(), worker.environment["WHO"].as_str()), ("host", "worker"));
    assert_eq!(worker.environment["WHERE"], "everywhere");
    assert_eq!((web.port, worker.port), (Some(80), Some(9000)));
    assert_eq!(plan.hosts[0].ready.iter().map(|ready| ready.port).collect::<Vec<_>>(), [80, 9000]);
}

#[test]
fn a_file_lies_over_another_key_by_key() {
    let below = r#"
[host.web]
command = "one"
ports = { 80 = 8080, 443 = 8443, 25 = 8025 }
environment = { A = "a", B = "b" }
depends-on = ["db"]
[host.db]
command = "db"
"#;
    let above = r#"
[host.web]
command = "two"
ports = { 443 = 9443, 25 = false, 8000 = 8000 }
environment = { B = "c" }
[host.cache]
command = "cache"
"#;
    let plan = plan_of(&[("minato.toml", below), ("over.toml", above)], None).unwrap();
    let names: Vec<&str> = plan.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["db", "web", "cache"]);
    let web = &plan.hosts[1];
    assert_eq!(web.services[0].command, ["two"]);
    assert_eq!((web.services[0].environment["A"].as_str(), web.services[0].environment["B"].as_str()), ("a", "c"));
    let ports: Vec<_> = web.fixed_forwards().iter().map(|spec| (spec.service_ports.0, spec.host_ports.0)).collect();
    assert_eq!(ports, [(80, 8080), (443, 9443), (8000, 8000)]);
    assert_eq!(plan.files.len(), 2);
}

/// TOML has integers in hexadecimal, octal and binary, and with underscores.
#[test]
fn numbers_are_what_they_are_however_they_are_written() {
    let plan = plan(
        r#"
[host.a]
command = "x"
ports = { 80 = 0x1F90, 81 = 8_081 }
ready = 0o120
host-ports = [0x1538]
stop-timeout = 0x10
environment = { A = 0x10, B = 0b101, C = 1_000, D = -7, E = 0.50, F = 1e3 }
"#,
    );
    let host = &plan.hosts[0];
    let ports: Vec<_> = host.fixed_forwards().iter().map(|spec| (spec.host_ports.0, spec.service_ports.0)).collect();
    assert_eq!(ports, [(8080, 80), (8081, 81)]);
    assert_eq!(host.ready.iter().map(|ready| ready.port).collect::<Vec<_>>(), [80]);
    assert_eq!((host.host_ports.as_slice(), host.stop_timeout.as_secs()), (&[5432][..], 16));
    let values: Vec<&str> = "ABCDEF".chars().map(|name| &*host.services[0].environment[&name.to_string()]).collect();
    assert_eq!(values, ["16", "5", "1000", "-7", "0.50", "1e3"]);
    let refused = refusal("[host.a]\ncommand = 'x'\nports = { 80 = 0xFFFF_FFFF_FFFF_FFFF_FFFF_FFFF_FFFF_FFFF_FF }\n");
    assert!(refused.contains("0xFF"), "{refused}");
}

#[test]
fn an_env_file_is_read_and_watched() {
    let text = "[host.a]\ncommand = 'x'\nenv-file = 'my.env'\nenvironment = { A = 'file loses' }\n";
    let env = "# comment\n\nexport A=1\nB = \"two words\" \nC='$A'\nD=x=y\n";
    let plan = plan_of(&[("minato.toml", text), ("my.env", env)], None).unwrap();
    let variables: Vec<_> =
        plan.hosts[0].services[0].environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(variables, ["A=file loses", "B=two words", "C=$A", "D=x=y"]);
    assert!(plan.files[1].ends_with("my.env"));
    let refusal = plan_of(&[("minato.toml", text), ("my.env", "A=1\nnonsense\n")], None).unwrap_err();
    assert!(refusal.contains("my.env:2: 'nonsense' is not NAME=VALUE"), "{refusal}");
    let refusal = plan_of(&[("minato.toml", text), ("my.env", "A=1\nB=a\0b\n")], None).unwrap_err();
    assert!(refusal.contains("my.env:2: 'B' can't hold a NUL"), "{refusal}");
    // As some editors save it.
    let plan = plan_of(&[("minato.toml", text), ("my.env", "\u{feff}B=1\n")], None).unwrap();
    assert_eq!(plan.hosts[0].services[0].environment["B"], "1");
}

#[test]
fn an_instance_has_a_name_and_ports_of_its_own() {
    let text = "[host.a]\ncommand = 'x'\nports = { 80 = 8080, 81 = 'auto' }\n";
    let plan = plan_of(&[("minato.toml", text)], Some("feature/Login_form")).unwrap();
    assert_eq!(plan.network.as_str(), "shop-feature-login-form");
    assert_eq!(plan.hosts[0].forwards[0].host_ports, HostPorts::InsteadOf(8080, 8080));
    assert_eq!(plan.hosts[0].forwards[1].host_ports, HostPorts::Any);
    assert!(plan.hosts[0].fixed_forwards().is_empty());
    assert_eq!(instance_label("--"), None);
}

#[test]
fn problems_point_at_where_they_are() {
    let text = r#"netwrok = "shop"

[host.web]
comand = "nginx"
ports = { 80 = 8080, 70000 = 1, 81 = "8081:x", 82 = true }
restart = "sometimes"
depends-on = ["Db"]

[host.db]
command = "a | b"
ready = "8000-"

[host.db.service.x]
ports = { 1 = 2 }
"#;
    assert_snapshot!(refusal(text));
}

#[test]
fn contradictions_point_at_both_places() {
    let text = r#"
[host.a]
command = "a"
ports = { 80 = 8080 }
depends-on = ["b"]
[host.b]
command = "b"
ports = { 80 = "127.0.0.1:8080" }
depends-on = ["a", "c"]
directory = "nowhere"
[host.none]
[host.both]
command = "x"
[host.both.service.y]
command = "y"
"#;
    assert_snapshot!(refusal(text));
}

#[test]
fn what_a_host_is_its_services_are_unless_they_say_otherwise() {
    let text = "[host.a]\ndirect = true\nbind-watch = true\n[host.a.service.one]\ncommand = 'x'\n\
                [host.a.service.two]\ncommand = 'y'\ndirect = false\nbind-watch = false\n[host.b]\ncommand = 'z'\n";
    let plan = plan(text);
    let services = plan.hosts.iter().flat_map(|host| &host.services);
    let services: Vec<_> = services.map(|service| (service.direct, service.bind_watch)).collect();
    assert_eq!(services, [(true, true), (false, false), (false, true)]);
    let text = "[host.a]\nbind-watch = false\n[host.a.service.one]\ncommand = 'x'\ndirect = true\n";
    assert_snapshot!(refusal(text));
}

#[test]
fn problems_between_files_name_both() {
    let below = "[host.a]\ncommand = 'a'\nports = { 80 = 8080 }\n";
    let above = "[host.b]\ncommand = 'b'\nports = { 81 = 8080 }\n";
    assert_snapshot!(plan_of(&[("minato.toml", below), ("over.toml", above)], None).unwrap_err());
}

#[test]
fn what_is_no_toml_is_said_once() {
    assert_snapshot!(refusal("[host.a]\ncommand = \"a\n"));
    assert_snapshot!(refusal(""));
}

#[test]
fn a_policy_is_the_hosts_own_or_that_of_all() {
    use minato_inspect::PolicyDefault::{Deny, Open};
    let text = "allow = ['dns']\n[host.a]\ncommand = 'a'\n[host.b]\ncommand = 'b'\ndeny = ['10.0.0.0/8']\n";
    let plan = plan(text);
    let policies: Vec<_> = plan.hosts.iter().map(|host| host.policy.clone()).collect();
    assert_eq!((policies[0].default, policies[0].allow.as_slice()), (Deny, &["dns".to_owned()][..]));
    assert_eq!((policies[1].default, policies[1].allow.len(), policies[1].deny.len()), (Open, 0, 1));
    assert_snapshot!(refusal(
        "allow = ['a b']\n[host.a]\ncommand = 'a'\n[host.c]\ncommand = 'c'\n\
         [host.b]\ncommand = 'b'\npolicy = 'open'\nallow = ['dns']\ndeny = ['example.com']\n"
    ));
}

#[test]
fn free_ports_are_not_looked_for_without_end() {
    let text = |length: u16| format!("[host.a]\ncommand = 'a'\nports = {{ '1-{length}' = 'auto' }}\n");
    assert_eq!(plan(&text(10_000)).hosts[0].forwards.len(), 1);
    for length in [10_001, 65_535] {
        assert!(refusal(&text(length)).contains("too many to be led to from free ones"), "{length}");
    }
    assert!(refusal("[host.a]\ncommand = 'a'\nready = '1-65535'\n").contains("at most 1000"));
}

#[test]
fn commands_are_split_and_nothing_else() {
    let words = |text: &str| plan(&format!("[host.a]\ncommand = {text}\n")).hosts[0].services[0].command.clone();
    assert_eq!(words(r#"'a "b c" d\ e $HOME *'"#), ["a", "b c", "d e", "$HOME", "*"]);
    assert_eq!(words(r#"["sh", "-c", "a && b"]"#), ["sh", "-c", "a && b"]);
    for (wrong, why) in
        [("'a && b'", "no shell reads"), ("\"a 'b\"", "quote"), ("''", "no program"), ("[]", "no program")]
    {
        assert!(refusal(&format!("[host.a]\ncommand = {wrong}\n")).contains(why), "{wrong}");
    }
}

/// Hosts of which each depends on the one before it.
fn chain(length: usize) -> String {
    let host = |number: usize| format!("[host.h{number}]\ncommand = \"true\"\n");
    let dependent = |number: usize| format!("{}depends-on = [\"h{}\"]\n", host(number), number + 1);
    (0..length - 1).map(dependent).chain([host(length - 1)]).collect()
}

#[test]
fn more_hosts_than_the_subnet_has_addresses_for_are_refused() {
    assert_eq!(plan(&chain(253)).hosts.len(), 253);
    let why = refusal(&chain(254));
    assert!(why.contains("254 hosts are too many: a network's subnet has addresses for 253"), "{why}");
    assert!(why.contains("[host.h253]") && why.contains("subnet = \"10.99.0.0/20\""), "{why}");
    let of_six = |length| format!("subnet = \"10.99.3.0/29\"\n{}", chain(length));
    assert_eq!(plan(&of_six(5)).hosts.len(), 5);
    let why = refusal(&of_six(8));
    assert!(why.contains("8 hosts are too many: the subnet 10.99.3.0/29 has addresses for 5"), "{why}");
    assert!(why.contains("[host.h5]"), "{why}");
    // An instance does not have the file's subnet.
    let why = plan_of(&[("minato.toml", &chain(254))], Some("two")).expect_err("too many");
    assert!(why.contains("minato up --instance two --subnet 10.99.0.0/20"), "{why}");
    assert!(!why.contains("subnet = "), "{why}");
}

/// With time that grew with the square of it, this took minutes.
#[test]
fn a_long_chain_of_hosts_is_put_in_order() {
    let plan = plan(&format!("subnet = \"10.99.0.0/16\"\n{}", chain(3000)));
    assert_eq!(plan.hosts.len(), 3000);
    assert!(plan.hosts[0].depends_on.is_empty() && plan.hosts[0].name.as_str() == "h2999");
    assert_eq!(plan.hosts[2999].name.as_str(), "h0");
}

#[test]
fn what_is_of_the_whole_file_stands_above_the_tables() {
    for (key, table) in [("subnet = '10.99.3.0/24'", "host.a"), ("network = 'shop'", "host.a.service.b")] {
        let refused = refusal(&format!("[{table}]\ncommand = 'x'\n{key}\n"));
        let word = key.split(' ').next().expect("a word");
        assert!(refused.contains(&format!("'{word}' is a matter of the whole file")), "{refused}");
        assert!(refused.contains("write it above the first [table]"), "{refused}");
    }
}

#[test]
fn everything_that_is_wrong_with_a_program_is_told_at_once() {
    let why =
        refusal("[host.a]\ncommand = 'x'\nenv-file = ['none', 'neither']\ndirectory = 'nowhere'\nallow = ['x:::']\n");
    for what in ["/none:", "/neither:", "there is no directory", "'x:::' is no rule"] {
        assert!(why.contains(what), "no {what}: {why}");
    }
    assert!(refusal("[host.a]\ncommand = 'x'\nenv = {}\n").contains("did you mean 'environment'?"));
    assert!(refusal("[host.gateway]\ncommand = 'x'\n").contains("'gateway' can't be the name of a host"));
}

#[test]
fn a_forward_that_is_taken_away_is_not_waited_for() {
    let plan = plan("[host.a]\ncommand = 'x'\nports = { 80 = false, 443 = 8443 }\n");
    assert_eq!(plan.hosts[0].ready.iter().map(|ready| ready.port).collect::<Vec<_>>(), [443]);
    assert_eq!(plan.hosts[0].services[0].port, Some(443));
}
