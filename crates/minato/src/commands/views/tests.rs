use serde_json::json;

use super::{look, show};
use crate::client::fake::{Fake, Reply};
use crate::flags::{PortFilter, PortQuery, Show, View};
use crate::render::samples;
use crate::terminal::Terminal;

fn terminal() -> Terminal {
    Terminal::detect(true, true)
}

fn ports(number: u16) -> View {
    let filter = PortFilter {
        text: number.to_string(),
        ports: minato_ports::PortRange::from_numbers(number, number).expect("a port"),
        transport: None,
    };
    View::Ports(PortQuery { filter: Some(filter), ..PortQuery::default() })
}

async fn code_of(view: View, fake: &Fake) -> u8 {
    let result = show(&Show { view, watch: None }, &fake.client, &terminal()).await;
    result.unwrap_or_else(|failure| failure.code)
}

#[tokio::test]
async fn views_of_nothing_succeed_and_questions_about_nothing_do_not() {
    let fake = Fake::absent();
    for view in [View::Hosts, View::Ports(PortQuery::default()), View::Flows(None), View::Forwards(None)] {
        assert_eq!(code_of(view, &fake).await, 0);
    }
    assert_eq!(code_of(ports(80), &fake).await, 10);
    assert_eq!(code_of(View::Flows(Some("web".parse().expect("a name"))), &fake).await, 10);
}

#[tokio::test]
async fn without_an_engine_json_is_an_empty_list() {
    let seen = look(&View::Hosts, &Fake::absent().client, &terminal()).await.expect("a view");
    assert_eq!(seen.text, "{\"version\":1,\"hosts\":[]}\n");
    assert!(!seen.running);
}

#[tokio::test]
async fn a_port_that_is_bound_is_found() {
    let fake = Fake::new(vec![Reply::Json(200, json!(samples::ports()))]);
    assert_eq!(code_of(ports(5432), &fake).await, 0);
    let missing = look(&ports(5433), &fake.client, &terminal()).await.expect("a view").missing.expect("a failure");
    assert_eq!(missing.title, "nothing is bound to port 5433 in network 'default'");
}

#[tokio::test]
async fn flows_of_a_host_are_those_that_begin_or_end_there() {
    let replies = [json!(samples::hosts()[1]), json!(samples::flows())].map(|body| Reply::Json(200, body));
    let fake = Fake::new(replies.to_vec());
    let view = View::Flows(Some("db".parse().expect("a name")));
    let text = look(&view, &fake.client, &terminal()).await.expect("a view").text;
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["flows"].as_array().map(Vec::len), Some(1), "{text}");
}
