//! Whatever a file says, it is read or refused, with places that are in it.

use proptest::prelude::*;

use super::*;

/// A file with every key, as a beginning.
const FULL: &str = r#"network = "shop"
policy = "deny"
allow = ["*.example.com:443", "dns"]
environment = { A = "ä", B = 1 }
[host.web]
ports = { 80 = 8080, "53/udp" = ["127.0.0.1:5353", "auto"], "8000-8010" = "[::1]:9000-9010" }
ready = [80, "53/udp"]
ready-command = "true 'x y'"
depends-on = ["web"]
ephemeral-range = "50000-50099"
host-ports = [22]
stop-timeout = 3
[host.web.service.a]
command = "sh -c 'echo $HOME'"
restart = "always"
"#;

/// Cuts a piece out and puts something else there.
fn changed() -> impl Strategy<Value = String> {
    let pieces = prop_oneof!["[^\u{0}]{0,6}", "[\\[\\]{}=\".,:/0-9a-z-]{0,8}", Just("\n".to_owned())];
    (0..=FULL.len(), 0usize..30, pieces).prop_map(|(start, length, piece)| {
        let floor = |mut index: usize| {
            while !FULL.is_char_boundary(index) {
                index -= 1;
            }
            index
        };
        let (start, end) = (floor(start), floor((start + length).min(FULL.len())));
        format!("{}{piece}{}", &FULL[..start], &FULL[end.max(start)..])
    })
}

#[test]
fn a_problem_in_a_line_that_is_too_long_to_be_shown_is_told_without_the_line() {
    let long = "x".repeat(70_000);
    let why = refusal(&format!("[host.a]\ncommand = [\"{long}\", 5]\n"));
    assert!(why.contains("minato.toml:2: ") && why.len() < 500, "{} bytes: {why:.500}", why.len());
    // A line beside it would be shown too.
    let why = refusal(&format!("[host.a]\ncommand = 5\n# ä{long}"));
    assert!(why.contains("minato.toml:2: ") && why.len() < 500, "{} bytes: {why:.500}", why.len());
    // Many problems, each of them short.
    let why = refusal(&format!("a={}", "[".repeat(100_000)));
    assert!(why.contains("minato.toml:1: ") && why.len() < 20_000, "{} bytes: {why:.500}", why.len());
    // One further on is not.
    let why = refusal(&format!("[host.a]\ncommand = 5\n\n# {long}"));
    assert!(why.contains("2 │ command = 5"), "{why:.500}");
}

proptest! {
    #[test]
    fn nothing_that_a_file_says_is_fatal(text in changed()) {
        let mut sources = Sources::default();
        let file = sources.add("/nowhere/minato.toml".into(), text.clone());
        let mut problems = Vec::new();
        let draft = read::draft(&text, file, &mut problems);
        let choice = Choice::default();
        let plan = resolve::plan(&draft, &choice, &sources, &mut problems);
        prop_assert_eq!(plan.is_some(), problems.is_empty());
        let problems = Problems::found(sources, problems);
        for finding in problems.findings() {
            prop_assert!(finding.line >= 1 && finding.line <= text.lines().count() + 1, "{:?}", finding);
        }
        prop_assert!(!problems.into_failure().lines().is_empty());
    }
}
