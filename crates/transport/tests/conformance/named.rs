//! docs/conformance.md names tests: each must exist where it says.

use std::collections::HashSet;
use std::path::Path;

/// Functions as `module::name`, the module being the file's.
#[derive(Default)]
struct Functions {
    tests: HashSet<String>,
    all: HashSet<String>,
}

impl Functions {
    fn collect(&mut self, directory: &Path) {
        let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for entry in entries {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                self.collect(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.file_stem().expect("a name").to_string_lossy();
                let parent = directory.file_name().expect("a name").to_string_lossy();
                let module = if file == "mod" { parent } else { file }.into_owned();
                self.read(&module, &std::fs::read_to_string(&path).expect("readable"));
            }
        }
    }

    fn read(&mut self, module: &str, text: &str) {
        let mut test = false;
        for line in text.lines().map(str::trim) {
            test |= line == "#[test]";
            let Some((_, rest)) = line.split_once("fn ") else { continue };
            let Some((name, _)) = rest.split_once('(') else { continue };
            self.all.insert(name.to_owned());
            if std::mem::take(&mut test) {
                self.tests.insert(format!("{module}::{name}"));
            }
        }
    }

    /// A test by its module and name, or a method of a type where the document says that there is only code.
    fn has(&self, code: &str) -> bool {
        let mut parts = code.rsplit("::").filter(|part| *part != "tests");
        let (name, module) = (parts.next().unwrap_or(code), parts.next().unwrap_or_default());
        if module.starts_with(char::is_uppercase) {
            return self.all.contains(name);
        }
        self.tests.contains(&format!("{module}::{name}"))
    }
}

#[test]
fn every_test_that_the_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut functions = Functions::default();
    for place in ["crates/transport/tests", "crates/transport/src", "testing/sim/tests", "testing/sim/src"] {
        functions.collect(&root.join(place));
    }
    let document = std::fs::read_to_string(root.join("docs/conformance.md")).expect("docs/conformance.md");
    let mut named = 0;
    for code in document.split('`').skip(1).step_by(2).filter(|code| code.contains("::")) {
        assert!(functions.has(code), "docs/conformance.md names `{code}`, which does not exist");
        named += 1;
    }
    assert!(named > 100, "only {named} tests are named");
}
