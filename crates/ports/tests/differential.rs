//! The port table against the kernel: the same random operations on both, in fresh network namespaces, and every
//! verdict compared.
//!
//! `MINATO_SEED=N` runs one sequence of that seed, `MINATO_SEQUENCES=N` as many as told.
#![allow(clippy::print_stdout, reason = "the seeds are part of the result")]
#![allow(clippy::disallowed_methods, reason = "it waits for the kernel")]

#[path = "differential/kernel.rs"]
mod kernel;
#[path = "differential/namespace.rs"]
mod namespace;
mod operations;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;
use std::thread;

use kernel::{Kernel, Verdict};
use libtest_mimic::{Arguments, Failed, Trial};
use minato_ports::{PortTable, Reservation, SocketState, Transport};
use namespace::Users;
use operations::{OP_BYTES, Op, Socket};

const SEQUENCES: u64 = 300;
const SEQUENCE_LENGTH: usize = 150;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Before any thread exists: a process with several can't make a user namespace.
    let users = namespace::prepare();
    let trial = Trial::test("verdicts_equal_the_kernels", move || match users {
        Ok(users) => run(users),
        Err(error) if std::env::var_os("CI").is_some() => Err(format!("no network namespace: {error}").into()),
        Err(error) => {
            eprintln!("SKIPPED: this machine lets the test make no network namespace ({error}); run it as root");
            Ok(())
        }
    });
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

fn run(users: Users) -> Result<(), Failed> {
    if users == Users::One {
        eprintln!("not root: SO_REUSEPORT among several users is not compared");
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("MINATO_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = u64::from(std::process::id()) << 32;
            first..first + number("MINATO_SEQUENCES").unwrap_or(SEQUENCES)
        }
    };
    println!("seeds {seeds:?}, {SEQUENCE_LENGTH} operations each");
    let (mut compared, mut refused) = (0, 0);
    for seed in seeds.clone() {
        match in_namespace(random_steps(seed), users) {
            Ok(count) => {
                compared += count.compared;
                refused += count.refused;
            }
            Err(difference) => {
                let shortest = shorten(difference, users);
                return Err(format!("MINATO_SEED={seed}, shortened:\n{}", shortest.history).into());
            }
        }
    }
    println!("{compared} operations compared in {} namespaces; {refused} were refused by both", seeds.count());
    Ok(())
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn random_steps(seed: u64) -> Vec<Step> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut bytes = || std::array::from_fn::<u8, OP_BYTES, _>(|_| next() as u8);
    (0..SEQUENCE_LENGTH).map(|number| Step { number, op: Op::decode(bytes()), made_by: None }).collect()
}

#[derive(Default)]
struct Count {
    compared: u32,
    refused: u32,
}

/// An operation of a sequence, with the number of the one that made the socket it is about: unlike a place in the list,
/// that survives the loss of other operations.
#[derive(Clone, Copy)]
struct Step {
    number: usize,
    op: Op,
    made_by: Option<usize>,
}

struct Difference {
    steps: Vec<Step>,
    history: String,
}

/// Runs the operations on a fresh namespace and a fresh table, until the first difference.
fn in_namespace(steps: Vec<Step>, users: Users) -> Result<Count, Difference> {
    let sequence = move || {
        namespace::enter().expect("a namespace after the first");
        let mut both = Both { table: PortTable::new(), sockets: Vec::new(), users, count: Count::default() };
        let mut difference = Difference { steps: Vec::new(), history: String::new() };
        for mut step in steps {
            let Some(done) = both.step(&mut step) else { continue };
            writeln!(difference.history, "  {done}").expect("writing to a string");
            difference.steps.push(step);
            if done.contains(DIFFERS) {
                return Err(difference);
            }
        }
        Ok(both.count)
    };
    thread::spawn(sequence).join().expect("no panic in the sequence")
}

/// Leaves out what the difference does not need.
fn shorten(mut difference: Difference, users: Users) -> Difference {
    let mut index = difference.steps.len();
    while index > 0 {
        index -= 1;
        let mut fewer = difference.steps.clone();
        fewer.remove(index);
        if let Err(shorter) = in_namespace(fewer, users) {
            index = index.min(shorter.steps.len());
            difference = shorter;
        }
    }
    difference
}

const DIFFERS: &str = "DIFFERS";

/// The table and the kernel, side by side.
struct Both {
    table: PortTable,
    sockets: Vec<Pair>,
    users: Users,
    count: Count,
}

/// A socket of both.
struct Pair {
    made_by: usize,
    asked: Socket,
    reservation: Reservation,
    kernel: Kernel,
}

