//! `docs/openapi.json`, as a judge of answers.

use std::collections::BTreeSet;

use jsonschema::{Draft, JSONSchema};
use serde_json::{Value, json};

use crate::client::Answer;

/// The file, and which of its operations were seen to succeed.
pub(crate) struct Document {
    file: Value,
    succeeded: BTreeSet<(String, String)>,
}

impl Document {
    /// What the engine itself gives out must be the file.
    pub(crate) fn of(served: &Answer) -> Document {
        let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json")).expect("the file");
        assert!(served.body == text, "the engine serves another description");
        let mut file: Value = serde_json::from_slice(&text).expect("JSON");
        for (_, schema) in file["components"]["schemas"].as_object_mut().expect("schemas") {
            close(schema);
        }
        Document { file, succeeded: BTreeSet::new() }
    }

    /// The operations, as method and path.
    pub(crate) fn operations(&self) -> BTreeSet<(String, String)> {
        let paths = self.file["paths"].as_object().expect("paths");
        let methods = |(path, item): (&String, &Value)| {
            let names = item.as_object().expect("a path item").keys().filter(|key| *key != "parameters");
            names.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        };
        paths.iter().flat_map(methods).collect()
    }

    /// The operations that never succeeded.
    pub(crate) fn unproven(&self) -> Vec<(String, String)> {
        self.operations().difference(&self.succeeded).cloned().collect()
    }

    /// Panics unless this answer to an operation is one that the file allows.
    pub(crate) fn judge(&mut self, method: &str, path: &str, answer: &Answer) {
        let status = answer.status.to_string();
        let schema = self.schema_of(method, path, &status, &answer.content_type);
        let text = String::from_utf8_lossy(&answer.body);
        for part in parts(&answer.content_type, &text) {
            self.validate(&schema, &part, &format!("{method} {path} → {status}"));
        }
        if status == "200" {
            self.succeeded.insert((method.to_owned(), path.to_owned()));
        }
    }

    /// Panics unless the file allows that this operation is answered by an upgrade, whose end counts as a success.
    pub(crate) fn judge_upgrade(&mut self, method: &str, path: &str, status: u16) {
        assert_eq!(status, 101, "{method} {path}");
        let response = &self.file["paths"][path][method.to_lowercase()]["responses"]["101"];
        assert!(response.is_object(), "{method} {path}: an upgrade is not documented");
        self.succeeded.insert((method.to_owned(), path.to_owned()));
    }

    fn schema_of(&self, method: &str, path: &str, status: &str, content_type: &str) -> Value {
        let operation = &self.file["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not in the file");
        let mut response = &operation["responses"][status];
        if let Some(reference) = response["$ref"].as_str() {
            response = self.file.pointer(&reference[1..]).expect("what is referred to");
        }
        let schema = &response["content"][content_type]["schema"];
        assert!(schema.is_object(), "{method} {path}: {status} with {content_type} is not documented");
        schema.clone()
    }

    fn validate(&self, schema: &Value, value: &Value, what: &str) {
        let whole = json!({ "allOf": [schema], "components": self.file["components"] });
        let compiled = JSONSchema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            // The library's own takes no address that begins with 0.
            .with_format("ipv4", |text| text.parse::<std::net::Ipv4Addr>().is_ok())
            .compile(&whole);
        let compiled = compiled.unwrap_or_else(|error| panic!("{what}: {error}"));
        if let Err(errors) = compiled.validate(value) {
            let errors: Vec<String> = errors.map(|error| format!("{} at {}", error, error.instance_path)).collect();
            panic!("{what}: {errors:?}\n{value:#}");
        };
    }
}

/// The values in an answer: one, or one for each line or event.
fn parts(content_type: &str, text: &str) -> Vec<Value> {
    let parse = |text: &str| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    match content_type {
        "application/jsonl" => text.lines().map(parse).collect(),
        "text/event-stream" => text.lines().filter_map(|line| line.strip_prefix("data: ")).map(parse).collect(),
        _ => vec![parse(text)],
    }
}

/// Allows no property that is not documented: clients must bear new ones, but the file must know them.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            if map.contains_key("properties") {
                map.insert("additionalProperties".into(), Value::Bool(false));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}
