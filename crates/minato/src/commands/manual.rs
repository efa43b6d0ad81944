//! Completions, manual pages and the version: what the command says about itself.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::DONE;
use crate::failure::Failure;
use crate::flags::raw::Flags;
use crate::terminal::Terminal;

/// `minato completions SHELL`.
pub(super) fn completions(shell: Shell, terminal: &Terminal) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "minato", &mut script);
    terminal.print(&String::from_utf8_lossy(&script));
    DONE
}

/// `minato man`: the page of the command on standard output, or a page for each command into a directory.
pub(super) fn man(directory: Option<&Path>, terminal: &Terminal) -> Result<u8, Failure> {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command()).render(&mut page).map_err(cannot_render)?;
        terminal.print(&String::from_utf8_lossy(&page));
        return Ok(DONE);
    };
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command(), directory))
        .map_err(|error| Failure::caused(format!("cannot write manual pages into {}", directory.display()), error))?;
    Ok(DONE)
}

fn cannot_render(error: std::io::Error) -> Failure {
    Failure::caused("cannot make the manual page", error)
}

/// `minato version`.
pub(super) fn version(terminal: &Terminal) -> u8 {
    let version = env!("CARGO_PKG_VERSION");
    if terminal.json {
        let view = serde_json::json!({ "version": 1, "minato": version, "api": minato_inspect::API_VERSION });
        terminal.print(&format!("{view}\n"));
    } else {
        terminal.print(&format!("minato {version}\n"));
    }
    DONE
}

/// The command line without what is not for people: their completions and pages should not offer it.
fn command() -> clap::Command {
    let command = <Flags>::command();
    let visible: Vec<_> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
    let mut bare = clap::Command::new("minato").version(env!("CARGO_PKG_VERSION"));
    if let Some(about) = command.get_about() {
        bare = bare.about(about.clone());
    }
    bare.args(command.get_arguments().cloned()).subcommands(visible).disable_help_subcommand(true)
}
