use std::task::Poll;

use minato_inspect::{ExecRequest, ForwardRequest, HostRequest, ProblemKind, SessionId};
use serde_json::json;

use super::fake::{Afterwards, Fake, Reply, opened, problem};
use super::{News, RequestError, not_running_message, open_host, open_session};

#[tokio::test]
async fn a_list_is_read() {
    let fake = Fake::new(vec![Reply::Json(200, json!([]))]);
    assert_eq!(fake.client.hosts().await.expect("hosts"), []);
    assert_eq!(fake.requests(), ["GET /v1/hosts"]);
}

#[tokio::test]
async fn without_an_engine_the_failure_says_so() {
    let fake = Fake::absent();
    let error = fake.client.ports().await.expect_err("nobody there");
    assert!(matches!(error, RequestError::NotRunning), "{error:?}");
    let failure = error.into_failure(&fake.client);
    assert_eq!((failure.code, failure.title.as_str()), (10, "no network 'default' is running"));
}

#[tokio::test]
async fn networks_that_run_are_named_where_another_one_does_not() {
    let fake = Fake::absent();
    let directory = fake.client.directory();
    let make = |network: &str| {
        let other = directory.sibling(network.parse().expect("a name"));
        other.create().expect("a directory");
        std::os::unix::net::UnixListener::bind(other.socket()).expect("a socket")
    };
    let (_shop, ended) = (make("shop"), make("ended"));
    drop(ended);
    assert_eq!(not_running_message(directory), "no network 'default' is running; another one is: --network shop");
    let _lab = make("lab");
    let others = "no network 'default' is running; others are: --network lab, --network shop";
    assert_eq!(not_running_message(directory), others);
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_no_engine() {
    let fake = Fake::absent();
    fake.client.directory().create().expect("a directory");
    drop(std::os::unix::net::UnixListener::bind(fake.client.directory().socket()).expect("a socket"));
    assert!(matches!(fake.client.ports().await, Err(RequestError::NotRunning)));
}

#[tokio::test]
async fn an_engine_that_ends_while_it_is_connected_to_is_gone() {
    let fake = Fake::absent();
    fake.client.directory().create().expect("a directory");
    let listener = std::os::unix::net::UnixListener::bind(fake.client.directory().socket()).expect("a socket");
    let mut connecting = std::pin::pin!(fake.client.connect_anew());
    // The kernel connects at the first look, which is told at the second.
    let first = std::future::poll_fn(|context| Poll::Ready(connecting.as_mut().poll(context).is_ready())).await;
    assert!(!first);
    drop(listener);
    let error = connecting.await.expect_err("nobody there");
    assert!(matches!(error, RequestError::Gone(_)), "{error:?}");
}

#[tokio::test]
async fn a_refusal_is_a_problem() {
    let fake = Fake::new(vec![problem("not-found", 404)]);
    match fake.client.host("web").await.expect_err("refused") {
        RequestError::Refused(problem) => assert_eq!(problem.kind, ProblemKind::NotFound),
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_that_mend_something_name_the_network() {
    let fixes =
        ["minato forward rm -p 1:1 web", "minato doctor    # checks", "minato run --network x -- CMD", "ulimit -Hn"];
    let fixed = |network: &str| {
        let failure = fixes.iter().fold(crate::failure::Failure::new(16, "taken"), |failure, fix| failure.fix(*fix));
        let directory = crate::runtime_dir::RuntimeDir::of(&network.parse().expect("a name"));
        super::in_network(failure, &directory).fixes
    };
    assert_eq!(fixed("default"), fixes);
    assert_eq!(fixed("shop")[0], "minato --network shop forward rm -p 1:1 web");
    assert_eq!(fixed("shop")[1..], fixes[1..]);
}

#[tokio::test]
async fn nonsense_and_silence_are_told_apart() {
    let fake = Fake::new(vec![Reply::Json(200, json!("what?")), Reply::Json(500, json!("what?")), Reply::Silence]);
    assert!(matches!(fake.client.flows().await, Err(RequestError::Nonsense(_))));
    assert!(matches!(fake.client.flows().await, Err(RequestError::Nonsense(_))));
    assert!(matches!(fake.client.flows().await, Err(RequestError::Gone(_))));
}

#[tokio::test]
async fn forwards_are_sent_with_their_host() {
    let fake = Fake::new(vec![Reply::Json(200, json!([]))]);
    let request = ForwardRequest { host: "web".into(), forwards: crate::render::samples::forward_specs() };
    fake.client.add_forwards(&request).await.expect("added");
    fake.client.remove_forwards(&request).await.expect("removed");
    let body = serde_json::to_string(&request).expect("JSON");
    assert_eq!(fake.requests(), [format!("POST /v1/forwards {body}"), format!("DELETE /v1/forwards {body}")]);
}

#[tokio::test]
async fn a_session_opens_warns_and_ends() {
    let warning = json!({ "event": "warning", "message": "look out" });
    let fake = Fake::new(vec![
        Reply::Session(vec![opened(), warning], Afterwards::Stays),
        Reply::Json(200, json!({ "host_gone": true, "ended": [] })),
    ]);
    let mut session = open_host(&fake.client, &HostRequest::default()).await.expect("a session");
    assert_eq!(session.host.name, "web");
    assert_eq!(session.news().await, News::Warning("look out".into()));
    assert!(session.end().await.expect("ended").host_gone);
    assert_eq!(fake.requests()[1], "DELETE /v1/sessions/7");
}

#[tokio::test]
async fn a_session_whose_engine_ends_says_why() {
    let stopping = json!({ "event": "engine-stopping", "reason": "SIGTERM" });
    let fake = Fake::new(vec![
        Reply::Session(vec![opened(), stopping], Afterwards::Ends),
        Reply::Session(vec![opened()], Afterwards::Ends),
    ]);
    let request = ExecRequest::default();
    let mut session = open_session(&fake.client, "web", &request).await.expect("a session");
    assert_eq!(session.news().await, News::EngineEnded("SIGTERM".into()));
    let mut session = open_session(&fake.client, "web", &request).await.expect("a session");
    assert_eq!(session.news().await, News::EngineEnded("it closed the session".into()));
}

#[tokio::test]
async fn an_engine_that_is_just_ending_is_asked_again() {
    let fake = Fake::new(vec![
        Reply::Silence,
        problem("internal", 503),
        Reply::Session(Vec::new(), Afterwards::Ends),
        Reply::Session(vec![opened()], Afterwards::Stays),
    ]);
    open_host(&fake.client, &HostRequest::default()).await.expect("a session");
    assert_eq!(fake.requests().len(), 4);
}

#[tokio::test]
async fn an_old_engine_may_end_a_session_without_a_word() {
    let fake = Fake::new(vec![Reply::Json(204, json!(null))]);
    assert!(!fake.client.end_session(SessionId(1)).await.expect("ended").host_gone);
}

#[tokio::test]
async fn events_are_read_between_comments() {
    let event = json!({"time": 1.5, "event": "host-ended", "host": "web"});
    let fake = Fake::new(vec![Reply::Lines(vec![":".into(), "id: 1".into(), format!("data: {event}"), String::new()])]);
    let mut happenings = fake.client.happenings().await.expect("a stream");
    let told = happenings.next().await.expect("an event").expect("an event");
    assert_eq!(serde_json::to_value(told).expect("JSON"), event);
    assert_eq!(happenings.next().await.expect("a good end"), None);
    assert_eq!(fake.requests(), ["GET /v1/events"]);
}
