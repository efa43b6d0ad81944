use serde_json::json;

use crate::client::fake::{Fake, Reply, problem};
use crate::flags::{Name, Which};
use crate::render::samples;
use crate::terminal::Terminal;

fn terminal() -> Terminal {
    Terminal::detect(true, true)
}

fn web() -> Name {
    "web".parse().expect("a name")
}

#[tokio::test]
async fn a_missing_forward_is_told_from_a_missing_host() {
    let fake = Fake::new(vec![problem("not-found", 404)]);
    let missing = super::remove(&web(), Which::These(samples::forward_specs()), &fake.client, &terminal()).await;
    assert_eq!(missing.expect_err("no host").code, 10);
    let fake = Fake::new(vec![Reply::Json(200, json!(samples::hosts()[0])), problem("not-found", 404)]);
    let missing = super::remove(&web(), Which::These(samples::forward_specs()), &fake.client, &terminal()).await;
    assert_eq!(missing.expect_err("no forward").code, 12);
}

#[tokio::test]
async fn a_conflict_of_an_added_forward_has_its_own_code() {
    let fake = Fake::new(vec![Reply::Json(200, json!(samples::hosts()[0])), problem("conflict", 409)]);
    let added = super::add(&web(), Which::These(samples::forward_specs()), &fake.client, &terminal()).await;
    assert_eq!(added.expect_err("taken").code, 16);
}

#[tokio::test]
async fn all_is_what_listens_and_has_no_forward() {
    let fake = Fake::new(vec![Reply::Json(200, json!(samples::ports()))]);
    let wanted = super::unforwarded(&web(), &fake.client).await.expect("some");
    assert_eq!(wanted.iter().map(|spec| spec.host_ports).collect::<Vec<_>>(), [(3000, 3000)]);
    let fake = Fake::new(vec![Reply::Json(200, json!(samples::ports()))]);
    let nothing = super::unforwarded(&"db".parse().expect("a name"), &fake.client).await;
    assert_eq!(nothing.expect_err("nothing").code, 10);
}
