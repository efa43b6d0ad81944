//! `minato run` as a job of a shell at a terminal.

use crate::machine::{Machine, Process, SOON, wait_until};

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
deadline = time.monotonic() + 10
# Only then does it listen to the key.
while open(f'/proc/{os.tcgetpgrp(terminal)}/comm').read() != 'sleep\n':
    if time.monotonic() > deadline: sys.exit('no sleep in front of the terminal')
    time.sleep(0.01)
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

/// `minato run` in front of all else at a terminal, as `xterm -e` and `ssh -t` start it. Its program stops and is continued
/// from outside, or its terminal is closed. Ends with minato's exit code.
const LEADER: &str = r#"
import os, pty, re, sys, time
program, end = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv('/run/bin/minato', ['minato', 'run', '--name', 'job', '--', 'sh', '-c', program])
def state(pid): return open(f'/proc/{pid}/stat').read().rsplit(') ')[1][0]
seen = ''
while not (found := re.search(r'shell (\d+)\.', seen)): seen += os.read(terminal, 65536).decode()
shell = int(found[1])
if 'STOP' in program:
    while state(shell) != 'T': time.sleep(0.01)
    for turn in range(50):
        if state(pid) == 'T': sys.exit('minato has stopped, and nobody will continue it')
        time.sleep(0.01)
if end == 'close': os.close(terminal)
else: os.kill(shell, 18)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn a_terminal_without_a_shell_is_closed_or_goes_on() {
    Machine::run(&["python3", "sh"], |machine| {
        let runs = "echo shell $$.; exec sleep 1000";
        let stops = "echo shell $$.; kill -STOP $$; exit 3";
        for account in [machine.user(), machine.root()] {
            for (program, end, code) in [(runs, "close", 129), (stops, "close", 129), (stops, "continue", 3)] {
                account.finish("python3", &["-c", LEADER, program, end]).expect_code(code);
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
        let processes = machine.processes_with_argument(script);
        let shell = processes.iter().find(|process| process.name == "sh").expect("the program");
        let minato = processes.iter().find(|process| process.pid == run.id()).expect("minato");
        wait_until("its stop", SOON, || shell.is_stopped());
        goes_on(minato);
        wait_until("a first CONT", SOON, || {
            run.signal(Signal::CONT);
            run.stdout().contains("again")
        });
        assert!(run.stdout().contains("continued"), "{}", run.stdout());
        let mut run = run;
        wait_until("its end", SOON, || {
            shell.signal(Signal::CONT);
            !run.is_running()
        });
        run.finish().expect_code(3);
    });
}

/// Longer than it takes to stop along with a program.
fn goes_on(process: &Process) {
    for _ in 0..50 {
        assert!(!process.is_stopped(), "minato has stopped");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
