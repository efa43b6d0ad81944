//! The schema that is published for editors says what the parser says.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::file::read::{FILE_KEYS, HOST_KEYS, PROGRAM_KEYS};

const SCHEMA: &str = include_str!("../../../../../docs/minato.schema.json");

/// Hosts that are right, and others that are wrong: lines of `[host.a]`, which has a command unless they give it one.
const RIGHT: &[&str] = &[
    "",
    "command = \"a 'b c'\"",
    "command = ['a', '', '|']",
    "ports = { 80 = 8080, '53/udp' = '127.0.0.1:5353', '8000-8010' = '9000-9010', ftp = 'auto', 81 = ['[::1]:81', 82], 83 = false }",
    "environment = { A = 'x', B = 1, C = true, D = 0.5 }",
    "ports = { 80 = 0x1F90 }",
    "ready = 0x50",
    "host-ports = [0x1538]",
    "stop-timeout = 0xE10",
    "directory = 'sub'",
    "restart = 'on-failure'",
    "map-root = true",
    "bind-watch = false",
    "direct = true",
    "ready = 80",
    "ready = ['53/udp', 80]",
    "ready = false",
    "ready-command = 'pg_isready -q'",
    "depends-on = ['b']",
    "ephemeral-range = '50000-50099'",
    "host-ports = [5432]",
    "policy = 'open'",
    "allow = ['*.example.com:443', '10.0.0.0/8:5432', 'dns']",
    "policy = 'deny'",
    "deny = ['10.0.0.0/8']",
    "stop-timeout = 0",
    "networks = ['back']",
];
const WRONG: &[&str] = &[
    "command = ''",
    "command = []",
    "command = ['']",
    "command = 1",
    "ports = [80]",
    "ports = { 80 = true }",
    "ports = { 80 = 0 }",
    "ports = { 80 = 65536 }",
    "ports = { 80 = {} }",
    "environment = ['A=x']",
    "environment = { A = [] }",
    "environment = { 'A B' = 'x' }",
    "directory = 1",
    "env-file = 1",
    "restart = 'maybe'",
    "map-root = 'yes'",
    "bind-watch = 0",
    "direct = 'yes'",
    "ready = true",
    "ready = 0",
    "ready-command = ''",
    "depends-on = 'b'",
    "depends-on = ['B']",
    "ephemeral-range = 'x'",
    "host-ports = 80",
    "host-ports = [0]",
    "host-ports = [0x10000]",
    "ports = { 80 = 0x10000 }",
    "stop-timeout = 0xE11",
    "policy = 'shut'",
    "allow = 'dns'",
    "deny = '10.0.0.0/8'",
    "networks = ['NET']",
    "stop-timeout = -1",
    "stop-timeout = 3601",
    "unheard-of = 1",
    "[host.gateway]\ncommand = 'x'",
    "[host.localhost]\ncommand = 'x'",
    "service = 1",
    "service.X = { command = 'a' }",
    "service.x = { ports = {} }",
];

#[test]
fn the_schema_has_the_parsers_keys() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let keys = |place: &str| {
        let properties = schema.pointer(place).and_then(|place| place.get("properties")).and_then(Value::as_object);
        properties.expect("an object").keys().cloned().collect::<BTreeSet<String>>()
    };
    let set = |known: &[&[&str]]| known.iter().flat_map(|keys| keys.iter().map(|key| (*key).to_owned())).collect();
    assert_eq!(keys(""), set(&[FILE_KEYS]));
    assert_eq!(keys("/$defs/host"), set(&[HOST_KEYS, PROGRAM_KEYS]));
    assert_eq!(keys("/$defs/service"), set(&[PROGRAM_KEYS]));
}

#[test]
fn the_schema_and_the_parser_say_the_same() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let schema = jsonschema::JSONSchema::compile(&schema).expect("a schema");
    let text = |lines: &str| {
        let command = if lines.starts_with("command") { "" } else { "command = 'x'\n" };
        let command = if lines.starts_with("service.") { "" } else { command };
        format!("[host.a]\n{command}{lines}\n[host.b]\ncommand = 'b'\n")
    };
    for (all, right) in [(RIGHT, true), (WRONG, false)] {
        for lines in all {
            let text = text(lines);
            let parsed = plan_of(&[("minato.toml", &text)], None);
            assert_eq!(parsed.is_ok(), right, "the parser, of {lines}: {parsed:?}");
            let value: toml::de::DeValue<'_> =
                toml::de::DeValue::Table(toml::de::DeTable::parse(&text).expect("TOML").into_inner());
            assert_eq!(schema.is_valid(&json(&value)), right, "the schema, of {lines}");
        }
    }
}

/// TOML as JSON, as editors validate it.
fn json(value: &toml::de::DeValue<'_>) -> Value {
    use toml::de::DeValue;
    match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).expect("a number").into(),
        DeValue::Float(number) => number.as_str().parse::<f64>().expect("a number").into(),
        DeValue::Boolean(truth) => (*truth).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(list) => list.iter().map(|one| json(one.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(
            table.iter().map(|(key, value)| (key.get_ref().clone().into_owned(), json(value.get_ref()))).collect(),
        ),
    }
}
