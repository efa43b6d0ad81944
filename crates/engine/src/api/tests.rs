use std::collections::BTreeSet;

use serde_json::Value;

use super::{DESCRIPTION, operations};

/// Methods and paths of the file.
fn described() -> BTreeSet<(String, String)> {
    let file: Value = serde_json::from_str(DESCRIPTION).expect("JSON");
    let paths = file["paths"].as_object().expect("paths");
    let methods = |(path, item): (&String, &Value)| {
        let names = item.as_object().expect("a path item").keys().filter(|key| *key != "parameters");
        names.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

#[test]
fn the_file_describes_exactly_what_is_served() {
    let served: BTreeSet<_> =
        operations().iter().map(|(method, path, _)| (method.to_string(), (*path).to_owned())).collect();
    assert_eq!(served, described());
}

#[test]
fn the_file_is_of_the_version_that_is_served() {
    let file: Value = serde_json::from_str(DESCRIPTION).expect("JSON");
    let version = file["info"]["version"].as_str().and_then(|version| version.split('.').next()).expect("a version");
    assert_eq!(format!("v{version}"), minato_inspect::API_VERSION);
    assert!(operations().iter().all(|(_, path, _)| path.starts_with(&format!("/v{version}/"))));
}
