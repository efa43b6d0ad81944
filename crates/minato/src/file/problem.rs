//! What is wrong with a file, where, and how it is shown.

use std::fmt;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use serde::Serialize;

use crate::failure::Failure;

/// Where something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the [`Sources`].
    pub(super) file: usize,
    /// First byte, and the one behind the last.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A value and where it was written. Equal values are equal wherever they were written.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &At<T>) -> bool {
        self.value == other.value
    }
}

/// Most bytes of a line that is shown; nobody reads a longer one, and no mark below it could be found.
const LONGEST_DRAWN: usize = 2000;

/// The files that were read.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<(PathBuf, String)>);

impl Sources {
    pub(super) fn add(&mut self, path: PathBuf, text: String) -> usize {
        self.0.push((path, text));
        self.0.len() - 1
    }

    pub(super) fn text(&self, file: usize) -> &str {
        &self.0[file].1
    }

    pub(super) fn path(&self, file: usize) -> &Path {
        &self.0[file].0
    }

    /// The directory that paths in a file are relative to.
    pub(super) fn directory(&self, file: usize) -> &Path {
        self.path(file).parent().unwrap_or(Path::new("/"))
    }

    /// The files by name.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(path, _)| path.as_path())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    message: String,
    /// Where it shows, all in one file with the first; what is said there.
    labels: Vec<(Place, String)>,
    help: Option<String>,
}

impl Problem {
    /// A problem with a mark and a few words beside it.
    pub(super) fn new(message: impl Into<String>, place: Place, label: impl Into<String>) -> Problem {
        Problem { message: message.into(), labels: vec![(place, label.into())], help: None }
    }

    /// Another place that has to do with it.
    pub(super) fn and(mut self, place: Place, label: impl Into<String>) -> Problem {
        self.labels.push((place, label.into()));
        self
    }

    /// Whether it is about this place.
    pub(super) fn is_at(&self, place: Place) -> bool {
        self.labels.first().is_some_and(|(other, _)| *other == place)
    }

    /// What to do.
    pub(super) fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// Everything that is wrong.
#[derive(Debug)]
pub(crate) struct Problems(What);

#[derive(Debug)]
enum What {
    Unreadable(Failure),
    Found(Sources, Vec<Problem>),
}

/// A problem as `minato check --json` shows it.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// The file.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// Why, in a few words about what stands there.
    pub(crate) why: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

impl Problems {
    pub(super) fn unreadable(failure: Failure) -> Problems {
        Problems(What::Unreadable(failure))
    }

    pub(super) fn found(sources: Sources, problems: Vec<Problem>) -> Problems {
        Problems(What::Found(sources, problems))
    }

    /// Whether the files could be read, and it is what they say that is wrong.
    pub(crate) fn is_in_file(&self) -> bool {
        matches!(self.0, What::Found(..))
    }

    /// As data.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let What::Found(sources, problems) = &self.0 else { return Vec::new() };
        problems.iter().map(|problem| finding(sources, problem)).collect()
    }

    /// As a command says it.
    pub(crate) fn into_failure(self) -> Failure {
        let (sources, problems) = match self.0 {
            What::Unreadable(failure) => return failure,
            What::Found(sources, problems) => (sources, problems),
        };
        let place = match sources.0.as_slice() {
            [(path, _)] => path.display().to_string(),
            _ => "these files".to_owned(),
        };
        let count = if problems.len() == 1 { "a problem".to_owned() } else { format!("{} problems", problems.len()) };
        let failure = Failure::usage(format!("{count} in {place}"));
        let lines = problems.iter().flat_map(|problem| shown(&sources, problem));
        lines.fold(failure, Failure::detail)
    }
}

fn finding(sources: &Sources, problem: &Problem) -> Finding {
    let (place, why) = &problem.labels[0];
    let before = &sources.text(place.file)[..place.start];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    Finding {
        file: sources.path(place.file).display().to_string(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: problem.message.clone(),
        why: why.clone(),
        help: problem.help.clone(),
    }
}

/// The lines of a report: where, the lines of the file with a mark, and what to do.
fn shown(sources: &Sources, problem: &Problem) -> Vec<String> {
    let file = problem.labels[0].0.file;
    let drawn = can_be_drawn(sources, problem, file).then_some(file);
    let report = Report {
        problem,
        drawn,
        source: NamedSource::new(sources.path(file).display().to_string(), sources.text(file).to_owned()),
        elsewhere: elsewhere(sources, problem, drawn),
    };
    let mut text = String::new();
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_links(false).with_width(110);
    // Writing to a string can't fail.
    let _ = handler.render_report(&mut text, &report);
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Whether the lines that the labels in a file point at, and those beside them, are short enough to be shown.
fn can_be_drawn(sources: &Sources, problem: &Problem, file: usize) -> bool {
    let text = sources.text(file);
    let is_short = |place: &Place| {
        let line_before = |end: usize| text[..end].rfind('\n').unwrap_or(0);
        let line_after = |start: usize| text[start..].find('\n').map_or(text.len(), |length| start + length);
        let behind = line_after(place.end.max(place.start));
        let shown = &text[line_before(line_before(place.start))..line_after((behind + 1).min(text.len()))];
        shown.lines().all(|line| line.len() <= LONGEST_DRAWN)
    };
    problem.labels.iter().map(|(place, _)| place).filter(|place| place.file == file).all(is_short)
}

/// What the labels say that are not in the file that is drawn, each with its line.
fn elsewhere(sources: &Sources, problem: &Problem, drawn: Option<usize>) -> Option<String> {
    let others = problem.labels.iter().filter(|(place, _)| Some(place.file) != drawn);
    let line = |place: &Place| sources.text(place.file)[..place.start].matches('\n').count() + 1;
    let said = others.map(|(place, label)| format!("{}:{}: {label}", sources.path(place.file).display(), line(place)));
    let lines: Vec<String> = said.chain(problem.help.clone()).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// A problem as miette takes it.
struct Report<'a> {
    problem: &'a Problem,
    /// The file whose lines are shown.
    drawn: Option<usize>,
    source: NamedSource<String>,
    elsewhere: Option<String>,
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("problem", self.problem).finish_non_exhaustive()
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Report<'_> {}

impl Diagnostic for Report<'_> {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        self.elsewhere.as_ref().map(|text| Box::new(text) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let here = self.problem.labels.iter().filter(|(place, _)| Some(place.file) == self.drawn);
        Some(Box::new(here.map(|(place, label)| {
            LabeledSpan::new(Some(label.clone()), place.start, place.end.saturating_sub(place.start))
        })))
    }
}
