//! What was measured of one state of the source. A full run takes ten minutes; so rows may be measured one after the
//! other, and the table is complete when the last of them is there.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::measurement::Measurement;
use crate::tools;

/// All that is known of one state of the source.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Record {
    source: String,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) idle: String,
    pub(crate) starts: String,
}

impl Record {
    /// What is known of the present source so far.
    pub(crate) fn load() -> Record {
        let source = source();
        let known = fs::read(path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        known.filter(|record: &Record| record.source == source).unwrap_or(Record { source, ..Record::default() })
    }

    /// Adds what was measured now; of rows that were measured before, the latest counts.
    pub(crate) fn add(&mut self, measurements: Vec<Measurement>, idle: Option<String>, starts: Option<String>) {
        for measurement in measurements {
            self.measurements.retain(|known| !known.is_of_same_row(&measurement));
            self.measurements.push(measurement);
        }
        self.measurements.sort_by_key(Measurement::place);
        self.idle = idle.unwrap_or(std::mem::take(&mut self.idle));
        self.starts = starts.unwrap_or(std::mem::take(&mut self.starts));
    }

    pub(crate) fn save(&self) -> Result<()> {
        Ok(fs::write(path(), serde_json::to_vec(self)?)?)
    }
}

fn path() -> PathBuf {
    tools::target_directory().join("bench.json")
}

/// The state of the programs' source. That the tables of an earlier row were written does not change it.
fn source() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(crate::workspace_root()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    git(&["rev-parse", "HEAD:crates"]) + &git(&["diff", "HEAD", "--", "crates"])
}

#[cfg(test)]
mod tests {
    use super::super::measurement::{Direction, ROWS};
    use super::*;

    #[test]
    fn a_row_that_is_measured_again_replaces_the_old_one_and_rows_stay_in_order() {
        let of = |row: usize, value| Measurement {
            row: ROWS[row].name.to_owned(),
            direction: Direction::Out,
            results: vec![vec![Ok(value)]],
        };
        let mut record = Record::default();
        record.add(vec![of(2, 1.0)], Some("idle".to_owned()), None);
        record.add(vec![of(0, 1.0), of(2, 5.0)], None, Some("starts".to_owned()));
        let values: Vec<_> =
            record.measurements.iter().map(|row| (row.row.as_str(), row.results[0][0].clone().ok())).collect();
        assert_eq!(values, [(ROWS[0].name, Some(1.0)), (ROWS[2].name, Some(5.0))]);
        assert_eq!((record.idle.as_str(), record.starts.as_str()), ("idle", "starts"));
    }
}
