//! `minato run` as a job of a shell at a terminal.

use crate::machine::{Machine, SOON, wait_until};

/// A shell at a terminal, which starts another one in a host; what is typed, and what must be seen then.
const SCRIPT: &str = r#"
import os, pty, re, select, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.environ['PS1'] = 'outer> '
    os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])
seen = ''
def expect(pattern):
    global seen
    deadline = time.monotonic() + 10
    while not (found := re.search(pattern, seen)):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]: sys.exit(f'no {pattern!r} in {seen!r}')
        seen += os.read(terminal, 65536).decode(errors='replace')
    seen = seen[found.end():]
def type(line): os.write(terminal, line.encode() + b'\n')
expect('outer> ')
type('PS1="in""ner> " /run/bin/minato run --name job -- bash --norc --noprofile -i')
expect('inner> ')
for turn in range(2):
    type('suspend')
    expect(r'\[1\]\+ +Stopped')
    type('echo out-$((1 + 1))-$MINATO_HOST.')
    expect(r'out-2-\.')
    type('fg')
    type('echo in-$((1 + 1))-$MINATO_HOST.')
    expect(r'in-2-job\.')
# A job of the inner shell is no matter of ours.
type('sleep 1000')
expect('sleep 1000')
time.sleep(0.5)
os.write(terminal, b'\x1a')
expect(r'\[1\]\+ +Stopped +sleep')
type('echo in-$((2 + 2))-$MINATO_HOST.')
expect(r'in-4-job\.')
if sys.argv[1] == 'exit':
    type('kill -9 %1; disown %1; exit 7')
    type('echo code-$?.')
    expect(r'code-7\.')
else:
    type('suspend')
    expect(r'\[1\]\+ +Stopped')
os.close(terminal)
"#;

#[test]
fn a_shell_that_suspends_itself_gives_the_terminal_back() {
    Machine::run(&["bash", "python3"], |machine| {
        for account in [machine.user(), machine.root()] {
            // And once more with a terminal that is closed in front of the stopped program.
            for end in ["exit", "close"] {
                account.finish("python3", &["-c", SCRIPT, end]).expect_success();
                wait_until("the host's end", SOON, || machine.engines().is_empty());
            }
        }
    });
}

/// Without a terminal a program is stopped and continued as any other, and nobody else with it.
#[test]
fn a_program_is_stopped_and_continued() {
    use rustix::process::Signal;
    Machine::run(&["sh"], |machine| {
        let user = machine.user();
        let script = "trap 'echo continued' CONT; echo started; kill -STOP $$; echo again; kill -STOP $$; exit 3";
        let run = user.run(&["--name", "job"], &["sh", "-c", script]);
        wait_until("the program", SOON, || run.stdout().contains("started"));
        wait_until("its stop", SOON, || {
            machine.processes_with_argument(script).iter().any(|process| process.name == "sh")
        });
        wait_until("a first CONT", SOON, || {
            run.signal(Signal::CONT);
            run.stdout().contains("again")
        });
        assert!(run.stdout().contains("continued"), "{}", run.stdout());
        let shell =
            machine.processes_with_argument(script).into_iter().find(|process| process.name == "sh").expect("it");
        let mut run = run;
        wait_until("its end", SOON, || {
            shell.signal(Signal::CONT);
            !run.is_running()
        });
        run.finish().expect_code(3);
    });
}
