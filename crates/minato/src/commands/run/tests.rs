//! Real programs in a session of a fake engine, whose host is this machine itself. Joining even one's own namespaces
//! takes root.

use serde_json::json;

use crate::client::fake::{Afterwards, Fake, Reply, opened, problem};
use crate::failure::Failure;
use crate::flags::{Exec, Program};
use crate::terminal::Terminal;

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: joining namespaces takes root; the end-to-end tests do this as an ordinary user");
    }
    root
}

/// `minato exec web -- sh -c SCRIPT` against an engine that gives these replies.
async fn exec(replies: Vec<Reply>, script: &str) -> (Result<u8, Failure>, Vec<String>) {
    let fake = Fake::new(replies);
    let arguments = vec!["-c".into(), script.into()];
    let program =
        Program { name: "sh".into(), arguments, identity: minato_host::enter::Identity::Own, bind_watch: false };
    let exec = Exec { host: "web".parse().expect("a name"), program };
    let result = super::exec(exec, fake.client.clone(), &Terminal::detect(false, true)).await;
    (result, fake.requests())
}

fn session(afterwards: Afterwards) -> Reply {
    Reply::Session(vec![opened()], afterwards)
}

fn ended() -> Reply {
    Reply::Json(200, json!({ "host_gone": true, "ended": [] }))
}

#[tokio::test]
async fn the_exit_code_is_the_programs_and_the_session_is_ended() {
    if !is_root() {
        return;
    }
    let (result, requests) = exec(vec![session(Afterwards::Stays), ended()], "test $MINATO_HOST = web && exit 7").await;
    assert_eq!(result.expect("an exit code"), 7);
    assert_eq!(
        requests[0],
        r#"POST /v1/hosts/web/sessions {"command":["sh","-c","test $MINATO_HOST = web && exit 7"]}"#
    );
    assert_eq!(requests[1], "DELETE /v1/sessions/7");
    let (result, _) = exec(vec![session(Afterwards::Stays), ended()], "kill -TERM $$").await;
    assert_eq!(result.expect("an exit code"), 143);
}

#[tokio::test]
async fn an_engine_that_ends_takes_the_program_with_it() {
    if !is_root() {
        return;
    }
    let (result, _) = exec(vec![session(Afterwards::Ends)], "exec sleep 1000").await;
    let failure = result.expect_err("the engine is gone");
    assert_eq!(failure.code, 1);
    assert!(failure.title.contains("engine of network 'default' ended"), "{failure:?}");
}

#[tokio::test]
async fn a_program_that_is_killed_with_its_engine_blames_the_engine() {
    if !is_root() {
        return;
    }
    let (result, _) = exec(vec![session(Afterwards::Stays), Reply::Silence], "kill -KILL $$").await;
    assert_eq!(result.expect_err("the engine is gone").code, 1);
    let (result, _) = exec(vec![session(Afterwards::Stays), Reply::Silence], "exit 3").await;
    assert_eq!(result.expect("the program ended first"), 3);
}

#[tokio::test]
async fn an_unknown_host_is_refused_before_anything_runs() {
    let (result, requests) = exec(vec![problem("not-found", 404)], "exit 0").await;
    assert_eq!(result.expect_err("no host").code, 10);
    assert_eq!(requests.len(), 1);
}

#[tokio::test]
async fn a_program_that_cannot_start_ends_its_session() {
    if !is_root() {
        return;
    }
    let fake = Fake::new(vec![session(Afterwards::Stays), ended()]);
    let program = Program {
        name: "no-such-program".into(),
        arguments: Vec::new(),
        identity: minato_host::enter::Identity::Own,
        bind_watch: false,
    };
    let exec = Exec { host: "web".parse().expect("a name"), program };
    let result = super::exec(exec, fake.client.clone(), &Terminal::detect(false, true)).await;
    assert_eq!(result.expect_err("no program").code, 127);
    assert_eq!(fake.requests()[1], "DELETE /v1/sessions/7");
}
