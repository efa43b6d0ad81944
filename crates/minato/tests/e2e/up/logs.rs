//! What is kept of what programs say, and what is said where something is missing.

use std::process::Command;

use super::{says, write};
use crate::machine::{Machine, SOON, leftovers, wait_for, wait_until};

/// How many gaps are marked, each of them where lines are missing, and none where a mark is.
fn marked_gaps(logs: &str) -> usize {
    let (mut gaps, mut next, mut marked) = (0, 1, false);
    for line in logs.lines().filter_map(|line| line.strip_prefix("a | ")) {
        let number = match line.strip_prefix("line ") {
            Some(number) => number.parse().expect("a number"),
            None if line == "after" => 5001,
            None => {
                assert!(line.starts_with("[lines are missing here: No space left on device"), "{line}");
                (gaps, marked) = (gaps + 1, true);
                continue;
            }
        };
        assert_eq!(number != next, std::mem::take(&mut marked), "at {line}, after {}", next - 1);
        next = number + 1;
    }
    assert!(next == 5002 || next == 5001 || marked, "after {}", next - 1);
    gaps
}

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
        assert!(marked_gaps(&minato(&["logs", "a"]).finish().expect_success().stdout) > 0);
        mount("remount,size=4m");
        write(machine, "more", "");
        wait_until("the last line", SOON, || minato(&["logs", "a"]).finish().stdout.ends_with("a | after\n"));
        assert!(marked_gaps(&minato(&["logs", "a"]).finish().expect_success().stdout) > 0);
        says(&up, "is ready");
        up.stop().expect_success();
        assert!(Command::new("umount").arg(&small).status().expect("umount").success());
    });
}

#[test]
fn what_a_network_in_the_background_said_last_is_kept() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let text = "[host.a]\ncommand = ['sh', '-c', 'until [ -e end ]; do sleep 0.1; done; echo fatal: the reason; exit 3']\n";
        write(machine, "minato.toml", text);
        let up = || {
            let _ = std::fs::remove_file(machine.work().join("end"));
            user.minato_finish(&["up", "-d"]).expect_success();
            user.minato_finish(&["logs"]).expect_success()
        };
        let ended = || {
            wait_until("the end", SOON, || machine.engines().is_empty() && leftovers::runtime_directories().is_empty());
        };
        up();
        write(machine, "end", "");
        ended();
        let logs = user.minato_finish(&["logs", "-f"]).expect_success();
        for line in [" | fatal: the reason\n", "(up) | a ended with exit code 3\n"] {
            assert!(logs.stdout.contains(line), "no {line}: {}", logs.stdout);
        }
        logs.expect_stderr(&["network 'work' is not up; this was said until it ended"]);
        assert!(user.minato_finish(&["logs", "a"]).expect_success().stdout.contains("fatal"));
        user.minato_finish(&["logs", "nobody"]).expect_code(10);
        // The next one begins anew, and one whose engine is killed says so.
        assert!(!up().stdout.contains("fatal"));
        machine.engines()[0].kill();
        ended();
        let logs = wait_for("why", SOON, || {
            Some(user.minato_finish(&["logs"]).stdout)
                .filter(|logs| logs.contains("the engine of network 'work' ended"))
        });
        assert!(!logs.contains("fatal"), "{logs}");
        user.minato_finish(&["down"]).expect_success();
        user.minato_finish(&["logs"]).expect_code(10);
        // Whoever ends it has seen it.
        up();
        user.minato_finish(&["down"]).expect_success();
        user.minato_finish(&["logs"]).expect_code(10);
    });
}
