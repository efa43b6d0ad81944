//! The rest of the world: the network namespace at the other end of the machine's link.

use std::fs::File;
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Machine;

const NAMESPACE: &str = "/run/netns/outside";

impl Machine {
    /// Runs `body` outside, on a thread of its own, and gives its result.
    pub(crate) fn outside<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        match self.outside_thread(body).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Starts `body` outside.
    pub(crate) fn outside_thread<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        thread::spawn(move || {
            let namespace = File::open(NAMESPACE).expect("the outside namespace");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("to join it");
            body()
        })
    }

    /// A command that runs outside, as root.
    pub(crate) fn outside_command<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> std::process::Command {
        let mut command = self.root().command("nsenter");
        command.arg(format!("--net={NAMESPACE}")).args(words);
        command
    }
}
