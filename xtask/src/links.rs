//! Links of the Markdown files: what they lead to within the repository must be there.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};

use crate::command;

/// Fails, and names them, if links of files that git knows lead nowhere.
pub(crate) fn run() -> Result<()> {
    let root = crate::workspace_root();
    let mut list = std::process::Command::new("git");
    let list = command::output(list.current_dir(&root).args(["ls-files", "*.md"]))?;
    let mut broken = Vec::new();
    for file in list.lines() {
        let text = fs::read_to_string(root.join(file))?;
        let read = |path: &Path| {
            let path = root.join(path);
            path.exists().then(|| fs::read_to_string(path).unwrap_or_default())
        };
        broken.extend(broken_links(Path::new(file), &text, read).into_iter().map(|link| format!("{file}: {link}")));
    }
    ensure!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    eprintln!("xtask: links: {} files, and every link of theirs leads somewhere", list.lines().count());
    Ok(())
}

/// Links of a file that lead nowhere in the repository. `read` gives what stands at a path; nothing for a directory.
fn broken_links(file: &Path, text: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let leads_nowhere = |link: &&str| {
        let (path, heading) = link.split_once('#').unwrap_or((link, ""));
        let target = match path {
            "" => file.to_owned(),
            path => resolve(file, path),
        };
        let Some(content) = read(&target) else { return true };
        let is_text = target.extension().is_some_and(|extension| extension == "md");
        is_text && !heading.is_empty() && !headings(&content).any(|anchor| anchor == heading)
    };
    let is_elsewhere = |link: &&str| ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme));
    links(text).filter(|link| !is_elsewhere(link)).filter(leads_nowhere).map(str::to_owned).collect()
}

/// The targets of `[text](target)`, but not what is quoted as code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let words = prose(text).flat_map(|line| line.split('`').step_by(2));
    words.flat_map(|words| words.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()))
}

/// The anchors of headings, as GitHub makes them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter_map(|line| line.strip_prefix('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// The lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .scan(false, |fenced, line| {
            let is_fence = line.trim_start().starts_with("```");
            *fenced ^= is_fence;
            Some((!*fenced && !is_fence).then_some(line))
        })
        .flatten()
}

/// A path that is relative to a file.
fn resolve(file: &Path, path: &str) -> PathBuf {
    let mut resolved = file.parent().map(Path::to_owned).unwrap_or_default();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            component => resolved.push(component),
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let read = |path: &Path| match path.to_str() {
            Some("README.md") => Some("# Top\n## What `it` does, and how\n".to_owned()),
            Some("docs/adr" | "docs/one.md") => Some(String::new()),
            _ => None,
        };
        let broken = |text: &str| broken_links(Path::new("docs/one.md"), text, read);
        let fine = "[a](adr), [b](../README.md#what-it-does-and-how) [c](https://example.com/x.md)\n`[d](gone)`\n\
                    ```\n[e](gone)\n# no heading\n```\n[f](#)";
        assert_eq!(broken(fine), Vec::<String>::new());
        assert_eq!(
            broken("[a](gone.md) and [b](../README.md#else) [c](#no-heading)"),
            ["gone.md", "../README.md#else", "#no-heading"]
        );
    }
}
