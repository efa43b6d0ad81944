//! `docs/schemas/views.json` as a judge of what `--json` prints.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use jsonschema::{Draft, JSONSchema};
use serde_json::{Value, json};

const VIEWS: &str = include_str!("../../../../../docs/schemas/views.json");
const API: &str = include_str!("../../../../../docs/openapi.json");

/// What tells the views apart: their names, or all that they must have.
pub(crate) fn views() -> BTreeSet<Vec<String>> {
    file()["oneOf"].as_array().expect("views").iter().map(required).collect()
}

/// Panics unless each line is a view as the file describes it, without a property that is not in it. Gives the views.
pub(crate) fn judge(lines: &str) -> BTreeSet<Vec<String>> {
    lines.lines().map(judge_line).collect()
}

fn judge_line(line: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let keys: BTreeSet<&String> = value.as_object().expect("an object").keys().collect();
    let all = file()["oneOf"].as_array().expect("views");
    let view = all.iter().find(|view| required(view).iter().collect::<BTreeSet<_>>() == keys);
    let view = view.unwrap_or_else(|| panic!("no view has {keys:?}: {line}"));
    let whole = json!({ "allOf": [view], "$defs": file()["$defs"], "components": file()["components"] });
    let mut options = JSONSchema::options();
    let compiled = options.with_draft(Draft::Draft202012).compile(&whole);
    let compiled = compiled.unwrap_or_else(|error| panic!("{error}"));
    if let Err(errors) = compiled.validate(&value) {
        let errors: Vec<String> = errors.map(|error| format!("{error} at {}", error.instance_path)).collect();
        panic!("{errors:?}: {line}");
    }
    required(view)
}

/// The file with the parts of the API's that it refers to, and closed: clients must bear new properties, but the file
/// must know them.
fn file() -> &'static Value {
    static FILE: OnceLock<Value> = OnceLock::new();
    FILE.get_or_init(|| {
        let text = VIEWS.replace("../openapi.json#/", "#/");
        let mut file: Value = serde_json::from_str(&text).expect("JSON");
        let api: Value = serde_json::from_str(API).expect("JSON");
        file["components"] = json!({ "schemas": api["components"]["schemas"] });
        close(&mut file);
        file
    })
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            if map.get("type").is_some_and(|kind| kind == "object") && map.contains_key("properties") {
                map.insert("additionalProperties".into(), Value::Bool(false));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

fn required(view: &Value) -> Vec<String> {
    let names = view["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}
