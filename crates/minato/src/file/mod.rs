//! `minato.toml`: hosts, their programs and ports, read from one file or several that lie over each other.
//!
//! Three steps: [`read`] makes a [`Draft`](draft::Draft) of each file, [`draft`] lays them over each other, [`resolve`]
//! makes a [`Plan`] of the result. Every problem is found in one go and points at where it was written. What the keys
//! mean is said in docs/minato.toml.md, and for editors in docs/minato.schema.json.

mod draft;
mod environment;
mod plan;
mod policy;
mod ports;
mod problem;
mod read;
mod resolve;

use std::path::{Path, PathBuf};

use minato_engine::FixedSubnet;
pub(crate) use plan::{
    FREE_PORTS, Forward, HostPlan, HostPorts, Plan, ReadyPort, Restart, ServicePlan, instance_label,
};
pub(crate) use problem::{Finding, Problems};

use crate::failure::Failure;
use crate::flags::Name;
use problem::Sources;

/// The file that is read when none is named, and the one that is laid over it if it is there.
const DEFAULT: &str = "minato.toml";
const DEFAULT_OVERRIDE: &str = "minato.override.toml";

/// Which file, and under which name its network goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice {
    /// The files, the last one on top; none means `minato.toml`, with `minato.override.toml` over it if there is one.
    pub(crate) files: Vec<PathBuf>,
    /// The network's name, whatever the file says.
    pub(crate) network: Option<Name>,
    /// Which of many networks from this file.
    pub(crate) instance: Option<Name>,
    /// The network's subnet, whatever the file says.
    pub(crate) subnet: Option<FixedSubnet>,
}

impl Choice {
    /// Whether the file is there that is read when none is named.
    pub(crate) fn is_there(&self) -> bool {
        !self.files.is_empty() || Path::new(DEFAULT).exists()
    }

    /// The files that are read, absolute.
    pub(crate) fn paths(&self) -> Result<Vec<PathBuf>, Failure> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).map_err(|error| Failure::caused(format!("cannot find {}", path.display()), error))
        };
        if !self.files.is_empty() {
            return self.files.iter().map(absolute).collect();
        }
        let default = absolute(&PathBuf::from(DEFAULT))?;
        if !default.exists() {
            return Err(Failure::usage(format!("there is no {DEFAULT} in this directory"))
                .fix("add --file DIR/minato.toml, or --network NAME for a network that is up")
                .fix("go to the directory of the file; docs/minato.toml.md says what is in it"));
        }
        let over = default.with_file_name(DEFAULT_OVERRIDE);
        Ok(if over.exists() { vec![default, over] } else { vec![default] })
    }

    /// Reads the files and makes sense of them.
    pub(crate) fn plan(&self) -> Result<Plan, Problems> {
        let (draft, sources, mut problems) = self.read()?;
        if problems.is_empty()
            && let Some(plan) = resolve::plan(&draft, self, &sources, &mut problems)
        {
            return Ok(plan);
        }
        Err(Problems::found(sources, problems))
    }

    /// The network's name alone, also where the rest of the files makes no sense; without them, if `--network` names it.
    pub(crate) fn network(&self) -> Result<Name, Failure> {
        if let Some(network) = &self.network {
            return resolve::with_instance(network, self.instance.as_ref()).map_err(Failure::usage);
        }
        let (draft, sources, mut problems) = self.read().map_err(Problems::into_failure)?;
        let name = resolve::network(&draft, self, &sources, &mut problems);
        name.ok_or_else(|| Problems::found(sources, problems).into_failure())
    }

    /// Whether [`network`](Self::network) is what the files say: not where one can't be read as far as its network's name.
    pub(crate) fn names_network(&self) -> bool {
        self.read().is_ok_and(|(draft, ..)| !draft.hides_network)
    }

    fn read(&self) -> Result<(draft::Draft, Sources, Vec<problem::Problem>), Problems> {
        let mut sources = Sources::default();
        let mut problems = Vec::new();
        let mut draft = draft::Draft::default();
        for path in self.paths().map_err(Problems::unreadable)? {
            let text =
                std::fs::read_to_string(&path).map_err(|error| Problems::unreadable(cannot_read(&path, &error)))?;
            let file = sources.add(path, text);
            draft = read::draft(sources.text(file), file, &mut problems).over(draft);
        }
        Ok((draft, sources, problems))
    }
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot read {}", path.display())).detail(error.to_string())
}

#[cfg(test)]
mod tests;
