use clap::Parser;
use minato_inspect::Transport;

use super::raw::Flags;
use super::{Command, Invocation, ServiceKey, ServiceQuery, Show, View, resolve};
use crate::failure::Failure;

/// Parses a command line; clap's own refusals come back as their text and exit code.
fn parse(line: &str) -> Result<Invocation, Failure> {
    let words = std::iter::once("minato").chain(line.split_whitespace());
    let flags = <Flags>::try_parse_from(words)
        .map_err(|error| Failure::new(u8::try_from(error.exit_code()).unwrap_or(255), error.render().to_string()))?;
    resolve(flags)
}

fn run(line: &str) -> super::Run {
    match parse(line).expect("a good command line").command {
        Command::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

/// What is read at every start is read without the description of all commands, and means the same.
#[test]
fn frequent_commands_mean_the_same_as_among_all() {
    let frequent = |line: &str| {
        let words: Vec<_> = std::iter::once("minato").chain(line.split_whitespace()).map(Into::into).collect();
        Flags::frequent(&words)
    };
    let good = [
        "run -- true",
        "run true --json",
        "run --network lab --json --name web -p 8080:80 -p 53:53/udp --direct -- nginx -g x",
        "run --allow dns --deny all --no-color --map-root -- run -- true",
        "exec web -- curl --json http://127.0.0.1/",
        "exec --net-admin web --network lab -- tc qdisc",
        "__engine --network lab --runtime-dir /run/x --subnet 10.9.0.0/24",
    ];
    for line in good {
        let flags = frequent(line).unwrap_or_else(|| panic!("{line}: not among the frequent ones"));
        assert_eq!(resolve(flags), parse(line), "{line}");
    }
    for line in
        ["ps", "--json run -- true", "run", "run --help", "run --nonsense -- true", "exec -h", "help", "--version"]
    {
        assert!(frequent(line).is_none(), "{line}");
    }
}

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory;
    <Flags>::command().debug_assert();
}

/// What is wider than the help is wrapped a second time, in the middle of its lines.
#[test]
fn what_follows_the_options_is_no_wider_than_the_help() {
    use clap::CommandFactory;
    for command in <Flags>::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let wide = help.lines().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None, "{}", command.get_name());
    }
}

#[test]
fn what_every_command_prints_as_json_is_in_the_schema() {
    use clap::CommandFactory;
    use std::collections::BTreeSet;
    // They print no data of ours: a program's output, a script, a page, or sentences about what they do.
    const WITHOUT_VIEW: [&str; 8] = ["run", "exec", "down", "relay", "proxy", "demo", "completions", "man"];
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../../../docs/schemas/views.json")).expect("JSON");
    let views = file["oneOf"].as_array().expect("views").iter();
    let named = views.filter_map(|view| view["x-commands"].as_array()).flatten().filter_map(|name| name.as_str());
    let mut known: BTreeSet<String> = named.map(str::to_owned).collect();
    for command in WITHOUT_VIEW {
        assert!(known.insert(command.into()), "{command} has a view");
    }
    let mut all = BTreeSet::new();
    for command in <Flags>::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        all.extend(command.get_subcommands().map(|part| format!("{name} {}", part.get_name())));
        if !command.has_subcommands() {
            all.insert(name.to_owned());
        }
    }
    assert_eq!(all, known);
}

#[test]
fn run_takes_everything_apart() {
    let run = run("run --name web -p 8080:80 -p [::1]:53:5353/udp --ephemeral-range 50000-50099 --host-port 5432 \
                   --map-root -- nginx -g x --json");
    assert_eq!(run.name.expect("a name").as_str(), "web");
    assert_eq!(run.host_ports, [5432]);
    assert_eq!(run.ephemeral_range.map(|range| range.to_string()).as_deref(), Some("50000-50099"));
    assert_eq!(run.program.display(), ["nginx", "-g", "x", "--json"]);
    assert_eq!(run.program.identity, minato_host::enter::Identity::MapRoot);
    let [web, dns] = run.forwards.try_into().expect("two forwards");
    assert_eq!((web.address, web.host_ports, web.service_ports), (None, (8080, 8080), (80, 80)));
    assert_eq!(dns.address, Some("::1".parse().expect("an address")));
    assert_eq!(dns.transport, Transport::Udp);
}

