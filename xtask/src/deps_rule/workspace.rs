//! What the rules look at: the members of the workspace with their dependencies and the words of their sources.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use serde::Deserialize;

use crate::command;

/// A member of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: Vec<String>,
    pub(crate) sources: Vec<Source>,
}

/// One line of a `[dependencies]`, `[build-dependencies]` or `[dev-dependencies]`.
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) for_tests_only: bool,
}

/// One source file.
pub(crate) struct Source {
    /// Relative to the package: `src/lib.rs`.
    pub(crate) path: PathBuf,
    pub(crate) words: Vec<Word>,
}

/// An identifier or keyword, outside of comments and literals.
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// Reads all members with `cargo metadata`.
pub(crate) fn load() -> Result<Vec<Package>> {
    let metadata = command::output(&mut command::cargo(["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    metadata.packages.into_iter().map(MetadataPackage::into_package).collect()
}

impl Source {
    /// The words of `text`, in order.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        let tokens: TokenStream = text.parse().map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        let mut words = Vec::new();
        collect(tokens, &mut words);
        Ok(Self { path: path.to_owned(), words })
    }

    /// The lines on which `word` stands.
    pub(crate) fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.words.iter().filter(move |candidate| candidate.text == word).map(|word| word.line)
    }

    /// The same without test code: a test file, or what follows the first `cfg(test)` of another.
    pub(crate) fn lines_of_product_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let is_test_file =
            self.path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
        let inline = self.words.windows(2).find(|pair| pair[0].text == "cfg" && pair[1].text == "test");
        let end = if is_test_file { 0 } else { inline.map_or(usize::MAX, |pair| pair[0].line) };
        self.lines_with(word).filter(move |line| *line < end)
    }

    /// Whether `words` stand one after the other.
    pub(crate) fn has_sequence(&self, words: &[&str]) -> bool {
        self.words.windows(words.len()).any(|window| window.iter().zip(words).all(|(have, want)| have.text == *want))
    }
}

fn collect(tokens: TokenStream, words: &mut Vec<Word>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect(group.stream(), words),
            TokenTree::Ident(ident) => words.push(Word { text: ident.to_string(), line: ident.span().start().line }),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<MetadataDependency>,
    features: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct MetadataDependency {
    name: String,
    kind: Option<String>,
}

impl MetadataPackage {
    fn into_package(self) -> Result<Package> {
        let directory = self.manifest_path.parent().context("a manifest without a directory")?;
        let mut sources = Vec::new();
        read_sources(directory, directory, &mut sources)?;
        let dependencies = self.dependencies.into_iter().map(|dependency| Dependency {
            name: dependency.name,
            for_tests_only: dependency.kind.as_deref() == Some("dev"),
        });
        Ok(Package {
            name: self.name,
            dependencies: dependencies.collect(),
            features: self.features.keys().cloned().collect(),
            sources,
        })
    }
}

fn read_sources(package: &Path, directory: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            read_sources(package, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            sources.push(Source::parse(path.strip_prefix(package)?, &text)?);
        }
    }
    Ok(())
}
