//! What is kept of what programs say, and what is said where something is missing.

use std::process::Command;

use super::{says, write};
use crate::machine::{Machine, SOON, wait_until};

#[test]
fn lines_that_a_full_disk_has_cost_are_missed() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let small = machine.work().join("small");
        let mount = |options: &str| {
            let options = format!("{options},uid=1000,gid=1000,mode=700");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &options, "none"]).arg(&small);
            assert!(mount.status().expect("mount").success());
        };
        std::fs::create_dir(&small).expect("a directory");
        mount("size=128k");
        let minato = |arguments: &[&str]| {
            let mut command = user.minato(arguments);
            user.start(command.env("XDG_RUNTIME_DIR", &small))
        };
        let text = "[host.a]\ncommand = ['sh', '-c', 'seq -f \"line %g\" 5000; until [ -e more ]; do sleep 0.1; done; \
                    echo after; exec sleep 1000']\n";
        write(machine, "minato.toml", text);
        let up = minato(&["up"]);
        wait_until("all lines", SOON, || up.stdout().contains("line 5000"));
        let logs = minato(&["logs", "a"]).finish().expect_success().stdout;
        let last = logs.lines().last().expect("a line");
        assert!(last.contains("a | [lines are missing here: No space left on device"), "{last}");
        mount("remount,size=4m");
        write(machine, "more", "");
        wait_until("the last line", SOON, || minato(&["logs", "a"]).finish().stdout.ends_with("a | after\n"));
        let logs = minato(&["logs", "a"]).finish().expect_success().stdout;
        let gaps: Vec<usize> =
            logs.lines().enumerate().filter(|(_, line)| line.contains("missing")).map(|(at, _)| at).collect();
        let lines = logs.lines().count();
        assert!(lines < 5000 && gaps == [lines - 2], "{gaps:?} of {lines}");
        says(&up, "is ready");
        up.stop().expect_success();
        assert!(Command::new("umount").arg(&small).status().expect("umount").success());
    });
}
