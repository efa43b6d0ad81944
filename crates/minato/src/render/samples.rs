//! A network as the engine could show it, for tests of views.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use minato_inspect::{
    BoundSocket, Collision, EgressRefusal, Endpoint, Event, Flow, FlowState, Forward, ForwardChange, ForwardSpec,
    ForwardState, Happening, Host, Joined, PortClass, PortRow, Process, Transport, Unknown,
};

use crate::capture::{Packet, PacketDirection, Party};

const V4_ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const V6_ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
const V4_LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6_LOOPBACK: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

pub(crate) fn process(pid: u32, command: &str) -> Process {
    let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    let name = words[0].rsplit('/').next().unwrap_or_default().to_owned();
    Process { pid, parent: 1, name, command: words, cwd: Some("/srv/www".into()), uid: 1000, age_seconds: 3725.0 }
}

pub(crate) fn forward(address: IpAddr, host_port: u16, host: &str, service_port: u16, state: ForwardState) -> Forward {
    Forward {
        id: u64::from(host_port),
        address,
        host_port,
        host: host.into(),
        service_port,
        transport: Transport::Tcp,
        state,
        automatic: false,
        connections: 1234,
        bytes_in: 1_234,
        bytes_out: 88_123_456,
    }
}

/// One that a host has at its own loopback address.
fn own_forward(last: u8, host: &str, port: u16) -> Forward {
    let address = Ipv4Addr::new(127, 77, 0, last).into();
    Forward { automatic: true, ..forward(address, port, host, port, ForwardState::Open) }
}

fn row(host: Option<&str>, addresses: &[IpAddr], port: u16, registered: Option<&str>) -> PortRow {
    PortRow {
        host: host.map(str::to_owned),
        addresses: addresses.to_vec(),
        dual_stack: false,
        port,
        transport: Transport::Tcp,
        listening: true,
        class: match port {
            ..1024 => PortClass::WellKnown,
            1024..49152 => PortClass::Registered,
            _ => PortClass::Dynamic,
        },
        registered: registered.map(str::to_owned),
        processes: Vec::new(),
        process_unknown: None,
        forwarded_from: Vec::new(),
        accept_queue: None,
        inode: 1,
    }
}

pub(crate) fn ports() -> Vec<PortRow> {
    let open = |address, port, service| forward(address, port, "web", service, ForwardState::Open);
    let apache = ["/usr/sbin/apache2 -X", "/usr/sbin/apache2 -X", "/usr/sbin/apache2 -X"];
    vec![
        PortRow {
            dual_stack: true,
            processes: apache.iter().zip(4121..).map(|(command, pid)| process(pid, command)).collect(),
            forwarded_from: vec![open(V4_LOOPBACK, 8080, 80), open(V6_LOOPBACK, 8080, 80)],
            ..row(Some("web"), &[V6_ANY], 80, Some("http"))
        },
        PortRow {
            processes: vec![process(4180, "node server.js")],
            ..row(Some("web"), &[V4_LOOPBACK], 3000, Some("hbci"))
        },
        PortRow {
            processes: vec![process(4190, "postgres -D /var/lib/postgresql")],
            forwarded_from: vec![
                own_forward(3, "db", 5432),
                forward(V4_LOOPBACK, 5432, "db", 5432, ForwardState::Held),
            ],
            ..row(Some("db"), &[V4_ANY, V6_ANY], 5432, Some("postgresql"))
        },
        PortRow {
            transport: Transport::Udp,
            process_unknown: Some(Unknown::NoPermission),
            ..row(Some("a-host-with-a-rather-long-name"), &["fd77::4".parse().unwrap()], 5353, Some("mdns"))
        },
        PortRow {
            listening: false,
            processes: vec![process(77, "evil\u{1b}[2Jname x")],
            ..row(None, &["192.0.2.7".parse().unwrap()], 50123, None)
        },
    ]
}

/// Ports of one program that follow each other, by TCP and UDP in turn, and one that is like them but for its forward.
pub(crate) fn port_runs() -> Vec<PortRow> {
    let row = |port: u16, transport| PortRow {
        transport,
        processes: vec![process(5000, "media-server")],
        forwarded_from: vec![forward(V4_LOOPBACK, port + 10_000, "web", port, ForwardState::Open)],
        ..row(Some("web"), &[V4_ANY], port, (port == 9001).then_some("etlservicemgr"))
    };
    let mut rows: Vec<PortRow> =
        (9000..9005).flat_map(|port| [Transport::Tcp, Transport::Udp].map(|transport| row(port, transport))).collect();
    rows[8].forwarded_from.clear();
    rows
}

