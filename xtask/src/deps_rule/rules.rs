//! The rules themselves.

use std::path::Path;

use super::workspace::{Package, Source};

/// A crate of the table: what it may use of the others, and what it may do.
struct Rule {
    name: &'static str,
    may_use: &'static [&'static str],
    /// Only in its tests.
    tests_may_use: &'static [&'static str],
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// No socket, no clock, no randomness of the system, no unsafe code.
    SansIo,
    /// May read clocks and open sockets.
    Io,
    /// The same, and may contain unsafe code.
    UnsafeIo,
}

const RULES: &[Rule] = &[
    Rule { name: "minato-ports", may_use: &[], tests_may_use: &[], kind: Kind::SansIo },
    Rule { name: "minato-transport", may_use: &["minato-ports"], tests_may_use: &["minato-sim"], kind: Kind::SansIo },
    Rule {
        name: "minato-relay",
        may_use: &["minato-ports", "minato-transport"],
        tests_may_use: &["minato-sim"],
        kind: Kind::SansIo,
    },
    Rule {
        name: "minato-tokio",
        may_use: &["minato-transport"],
        tests_may_use: &[],
        // The stack's clock and randomness for embedders.
        kind: Kind::Io,
    },
    Rule { name: "minato-inspect", may_use: &[], tests_may_use: &[], kind: Kind::SansIo },
    Rule { name: "minato-host", may_use: &[], tests_may_use: &[], kind: Kind::UnsafeIo },
    Rule {
        name: "minato-engine",
        may_use: &["minato-ports", "minato-transport", "minato-relay", "minato-inspect", "minato-host"],
        tests_may_use: &["minato-sim"],
        kind: Kind::Io,
    },
    Rule {
        name: "minato",
        // Host, because `run` itself forks the program and joins it to its namespaces, and `doctor` looks at the machine.
        may_use: &["minato-engine", "minato-host", "minato-inspect", "minato-ports"],
        tests_may_use: &[],
        kind: Kind::Io,
    },
    Rule {
        name: "minato-sim",
        may_use: &["minato-ports", "minato-transport", "minato-relay"],
        tests_may_use: &[],
        // It gives the sans-IO crates their time, and the zero of a virtual clock can only come from the real one.
        kind: Kind::Io,
    },
    Rule { name: "minato-load", may_use: &[], tests_may_use: &[], kind: Kind::Io },
    Rule { name: "xtask", may_use: &[], tests_may_use: &[], kind: Kind::Io },
];

/// Crates that promise their users to have no feature flags.
const WITHOUT_FEATURES: &[&str] = &["minato-ports", "minato-transport"];

/// Crates that may use `anyhow`: the ones that only print errors.
const MAY_USE_ANYHOW: &[&str] = &["minato", "minato-load", "xtask"];

/// Every violated rule as one line.
pub(crate) fn check(packages: &[Package]) -> Vec<String> {
    let mut violations = Vec::new();
    for package in packages {
        match RULES.iter().find(|rule| rule.name == package.name) {
            Some(rule) => check_package(package, rule, &mut violations),
            None => violations.push(format!("{}: not in the table of xtask/src/deps_rule/rules.rs", package.name)),
        }
    }
    violations
}

fn check_package(package: &Package, rule: &Rule, violations: &mut Vec<String>) {
    check_dependencies(package, rule, violations);
    if WITHOUT_FEATURES.contains(&rule.name) && !package.features.is_empty() {
        violations.push(format!("{}: has feature flags: {}", package.name, package.features.join(", ")));
    }
    if rule.kind == Kind::SansIo {
        check_sans_io(package, violations);
    }
    if rule.kind != Kind::UnsafeIo {
        check_safe(package, violations);
    }
}

fn check_dependencies(package: &Package, rule: &Rule, violations: &mut Vec<String>) {
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        if RULES.iter().any(|other| other.name == name) {
            let allowed =
                rule.may_use.contains(&name) || (dependency.for_tests_only && rule.tests_may_use.contains(&name));
            if !allowed {
                violations.push(format!("{}: may not use {name}", package.name));
            }
        }
        if name == "anyhow" && !MAY_USE_ANYHOW.contains(&rule.name) {
            violations.push(format!("{}: has error types of its own; anyhow is for the binaries", package.name));
        }
    }
}

fn check_sans_io(package: &Package, violations: &mut Vec<String>) {
    let forbids = |source: &Source| source.has_sequence(&["forbid", "unsafe_code"]);
    let library = package.sources.iter().find(|source| source.path == Path::new("src/lib.rs"));
    if !library.is_some_and(forbids) {
        violations.push(format!("{}: src/lib.rs does not say #![forbid(unsafe_code)]", package.name));
    }
    for source in sources_of_library(package) {
        for line in source.lines_of_product_with("disallowed_methods") {
            let reason =
                "a sans-IO crate takes time and randomness as arguments; only its tests may allow disallowed_methods";
            violations.push(violation(package, source, line, reason));
        }
    }
}

fn check_safe(package: &Package, violations: &mut Vec<String>) {
    for source in sources_of_library(package) {
        for line in source.lines_with("unsafe") {
            violations.push(violation(package, source, line, "only minato-host may contain unsafe code"));
        }
    }
}

fn sources_of_library(package: &Package) -> impl Iterator<Item = &Source> {
    package.sources.iter().filter(|source| source.path.starts_with("src"))
}

fn violation(package: &Package, source: &Source, line: usize, reason: &str) -> String {
    format!("{}: {}:{line}: {reason}", package.name, source.path.display())
}
