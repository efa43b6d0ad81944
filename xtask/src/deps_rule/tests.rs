use std::path::Path;

use super::rules::check;
use super::workspace::{Dependency, Package, Source, load};

fn package(name: &str, library: &str) -> Package {
    let source = Source::parse(Path::new("src/lib.rs"), library).expect("Rust");
    Package { name: name.to_owned(), dependencies: Vec::new(), features: Vec::new(), sources: vec![source] }
}

fn using(mut package: Package, name: &str, for_tests_only: bool) -> Package {
    package.dependencies.push(Dependency { name: name.to_owned(), for_tests_only });
    package
}

fn only_violation(package: Package) -> String {
    let mut violations = check(&[package]);
    assert_eq!(violations.len(), 1, "{violations:?}");
    violations.remove(0)
}

const SAFE: &str = "#![forbid(unsafe_code)]";

#[test]
fn this_workspace_keeps_the_rules() {
    let packages = load().expect("cargo metadata");
    assert!(packages.iter().any(|package| package.name == "minato-ports"));
    assert_eq!(check(&packages), Vec::<String>::new());
}

#[test]
fn allowed_dependencies_are_allowed() {
    let transport = using(using(package("minato-transport", SAFE), "minato-ports", false), "smoltcp", false);
    assert_eq!(check(&[using(transport, "minato-sim", true)]), Vec::<String>::new());
}

#[test]
fn a_dependency_upwards_is_a_violation() {
    let ports = using(package("minato-ports", SAFE), "minato-transport", false);
    assert_eq!(only_violation(ports), "minato-ports: may not use minato-transport");
}

#[test]
fn a_dependency_for_tests_is_for_tests_only() {
    let transport = using(package("minato-transport", SAFE), "minato-sim", false);
    assert_eq!(only_violation(transport), "minato-transport: may not use minato-sim");
}

#[test]
fn the_binary_may_not_reach_past_the_engine() {
    let binary = using(package("minato", ""), "minato-relay", false);
    assert_eq!(only_violation(binary), "minato: may not use minato-relay");
}

#[test]
fn an_unknown_crate_is_a_violation() {
    assert!(only_violation(package("minato-extra", "")).contains("not in the table"));
}

#[test]
fn sans_io_crates_forbid_unsafe_code() {
    let relay = package("minato-relay", "//! forbid(unsafe_code) in a comment does not count");
    assert!(only_violation(relay).contains("does not say #![forbid(unsafe_code)]"));
}

#[test]
fn only_host_contains_unsafe() {
    let text = "// unsafe\nconst S: &str = \"unsafe\";\nfn f() { unsafe { g() } }";
    assert!(only_violation(package("minato-engine", text)).starts_with("minato-engine: src/lib.rs:3:"));
    assert_eq!(check(&[package("minato-host", text)]), Vec::<String>::new());
}

#[test]
fn sans_io_crates_may_not_allow_the_clock() {
    let text = "#![forbid(unsafe_code)]\n#![allow(clippy::disallowed_methods)]";
    assert!(only_violation(package("minato-ports", text)).starts_with("minato-ports: src/lib.rs:2:"));
    assert_eq!(check(&[package("minato-engine", text)]), Vec::<String>::new());
}

#[test]
fn tests_of_sans_io_crates_may_need_some_point_in_time() {
    let text =
        "#![forbid(unsafe_code)]\n#[cfg(test)]\nmod tests {\n#[allow(clippy::disallowed_methods)]\nfn now() {}\n}";
    assert_eq!(check(&[package("minato-relay", text)]), Vec::<String>::new());
}

#[test]
fn ports_and_transport_have_no_features() {
    let mut ports = package("minato-ports", SAFE);
    ports.features.push("fast".to_owned());
    assert_eq!(only_violation(ports), "minato-ports: has feature flags: fast");
}

#[test]
fn libraries_have_error_types() {
    let engine = using(package("minato-engine", ""), "anyhow", false);
    assert!(only_violation(engine).contains("anyhow"));
}
