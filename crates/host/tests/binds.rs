//! Programs that ask about their binds.
#![allow(clippy::disallowed_methods)]

mod common;

use std::process::Stdio;

use common::{World, command, in_worlds};
use minato_host::{
    binds::{self, Asked},
    enter::Identity,
};

#[test]
fn binds_that_nobody_serves_are_the_kernels() {
    const PROGRAM: &str = "
import socket
first, second = socket.socket(), socket.socket()
first.bind(('', 80))
try:
    second.bind(('', 80))
except OSError as error:
    print(error.strerror)
";
    in_worlds("binds_that_nobody_serves_are_the_kernels", || {
        if std::process::Command::new("python3").arg("-V").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "needs python3");
            return eprintln!("SKIPPED: needs python3 (apt-get install python3)");
        }
        let world = World::new();
        let host = world.host(2);
        for asked in [Asked::Binds, Asked::BindsAndConnects] {
            let mut command = command(&host, Identity::Own, &["python3", "-c", PROGRAM]);
            command.stdout(Stdio::piped());
            let pending = binds::ask(&mut command, asked).unwrap();
            let child = command.spawn().unwrap();
            drop(command);
            let listener = pending.take().unwrap().expect("the kernel takes the filter");
            binds::let_pass(listener).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), "Address already in use\n");
        }
    });
}