#[test]
fn the_programs_own_flags_need_no_separator_after_its_name() {
    assert_eq!(run("run -p 8080:80 nginx -p 1 --name x").program.display(), ["nginx", "-p", "1", "--name", "x"]);
    match parse("exec web curl -s http://x/").expect("good").command {
        Command::Exec(exec) => assert_eq!(exec.program.display(), ["curl", "-s", "http://x/"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_allowed_is_all_that_is() {
    use minato_inspect::PolicyDefault::{Deny, Open};
    let policy = |line: &str| {
        let policy = run(line).policy;
        (policy.default, policy.allow.join(" "), policy.deny.join(" "))
    };
    assert_eq!(policy("run -- true"), (Open, String::new(), String::new()));
    let both = policy("run --allow *.example.com:443 --allow dns --deny 10.0.0.0/8 -- true");
    assert_eq!(both, (Deny, "*.example.com:443 dns".into(), "10.0.0.0/8".into()));
    assert_eq!(policy("run --deny 10.0.0.0/8 -- true"), (Open, String::new(), "10.0.0.0/8".into()));
    assert_eq!(policy("run --deny all -- true"), (Deny, String::new(), String::new()));
}

#[test]
fn one_port_may_be_forwarded_for_each_transport_address_and_family() {
    run("run -p 3000:3000 -p 3000:3000/udp -- true");
    run("run -p 127.0.0.1:3000:1 -p 127.0.0.2:3000:2 -p [::1]:3000:3 -- true");
    run("run -p 0.0.0.0:3000:1 -p [::]:3000:1 -- true");
    run("run -p 8000-8010:8000-8010 -p 8011:1 -- true");
}

/// Command lines that can't be meant, and what the refusal names.
const REFUSED: &[(&str, &[&str])] = &[
    ("", &["Usage"]),
    ("nonsense", &["nonsense"]),
    ("run", &["CMD"]),
    ("run --name web", &["CMD"]),
    ("run --name Web -- true", &["'W'", "a-z"]),
    ("run --name=-x- -- true", &["begin or end"]),
    ("run --network ../x -- true", &["../x"]),
    ("doctor --network nix", &["--network nix", "whole machine"]),
    ("--network nix ports --host", &["--network nix", "whole machine"]),
    ("lease 2 --network nix", &["--network nix", "whole machine"]),
    ("service 443 --network nix", &["--network nix", "whole machine"]),
    ("version --network nix", &["--network nix", "whole machine"]),
    ("run -p 0:80 -- true", &["0:80", "means any port"]),
    ("run -p 80:0 -- true", &["80:0", "means any port"]),
    ("run -p 65536:80 -- true", &["65536", "65535"]),
    ("run -p 99999999999999999999:80 -- true", &["too high"]),
    ("run -p 80 -- true", &["'-p 80'"]),
    ("run -p :80 -- true", &["missing"]),
    ("run -p 80: -- true", &["missing"]),
    ("run -p -1:80 -- true", &["-1"]),
    ("run -p +80:80 -- true", &["'+80'"]),
    ("run -p eighty:80 -- true", &["eighty"]),
    ("run -p 8080:80/sctp -- true", &["sctp", "udp"]),
    ("relay 3000", &["--to"]),
    ("relay --to 3000 3001", &["'3000'", "needs an IP address"]),
    ("relay --to 127.0.0.1:3000 web:3000", &["'web:3000'", "give an IP address"]),
    ("relay --to 127.0.0.1:3000 3001/udp", &["'3001/udp'", "--to IP:PORT/udp"]),
    ("relay --to 127.0.0.1:3000 10.77.0.2:3000 3000", &["'3000'", "its own service"]),
    ("relay --to [::1]:3000/udp [::]:3000", &["'[::]:3000'", "its own service"]),
    ("relay --to 0.0.0.0:3000 127.0.0.1:3000", &["'127.0.0.1:3000'", "its own service"]),
    ("relay --to 127.0.0.1:0 3001", &["'127.0.0.1:0'", "'0' is no port"]),
    ("run -p 999.0.0.1:8080:80 -- true", &["999.0.0.1"]),
    ("run -p ::1:8080:80 -- true", &["::1", "needs brackets"]),
    ("run -p [127.0.0.1]:8080:80 -- true", &["no IP address"]),
    ("run -p 10-20:10-19 -- true", &["10-20", "11 are forwarded", "10-19"]),
    ("run -p 20-10:20-10 -- true", &["20-10"]),
    ("run -p 8080:80 -p 8080:81 -- true", &["8080:81", "8080:80", "both"]),
    ("run -p 8000-8010:1-11 -p 8010-8020:1-11 -- true", &["port 8010"]),
    ("run -p 0.0.0.0:80:1 -p 80:2 -- true", &["port 80"]),
    ("run -p 0.0.0.0:80:1 -p 127.0.0.1:80:2 -- true", &["port 80"]),
    ("run --ephemeral-range 60000-50000 -- true", &["60000-50000"]),
    ("run --ephemeral-range 0-100 -- true", &["means any port"]),
    ("run --host-port 0 -- true", &["--host-port", "means any port"]),
    ("run --host-port x -- true", &["'x'"]),
    ("run --allow example.com:0 -- true", &["--allow example.com:0", "means any port"]),
    ("run --allow https://example.com -- true", &["is a URL"]),
    ("run --deny dns -- true", &["denies no address"]),
    ("run --deny 10.0.0.1/8 -- true", &["10.0.0.0/8"]),
    ("exec web", &["CMD"]),
    ("exec web_1 -- true", &["'_'"]),
    ("ports 0", &["means any port"]),
    ("ports 65536", &["65536"]),
    ("ports no-such-service-name", &["no-such-service-name"]),
    ("ports 80/sctp", &["sctp"]),
    ("ps --watch=0", &["--watch", "0.01"]),
    ("ps --watch=x", &["'x'"]),
    ("service 70000", &["70000"]),
    ("forward add web", &["--publish"]),
    ("forward add -p 0:1 web", &["means any port"]),
    ("forward", &["Usage"]),
    ("demo --port-base 0", &["port-base"]),
    ("demo --port-base 65535", &["port-base"]),
    ("completions klingon", &["klingon"]),
];

#[test]
fn nonsense_is_refused_with_what_is_wrong() {
    for (line, names) in REFUSED {
        let failure = parse(line).expect_err(line);
        let text = failure.lines().join("\n");
        assert_eq!(failure.code, 2, "{line}: {text}");
        for name in *names {
            assert!(text.contains(name), "{line}: no {name:?} in {text}");
        }
    }
}

#[test]
fn what_is_wrong_in_a_forward_is_marked() {
    insta::assert_snapshot!(parse("run -p 8080:8O -- true").expect_err("letter O").lines().join("\n"), @r"
    minato: '-p 8080:8O' is no forward: '8O' is neither a port number nor a registered name
      8080:8O
           ^^
      try: -p [IP:]HOSTPORT:PORT[/udp], as -p 8080:80, -p 0.0.0.0:5353:53/udp, -p [::1]:8000-8010:8000-8010
    ");
}

#[test]
fn an_empty_program_name_is_refused() {
    let flags = <Flags>::try_parse_from(["minato", "run", "--", ""]).expect("clap takes it");
    assert_eq!(resolve(flags).expect_err("no name").code, 2);
}

#[test]
fn ports_are_filtered_by_number_transport_range_and_name() {
    let matching = |line: &str| match parse(line).expect("good").command {
        Command::Show(Show { view: View::Ports(query), .. }) => {
            let mut rows = crate::render::samples::ports();
            query.choose(&mut rows);
            rows.iter().map(|row| row.port).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(matching("ports"), [80, 3000, 5432, 5353, 50123]);
    assert_eq!(matching("ports 80"), [80]);
    assert_eq!(matching("ports --of db"), [5432]);
    assert_eq!(matching("ports --udp"), [5353]);
    assert_eq!(matching("ports --tcp --of web"), [80, 3000]);
    assert_eq!(matching("ports --process postgres"), [5432]);
    assert_eq!(matching("ports --process nobody"), [0; 0]);
    assert_eq!(matching("ports --sort port"), [80, 3000, 5353, 5432, 50123]);
    assert_eq!(matching("ports --sort host"), [50123, 5353, 5432, 80, 3000]);
    assert_eq!(matching("ports --sort process --of web"), [80, 3000]);
    assert_eq!(matching("ports 80/udp"), [0u16; 0]);
    assert_eq!(matching("ports 5353/udp"), [5353]);
    assert_eq!(matching("ports 3000-5400"), [3000, 5353]);
    assert_eq!(matching("ports postgresql"), [5432]);
}

#[test]
fn services_are_asked_by_number_range_and_name() {
    let query = |line: &str| match parse(line).expect("good").command {
        Command::Service(ServiceQuery { key, protocol }) => {
            let protocol = protocol.map(|protocol| format!(" for {}", protocol.name())).unwrap_or_default();
            match key {
                ServiceKey::Range(range) => format!("{range}{protocol}"),
                ServiceKey::Name(name) => format!("name {name}{protocol}"),
            }
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(query("service 443"), "443");
    assert_eq!(query("service 1-9"), "1-9");
    assert_eq!(query("service https"), "name https");
    assert_eq!(query("service 3com-tsmux"), "name 3com-tsmux");
    assert_eq!(query("service 80/tcp"), "80 for tcp");
    assert_eq!(query("service 20-25/SCTP"), "20-25 for sctp");
    assert_eq!(query("service domain/udp"), "name domain for udp");
    let wrong = format!("{:?}", parse("service 80/http").expect_err("no protocol"));
    assert!(wrong.contains("'http'") && wrong.contains("tcp, udp, sctp, dccp"), "{wrong}");
}

#[test]
fn a_view_is_watched_every_second_unless_told_otherwise() {
    let watch = |line: &str| match parse(line).expect("good").command {
        Command::Show(show) => show.watch.map(|pause| pause.as_secs_f64()),
        other => panic!("{other:?}"),
    };
    assert_eq!(watch("ports"), None);
    assert_eq!(watch("ports --watch 80"), Some(1.0));
    assert_eq!(watch("forward ls --watch=0.5 web"), Some(0.5));
}

#[test]
fn roles_of_the_demo_are_spelled_as_they_are_parsed() {
    use clap::ValueEnum;
    for role in super::raw::DemoRole::value_variants() {
        assert_eq!(super::raw::DemoRole::from_str(role.word(), false).as_ref(), Ok(role));
    }
}
