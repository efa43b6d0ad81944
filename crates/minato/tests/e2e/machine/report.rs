//! Everything that helps to understand a failure, to stderr, while what failed is still there.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{USER, processes};

/// Bytes of each file that are shown, from its end.
const SHOWN: usize = 6000;

/// Lets every panic be followed by a report.
pub(crate) fn on_panic() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        report();
    }));
}

fn report() {
    for directory in ["/run/log", "/run/kept"] {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().for_each(|path| show(&path.display().to_string(), &fs::read(path).unwrap_or_default()));
    }
    for uid in [USER, 0] {
        let directory = format!("/run/user/{uid}");
        if Path::new(&directory).join("minato/default/api.sock").exists() {
            ["ps", "ports", "flows", "forward ls"].iter().for_each(|view| show_view(uid, &directory, view));
        }
    }
    eprintln!("--- processes");
    processes::all().iter().for_each(|process| eprintln!("{process}"));
}

fn show_view(uid: u32, runtime_directory: &str, view: &str) {
    let mut command = Command::new("timeout");
    command.args(["5", "/run/bin/minato"]).args(view.split(' ')).env("XDG_RUNTIME_DIR", runtime_directory);
    command.uid(uid).gid(uid);
    if let Ok(output) = command.output() {
        show(&format!("minato {view}"), &[output.stdout, output.stderr].concat());
    }
}

fn show(title: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if !text.trim().is_empty() {
        let from = text.char_indices().rev().nth(SHOWN).map_or(0, |(index, _)| index);
        eprintln!("--- {title}\n{}", text[from..].trim_end());
    }
}
