//! An engine in a thread of this process, with a directory of its own.

use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use minato_engine::{EngineError, EngineOptions};

use crate::client::Client;

/// An engine; at the end of the test it must have ended by itself, and left nothing.
pub(crate) struct Engine {
    thread: Option<JoinHandle<Result<(), EngineError>>>,
    base: PathBuf,
    network: String,
}

impl Engine {
    pub(crate) fn start() -> Engine {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("minato-engine-test-{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&base).expect("a directory");
        let mut engine = Engine { thread: None, base, network: format!("test-{number}") };
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let options = EngineOptions { ready: Some(writer.into()), ..engine.options() };
        engine.thread = Some(thread::spawn(move || minato_engine::run(options)));
        let mut line = String::new();
        BufReader::new(fs::File::from(reader)).read_line(&mut line).expect("a line");
        assert_eq!(line, "{\"ready\":true}\n");
        engine
    }

    /// What it was started with.
    pub(crate) fn options(&self) -> EngineOptions {
        EngineOptions {
            network: self.network.clone(),
            runtime_directory: self.directory(),
            subnet: None,
            agent_program: std::env::current_exe().expect("the path of this program"),
            agent_arguments: vec!["__agent".into()],
            ready: None,
        }
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.base.join(&self.network)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.directory().join("api.sock"))
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn ends(mut self) {
        let thread = self.thread.take().expect("it was started");
        wait_until("the engine's end", || thread.is_finished());
        thread.join().expect("no panic").expect("a good end");
        assert!(!self.directory().exists(), "the directory is left");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// Waits for something that must happen soon.
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