pub(crate) fn hosts() -> Vec<Host> {
    let host = |name: &str, last: u8, forwards, processes| Host {
        name: name.into(),
        address_v4: Ipv4Addr::new(10, 77, 0, last),
        address_v6: Some(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(last))),
        loopback_v4: Some(Ipv4Addr::new(127, 77, 0, last)),
        networks: if name == "web" { vec![joined()] } else { Vec::new() },
        home: (last > 3).then(|| "shop".into()),
        ephemeral_range: (49152, 65535),
        policy: minato_inspect::Policy::default(),
        direct: false,
        age_seconds: 12.3,
        forwards,
        processes,
    };
    vec![
        host(
            "web",
            2,
            forward_specs(),
            vec![
                process(4121, "/usr/sbin/apache2 -X -d /etc/apache2 -f /etc/apache2/apache2.conf"),
                process(4180, "node server.js"),
            ],
        ),
        host("db", 3, Vec::new(), vec![Process { command: Vec::new(), ..process(4190, "postgres") }]),
        host("idle", 4, Vec::new(), Vec::new()),
    ]
}

pub(crate) fn forward_specs() -> Vec<ForwardSpec> {
    let spec = |address: Option<&str>, host_ports, service_ports, transport| ForwardSpec {
        address: address.map(|text| text.parse().unwrap()),
        host_ports,
        service_ports,
        transport,
    };
    vec![
        spec(None, (8080, 8080), (80, 80), Transport::Tcp),
        spec(Some("::1"), (9000, 9010), (9000, 9010), Transport::Udp),
    ]
}

pub(crate) fn forwards() -> Vec<Forward> {
    vec![
        forward(V4_LOOPBACK, 8080, "web", 80, ForwardState::Open),
        forward(V6_LOOPBACK, 8080, "web", 80, ForwardState::Open),
        forward(V4_LOOPBACK, 9000, "web", 3000, ForwardState::Open),
        forward(V4_LOOPBACK, 9001, "web", 3001, ForwardState::Open),
        forward(V4_LOOPBACK, 9002, "web", 3002, ForwardState::Open),
        forward(V4_LOOPBACK, 9003, "web", 3003, ForwardState::Held),
        own_forward(2, "web", 3000),
        forward("0.0.0.0".parse().unwrap(), 5432, "a-host-with-a-rather-long-name", 5432, ForwardState::Held),
    ]
}

pub(crate) fn flows() -> Vec<Flow> {
    let end = |host: Option<&str>, address: &str, port, process| Endpoint {
        host: host.map(str::to_owned),
        address: address.parse().unwrap(),
        port,
        process,
        process_unknown: None,
        name: None,
    };
    let flow = |client, server, state, age_seconds| Flow {
        transport: Transport::Tcp,
        client,
        server,
        forward: None,
        via: None,
        direct: false,
        state,
        age_seconds,
        bytes_in: Some(1_234),
        bytes_out: Some(88_000),
        retransmits: None,
        seen_as: None,
        rtt_micros: None,
    };
    vec![
        flow(
            end(Some("web"), "10.77.0.2", 41872, Some(process(4121, "apache2"))),
            end(Some("db"), "10.77.0.3", 5432, Some(process(4190, "postgres"))),
            FlowState::Established,
            Some(12.0),
        ),
        Flow {
            bytes_in: None,
            bytes_out: None,
            transport: Transport::Udp,
            ..flow(
                end(Some("web"), "fd77::2", 60123, None),
                Endpoint { name: Some("dns.example.org".into()), ..end(None, "2001:db8::53", 53, None) },
                FlowState::Connecting,
                None,
            )
        },
        Flow {
            forward: Some(1),
            via: Some("127.0.0.1:8080".parse().unwrap()),
            retransmits: Some(3),
            rtt_micros: Some(1_234),
            ..flow(
                Endpoint { process_unknown: Some(Unknown::NoPermission), ..end(None, "127.0.0.1", 33333, None) },
                end(Some("web"), "10.77.0.2", 80, Some(process(4121, "apache2"))),
                FlowState::TimeWait,
                Some(90_000.0),
            )
        },
    ]
}

pub(crate) fn packets() -> Vec<Packet> {
    let end = |host: Option<&str>, address: &str, port| Party {
        host: host.map(str::to_owned),
        address: address.parse().unwrap(),
        port,
        ephemeral: port.is_some_and(|port| port >= 49_152),
        registered: None,
        process: None,
        client: None,
    };
    let named = |party, pid, command| Party { process: Some(process(pid, command)), ..party };
    let web = || Party {
        registered: Some("http".into()),
        ..named(end(Some("web"), "10.77.0.2", Some(80)), 4121, "/usr/sbin/apache2 -X")
    };
    let packet = |source, destination, transport, what: &str| Packet {
        time: 1_700_000_000.25,
        interface: "eth0".into(),
        direction: PacketDirection::In,
        transport,
        source: Some(source),
        destination: Some(destination),
        what: what.into(),
        length: 74,
    };
    let gateway = Party { client: "192.0.2.55:33333".parse().ok(), ..end(None, "10.77.0.1", Some(50_000)) };
    let db = named(end(Some("db"), "fd77::3", Some(51_234)), 4190, "ev\u{1b}il");
    vec![
        packet(db, web(), Some(Transport::Tcp), "asks for a connection"),
        packet(web(), gateway, Some(Transport::Tcp), "sends 65160 bytes"),
        packet(end(None, "2001:db8::53", Some(53)), web(), Some(Transport::Udp), "a datagram of 1 byte"),
        packet(end(Some("db"), "10.77.0.3", None), end(Some("web"), "10.77.0.2", None), None, "asks for echo 1"),
    ]
}

