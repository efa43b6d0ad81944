use std::net::{IpAddr, Ipv4Addr};

use minato_inspect::{Holder, Problem, ProblemKind, Transport, Unknown};

use super::Failure;
use crate::render::samples::process;

fn holder() -> Holder {
    Holder {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: 8080,
        transport: Transport::Tcp,
        processes: vec![process(4121, "/usr/sbin/nginx -g daemon")],
        unknown: None,
        host: None,
    }
}

fn problem(kind: ProblemKind, holder: Option<Holder>) -> Problem {
    Problem {
        kind,
        status: 409,
        title: "cannot forward 127.0.0.1:8080/tcp to web: the port is taken".into(),
        holder: holder.map(Box::new),
        fixes: vec!["end nginx".into(), "-p 8081:80".into()],
    }
}

fn lines(holder: Holder) -> String {
    Failure::from(problem(ProblemKind::Conflict, Some(holder))).lines().join("\n")
}

#[test]
fn a_conflict_names_the_holder_and_ends_with_the_fix() {
    insta::assert_snapshot!(lines(holder()), @r"
    minato: cannot forward 127.0.0.1:8080/tcp to web: the port is taken
      127.0.0.1:8080/tcp is held by nginx (pid 4121, command: /usr/sbin/nginx -g daemon, in /srv/www, for 1h)
      try: end nginx
      try: -p 8081:80
    ");
}

#[test]
fn another_network_of_the_user_is_named_instead_of_its_engine() {
    let engine = process(4121, "/proc/self/exe __engine --network shop --runtime-dir /run/user/1000/minato/shop");
    let uid = rustix::process::geteuid().as_raw();
    let own = minato_inspect::Process { uid, ..engine.clone() };
    insta::assert_snapshot!(lines(Holder { processes: vec![own], ..holder() }), @r"
    minato: cannot forward 127.0.0.1:8080/tcp to web: the port is taken
      127.0.0.1:8080/tcp is held by your network shop, as a forward (its engine has pid 4121)
      try: minato --network shop forward ls
      try: end nginx
      try: -p 8081:80
    ");
    let foreign = minato_inspect::Process { uid: uid + 1, ..engine };
    assert!(!lines(Holder { processes: vec![foreign], ..holder() }).contains("your network"));
}

#[test]
fn a_holder_may_be_hidden_or_nobody() {
    let second = |holder| lines(holder).lines().nth(1).unwrap_or_default().trim().to_owned();
    let nobody = Holder { processes: Vec::new(), ..holder() };
    assert_eq!(
        second(Holder { unknown: Some(Unknown::NoPermission), ..nobody.clone() }),
        "127.0.0.1:8080/tcp is held by a process that you have no permission to see"
    );
    assert_eq!(second(nobody), "127.0.0.1:8080/tcp is held by the kernel itself, or a socket that no process has open");
}

#[test]
fn a_forward_is_named_by_the_title_alone() {
    let failure = Failure::from(problem(ProblemKind::Conflict, Some(Holder { host: Some("web".into()), ..holder() })));
    assert_eq!(failure.details, [""; 0]);
}

#[test]
fn every_kind_has_its_exit_code() {
    let kinds = [
        (ProblemKind::Internal, 1),
        (ProblemKind::Usage, 2),
        (ProblemKind::NotFound, 10),
        (ProblemKind::WrongAddress, 11),
        (ProblemKind::Privileged, 13),
        (ProblemKind::Exhausted, 14),
        (ProblemKind::Unsupported, 15),
        (ProblemKind::Conflict, 16),
    ];
    for (kind, code) in kinds {
        assert_eq!(Failure::from(problem(kind, None)).code, code, "{kind:?}");
    }
}

#[test]
fn what_the_machine_cannot_do_points_to_the_doctor() {
    let failure = Failure::from(problem(ProblemKind::Unsupported, None));
    assert!(failure.fixes.last().is_some_and(|fix| fix.starts_with("minato doctor")), "{failure:?}");
}

#[test]
fn json_has_everything() {
    let json = crate::terminal::json_view("failure", &Failure::usage("no").detail("why").fix("do"));
    assert_eq!(
        json,
        "{\"version\":1,\"failure\":{\"code\":2,\"title\":\"no\",\"details\":[\"why\"],\"fixes\":[\"do\"]}}\n"
    );
}