impl Both {
    /// What was done, and with what verdict; `None` when the operation was not possible.
    fn step(&mut self, step: &mut Step) -> Option<String> {
        let done = match step.op {
            Op::Bind(asked) if self.is_crowded(&asked) => return None,
            Op::Bind(asked) => self.bind(asked, step.number),
            op => {
                let which = match step.made_by {
                    Some(number) => self.sockets.iter().position(|pair| pair.made_by == number)?,
                    None => op.target(self.sockets.len())?,
                };
                step.made_by = Some(self.sockets[which].made_by);
                self.on_socket(op, which, step.number)?
            }
        };
        self.count.compared += 1;
        self.count.refused += u32::from(done.contains("refused"));
        Some(format!("{:3} {done}", step.number))
    }

    /// With more than ten UDP sockets on a port the kernel looks at them in the order of another hash table. A known
    /// difference, see docs/theory/ports.md.
    fn is_crowded(&self, asked: &Socket) -> bool {
        let beside = |pair: &&Pair| (pair.asked.transport, pair.asked.port) == (Transport::Udp, asked.port);
        asked.transport == Transport::Udp && self.sockets.iter().filter(beside).count() > 10
    }

    fn bind(&mut self, mut asked: Socket, number: usize) -> String {
        if self.users == Users::One {
            asked.uid = 0;
        }
        let ours = self.table.reserve(asked.request(), ());
        let theirs = Kernel::bind(&asked, self.users);
        let text = format!("bind {asked}: {}", compare(ours.as_ref().err(), &theirs));
        if let (Ok(reservation), Ok(kernel)) = (ours, theirs) {
            self.sockets.push(Pair { made_by: number, asked, reservation, kernel });
        }
        text
    }

    fn on_socket(&mut self, op: Op, which: usize, number: usize) -> Option<String> {
        let state = self.state(which);
        let Pair { made_by, asked, reservation, kernel } = &mut self.sockets[which];
        if !op.is_legal(asked.transport, state) {
            return None;
        }
        let mut text = format!("{op:?} on the socket of {made_by}");
        match op {
            Op::Listen(_) => {
                let ours = self.table.listen(reservation);
                write!(text, ": {}", compare(ours.as_ref().err(), &kernel.listen())).expect("writing to a string");
            }
            Op::Unlisten(_) => {
                kernel.unlisten();
                self.table.unlisten(reservation);
            }
            Op::Accept(_, by_v4) => self.accept(which, by_v4, number),
            Op::Connect(_, by_v4) => {
                kernel.connect(asked, by_v4);
                self.table.connect(reservation, kernel.local());
            }
            Op::TimeWait(_) => {
                kernel.time_wait();
                self.table.time_wait(reservation);
            }
            Op::Release(_) if state == SocketState::TimeWait => return None,
            Op::Release(_) | Op::Bind(_) => {
                let pair = self.sockets.swap_remove(which);
                self.table.release(pair.reservation);
            }
        }
        Some(text)
    }

    fn accept(&mut self, which: usize, by_v4: bool, number: usize) {
        let Pair { asked, reservation, .. } = &self.sockets[which];
        let binding = self.table.get(reservation.id()).expect("held").request.binding;
        let address: IpAddr = operations::local_address(binding.address, by_v4);
        // Several may listen there; the kernel decides which of them gets it.
        let listeners: Vec<_> = (0..self.sockets.len())
            .filter(|index| self.state(*index) == SocketState::Listening)
            .map(|index| (index, &self.sockets[index].kernel, self.sockets[index].asked.uid))
            .collect();
        let (listener, kernel) = Kernel::accept(address, asked, &listeners, self.users);
        let Pair { asked, reservation, .. } = &self.sockets[listener];
        let asked = *asked;
        let reservation = self.table.accept(reservation, kernel.local(), ());
        self.sockets.push(Pair { made_by: number, asked, reservation, kernel });
    }

    fn state(&self, which: usize) -> SocketState {
        self.table.get(self.sockets[which].reservation.id()).expect("held").state
    }
}

fn compare<E: std::fmt::Display>(ours: Option<&E>, theirs: &Verdict<impl Sized>) -> String {
    match (ours, theirs) {
        (None, Ok(_)) => "done".to_owned(),
        (Some(_), Err(())) => "refused".to_owned(),
        (None, Err(())) => format!("{DIFFERS}: the kernel refuses, the table does not"),
        (Some(error), Ok(_)) => format!("{DIFFERS}: the kernel does it, the table says: {error}"),
    }
}
