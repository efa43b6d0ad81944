//! What is measured, and how several results become one.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// A row of the table, in both directions.
pub(crate) struct Row {
    /// The load program's name for it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    /// Multiplies a result into the unit.
    pub(crate) scale: f64,
}

pub(crate) const ROWS: &[Row] = &[
    Row { name: "bulk-1", title: "bulk TCP, 1 stream", unit: "Gbit/s", scale: 1.0 },
    Row { name: "bulk-4", title: "bulk TCP, 4 streams", unit: "Gbit/s", scale: 1.0 },
    Row { name: "exchange", title: "request/response", unit: "1000/s", scale: 1e-3 },
    Row { name: "connect", title: "connect/request/close", unit: "1000/s", scale: 1e-3 },
    Row { name: "datagrams", title: "UDP 1,400 B delivered", unit: "1000/s", scale: 1e-3 },
];

/// Who sends: the guest, or a client on the machine through a forward.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Direction {
    /// From the guest to a server on the machine's outer address.
    Out,
    /// From a client on the machine to a server in the guest.
    In,
}

impl Display for Direction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Direction::Out => "out",
            Direction::In => "in",
        })
    }
}

/// One run's result, or why there is none.
pub(crate) type Outcome = Result<f64, Failure>;

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The contender has no such path.
    NotOffered,
    /// It was tried.
    Failed(String),
}

/// All results of one row, in the order of the contenders.
#[derive(Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// The row's name.
    pub(crate) row: String,
    pub(crate) direction: Direction,
    pub(crate) results: Vec<Vec<Outcome>>,
}

impl Measurement {
    /// The row that it is of; the first one if there is none of that name.
    pub(crate) fn row(&self) -> &'static Row {
        ROWS.iter().find(|row| row.name == self.row).unwrap_or(&ROWS[0])
    }

    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.row().title, self.direction)
    }

    pub(crate) fn is_of_same_row(&self, other: &Measurement) -> bool {
        (&self.row, self.direction) == (&other.row, other.direction)
    }

    /// Its place in the table.
    pub(crate) fn place(&self) -> (usize, Direction) {
        (ROWS.iter().position(|row| row.name == self.row).unwrap_or(ROWS.len()), self.direction)
    }
}

/// What the runs of one contender in one row come to.
pub(crate) struct Summary {
    /// Of the runs that succeeded.
    pub(crate) median: Option<f64>,
    /// Median of the ratios to the baseline, each within one round: both sides of it met the same machine.
    pub(crate) ratio: Option<f64>,
    /// Largest less smallest result, as a part of the median.
    pub(crate) spread: f64,
    pub(crate) failures: Vec<String>,
    pub(crate) offered: bool,
}

impl Summary {
    pub(crate) fn of(outcomes: &[Outcome], baseline: &[Outcome]) -> Self {
        let succeeded = |outcome: &Outcome| outcome.as_ref().ok().copied();
        let values = sorted(outcomes.iter().filter_map(succeeded));
        let rounds = outcomes.iter().zip(baseline);
        let ratios = sorted(rounds.filter_map(|(value, baseline)| Some(succeeded(value)? / succeeded(baseline)?)));
        let median = values.get(values.len() / 2).copied();
        let spread = match (values.first(), values.last(), median) {
            (Some(least), Some(most), Some(median)) if median > 0.0 => (most - least) / median,
            _ => 0.0,
        };
        let failures = outcomes.iter().filter_map(|outcome| match outcome {
            Err(Failure::Failed(reason)) => Some(reason.clone()),
            _ => None,
        });
        let offered = !outcomes.iter().all(|outcome| matches!(outcome, Err(Failure::NotOffered)));
        let ratio = ratios.get(ratios.len() / 2).copied();
        Self { median, ratio, spread, failures: failures.collect(), offered }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_successful_runs_and_failures_stay_visible() {
        let baseline = [Ok(6.0), Ok(6.0), Ok(1.0), Ok(2.0)];
        let summary = Summary::of(&[Ok(3.0), Err(Failure::Failed("stalled".to_owned())), Ok(1.0), Ok(2.0)], &baseline);
        assert_eq!(summary.median, Some(2.0));
        assert_eq!(summary.ratio, Some(1.0), "of 0.5, 1 and 1");
        assert!((summary.spread - 1.0).abs() < 1e-9);
        assert_eq!(summary.failures, ["stalled"]);
    }

    #[test]
    fn a_path_that_is_not_offered_did_not_fail() {
        let summary = Summary::of(&[Err(Failure::NotOffered)], &[Ok(1.0)]);
        assert!(!summary.offered && summary.failures.is_empty() && summary.median.is_none());
    }
}
