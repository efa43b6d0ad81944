use serde_json::json;

use crate::client::fake::{Fake, Reply, problem};
use crate::flags::Name;
use crate::render::samples;
use crate::terminal::Terminal;

fn terminal() -> Terminal {
    Terminal::detect(true, true)
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn filter(text: &str) -> crate::flags::PortFilter {
    let ports = vec![text.parse().expect("a number")];
    crate::flags::PortFilter { text: text.into(), ports, transport: None }
}

#[tokio::test]
async fn views_of_nothing_succeed_and_questions_about_nothing_do_not() {
    let fake = Fake::absent();
    assert_eq!(super::hosts(&fake.client, &terminal()).await, Ok(0));
    assert_eq!(super::ports(&fake.client, None, &terminal()).await, Ok(0));
    assert_eq!(super::flows(&fake.client, None, &terminal()).await, Ok(0));
    assert_eq!(super::forwards(&fake.client, None, &terminal()).await, Ok(0));
    assert_eq!(super::ports(&fake.client, Some(&filter("80")), &terminal()).await.expect_err("nothing").code, 10);
    assert_eq!(super::flows(&fake.client, Some(&name("web")), &terminal()).await.expect_err("nothing").code, 10);
}

#[tokio::test]
async fn a_port_that_is_bound_is_found() {
    let fake = Fake::new(vec![Reply::Json(200, json!(samples::ports()))]);
    assert_eq!(super::ports(&fake.client, Some(&filter("5432")), &terminal()).await, Ok(0));
    let failure = super::ports(&fake.client, Some(&filter("5433")), &terminal()).await.expect_err("nothing there");
    assert_eq!((failure.code, failure.title.as_str()), (10, "nothing is bound to port 5433 in network 'default'"));
}

#[tokio::test]
async fn a_missing_forward_is_told_from_a_missing_host() {
    let fake = Fake::new(vec![problem("not-found", 404)]);
    let missing = super::remove_forwards(&fake.client, &name("web"), samples::forward_specs(), &terminal()).await;
    assert_eq!(missing.expect_err("no host").code, 10);
    let fake = Fake::new(vec![Reply::Json(200, json!(samples::hosts()[0])), problem("not-found", 404)]);
    let missing = super::remove_forwards(&fake.client, &name("web"), samples::forward_specs(), &terminal()).await;
    let failure = missing.expect_err("no forward");
    assert_eq!(failure.code, 12);
    assert_eq!(failure.fixes, ["minato forward ls web"]);
}

#[tokio::test]
async fn a_conflict_of_an_added_forward_has_its_own_code() {
    let fake = Fake::new(vec![problem("conflict", 409)]);
    let added = super::add_forwards(&fake.client, &name("web"), samples::forward_specs(), &terminal()).await;
    assert_eq!(added.expect_err("taken").code, 16);
}