fn refusals() -> impl Iterator<Item = EgressRefusal> {
    let denied = EgressRefusal {
        host: "web".into(),
        transport: Some(Transport::Tcp),
        address: Some("2001:db8::7".parse().unwrap()),
        port: Some(443),
        name: None,
        process: Some(process(4121, "curl")),
        rule: Some("[2001:db8::]/32".into()),
        reason: "the policy of web denies [2001:db8::]/32".into(),
        allow: None,
        untold: 0,
    };
    let echo = EgressRefusal { transport: None, port: None, process: None, untold: 12, ..denied.clone() };
    let reason = "no rule of web allows the name ev\u{1b}il.test".into();
    let name = EgressRefusal { address: None, name: Some("ev\u{1b}il.test".into()), reason, untold: 0, ..echo.clone() };
    [denied, echo, name].into_iter()
}

pub(crate) fn events() -> Vec<Event> {
    let web = || BoundSocket {
        host: "web".into(),
        address: V6_ANY,
        dual_stack: true,
        port: 80,
        transport: Transport::Tcp,
        registered: Some("http".into()),
        processes: vec![process(4121, "/usr/sbin/apache2 -X")],
        process_unknown: None,
    };
    let gone = BoundSocket {
        address: V4_LOOPBACK,
        dual_stack: false,
        port: 50123,
        transport: Transport::Udp,
        registered: None,
        processes: Vec::new(),
        process_unknown: Some(Unknown::Vanished),
        ..web()
    };
    let spec = |address, host_ports, service_ports| ForwardSpec {
        address,
        host_ports,
        service_ports,
        transport: Transport::Tcp,
    };
    let specs = vec![spec(None, (8080, 8080), (80, 80)), spec(Some(V4_ANY), (9000, 9009), (1, 10))];
    let change = || ForwardChange { host: "web".into(), forwards: specs.clone() };
    let started = flows().into_iter().map(|flow| Happening::FlowStarted { id: "1".into(), flow: Box::new(flow) });
    let ended = flows().into_iter().map(|flow| Happening::FlowEnded { id: "1".into(), flow: Box::new(flow) });
    let address_v4 = Ipv4Addr::new(10, 77, 0, 2);
    let address_v6 = Some(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2));
    let mut all = vec![
        Happening::HostStarted { host: "web".into(), address_v4, address_v6 },
        Happening::ForwardsAdded(change()),
        Happening::Bind(web()),
        Happening::Listen(web()),
        Happening::ForwardsOpened(change()),
        Happening::Bind(gone.clone()),
        Happening::Release(gone),
    ];
    all.extend(started.chain(ended));
    all.extend(refusals().map(|refusal| Happening::EgressRefused(Box::new(refusal))));
    all.extend([
        Happening::ForwardsClosed(change()),
        Happening::ForwardsRemoved(change()),
        Happening::HostEnded { host: "w\u{1b}b".into() },
        Happening::HostJoined { host: "web".into(), home: "shop".into(), joined: joined() },
        Happening::HostLeft { host: "web".into(), home: "shop".into(), network: "back".into() },
        Happening::Collision(collision()),
        Happening::CollisionEnded(collision()),
        Happening::SubnetChanged { subnet_v4: "172.29.0.0/24".into(), subnet_v6: Some("fd77:0:0:100::/64".into()) },
        Happening::EventsLost { count: 17 },
        Happening::EngineStopping { reason: "its last host has ended".into() },
    ]);
    let time = |(number, what)| Event { time: 1_767_225_599.5 + 0.25 * f64::from(number), what };
    (0..).zip(all).map(time).collect()
}

/// A VPN that has the subnet of the samples.
pub(crate) fn collision() -> Collision {
    Collision { hidden: "10.77.0.0/24".into(), what: "a route to 10.77.0.0/16 (tun0)".into() }
}

/// A place in another network.
pub(crate) fn joined() -> Joined {
    let (address_v4, address_v6) = (Ipv4Addr::new(10, 77, 1, 3), "fd77:0:0:1::3".parse().ok());
    Joined { network: "back".into(), address_v4, address_v6 }
}
