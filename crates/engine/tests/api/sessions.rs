//! Hosts live as long as their sessions, and the engine as long as its hosts.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use minato_inspect::{ForwardSpec, HostRequest, PortRow, ProblemKind, SessionEvent};

use crate::engine::{Engine, wait_until};
use crate::forwards::{inside, listen_inside, open, spec};

pub(crate) fn a_session_opens_a_host() {
    let engine = Engine::start();
    let client = engine.client();
    let request = HostRequest { ephemeral_range: Some((50000, 50999)), ..HostRequest::default() };
    let session = client.open(&HostRequest { name: Some("web".into()), ..request });
    assert_eq!((session.host.name.as_str(), session.host.ephemeral_range), ("web", (50000, 50999)));
    for path in [&session.enter.network, &session.enter.mount] {
        assert!(Path::new(path).exists(), "{path}");
    }
    let host: minato_inspect::Host = client.get("/v1/hosts/web");
    assert_eq!((host.address_v4, host.address_v6), (session.host.address_v4, session.host.address_v6));
    assert!(host.processes.is_empty() && host.forwards.is_empty());
    let end = client.end(&session);
    assert!(end.host_gone && end.ended.is_empty());
    assert!(!Path::new(&session.enter.network).exists());
    engine.ends();
}

pub(crate) fn a_host_lasts_as_long_as_its_last_session() {
    let engine = Engine::start();
    let client = engine.client();
    let first = client.named("web");
    let second = client.open_at("/v1/hosts/web/sessions", b"{\"command\": [\"sh\"]}");
    assert_eq!(second.host.address_v4, first.host.address_v4);
    assert!(!client.end(&first).host_gone);
    assert_eq!(client.hosts().len(), 1);
    let again = client.request("DELETE", &format!("/v1/sessions/{}", first.id.0), b"").problem();
    assert_eq!(again.kind, ProblemKind::NotFound);
    assert!(client.end(&second).host_gone);
    engine.ends();
}

pub(crate) fn a_lost_connection_ends_the_session() {
    let engine = Engine::start();
    let client = engine.client();
    let kept = client.named("kept");
    let lost = client.named("lost");
    assert_eq!(client.hosts().len(), 2);
    drop(lost);
    wait_until("the host's end", || client.hosts().len() == 1);
    let mut kept = kept;
    assert!(client.end(&kept).host_gone);
    assert!(kept.next().is_none_or(|event| matches!(event, minato_inspect::SessionEvent::EngineStopping { .. })));
    engine.ends();
}

pub(crate) fn a_network_stays_while_somebody_wants_it() {
    let engine = Engine::start();
    let client = engine.client();
    let (answer, first) = client.stream("POST", "/v1/stay", b"");
    let Ok(SessionEvent::Staying { session }) = serde_json::from_slice(&answer.body) else { panic!("{answer:?}") };
    let (_, second) = client.stream("POST", "/v1/stay", b"");
    for name in ["one", "two"] {
        assert!(client.end(&client.named(name)).host_gone, "and the network stays");
    }
    // One ends in good order, the other's connection is lost.
    let ended = client.request("DELETE", &format!("/v1/sessions/{}", session.0), b"");
    assert_eq!(ended.status, 200);
    assert!(client.hosts().is_empty());
    drop((first, second));
    engine.ends();
}

pub(crate) fn names_are_derived_and_unique() {
    let engine = Engine::start();
    let client = engine.client();
    let unnamed = HostRequest { command: vec!["/usr/sbin/apache2".into(), "-X".into()], ..HostRequest::default() };
    let sessions = [client.open(&unnamed), client.open(&unnamed)];
    assert_eq!(sessions.each_ref().map(|session| session.host.name.as_str()), ["apache2", "apache2-2"]);
    assert_ne!(sessions[0].host.address_v4, sessions[1].host.address_v4);
    let named = HostRequest { name: Some("apache2".into()), ..HostRequest::default() };
    let conflict = client.refusal("POST", "/v1/hosts", &named);
    assert_eq!((conflict.kind, conflict.status), (ProblemKind::Conflict, 409));
    assert!(!conflict.fixes.is_empty());
    drop(sessions);
    engine.ends();
}

pub(crate) fn ports_are_free_while_programs_have_their_grace() {
    let engine = Engine::start();
    let client = engine.client();
    let everywhere = |host| ForwardSpec { address: Some(Ipv4Addr::UNSPECIFIED.into()), ..spec(host, 80) };
    let keeper = client.named("keeper");
    let own = keeper.host.loopback_v4.expect("an address of its own");
    let web = client.open(&HostRequest {
        name: Some("web".into()),
        forwards: vec![spec(9400, 80), everywhere(9401)],
        grace_seconds: Some(10),
        ..HostRequest::default()
    });
    // The keeper's own port is in the way of what was asked for.
    let listener = listen_inside(&keeper, "0.0.0.0:9401");
    wait_until("the keeper's service to be seen", || {
        client.get::<Vec<PortRow>>("/v1/ports").iter().any(|row| row.port == 9401)
    });
    let mut stubborn = inside(&web, || {
        Command::new("sh").args(["-c", "trap '' TERM; echo; exec sleep 60"]).stdout(Stdio::piped()).spawn()
    });
    let stubborn = stubborn.as_mut().expect("a program");
    stubborn.stdout.take().expect("a pipe").read_exact(&mut [0]).expect("it is stubborn");
    let network = web.enter.network.clone();
    drop(web);
    wait_until("the machine's port", || TcpListener::bind("127.0.0.1:9400").is_ok());
    let next = open(&client, "next", vec![spec(9400, 80)]);
    wait_until("the keeper's own port", || TcpStream::connect((own, 9401)).is_ok());
    assert!(stubborn.try_wait().expect("to look").is_none(), "nothing of that was to wait for it");
    assert!(Path::new(&network).exists(), "its host waits for it");
    stubborn.kill().expect("to kill");
    stubborn.wait().expect("its end");
    drop((next, listener, keeper));
    engine.ends();
}

pub(crate) fn a_name_is_free_again_at_once() {
    let engine = Engine::start();
    let client = engine.client();
    let keeper = client.named("keeper");
    for _ in 0..5 {
        // The connection is just dropped, so the host may still be ending when the next one is asked for.
        drop(client.named("web"));
        wait_until("the end to begin", || client.request("GET", "/v1/hosts/web", b"").status == 404);
        let session = client.named("web");
        assert!(client.end(&session).host_gone);
    }
    drop(keeper);
    engine.ends();
}
