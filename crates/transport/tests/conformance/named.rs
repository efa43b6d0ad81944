//! docs/conformance.md names tests: each must exist.

use std::collections::HashSet;
use std::path::Path;

fn collect(directory: &Path, names: &mut HashSet<String>) {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let functions = text.lines().filter_map(|line| Some(line.split_once("fn ")?.1));
            names.extend(functions.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
        }
    }
}

#[test]
fn every_test_that_the_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut names = HashSet::new();
    for place in ["crates/transport/tests", "crates/transport/src", "testing/sim/tests", "testing/sim/src"] {
        collect(&root.join(place), &mut names);
    }
    let document = std::fs::read_to_string(root.join("docs/conformance.md")).expect("docs/conformance.md");
    let mut named = 0;
    for code in document.split('`').skip(1).step_by(2).filter(|code| code.contains("::")) {
        let name = code.rsplit("::").next().unwrap_or(code);
        assert!(names.contains(name), "docs/conformance.md names `{code}`, which does not exist");
        named += 1;
    }
    assert!(named > 100, "only {named} tests are named");
}
