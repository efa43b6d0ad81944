//! Where captured packets go: lines on standard output, or a pcapng file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use minato_host::capture::PacketInfo;

use super::Packet;
use super::pcapng::Writer;
use crate::failure::{Failure, code};
use crate::render;
use crate::terminal::{Terminal, json_view};

/// Where packets go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A line for each on standard output.
    Lines(Terminal),
    /// A file.
    File(Written),
}

/// A pcapng file under way.
#[derive(Debug)]
pub(crate) struct Written {
    path: PathBuf,
    output: Output,
    writer: Writer,
    /// How long the file is up to the last block that is whole.
    whole: u64,
}

/// So much is written at once while packets keep coming.
const AT_ONCE: usize = 1 << 20;

/// What pcapng is written to.
#[derive(Debug)]
enum Output {
    File(File),
    Standard(io::Stdout),
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::File(file) => file.write(bytes),
            Output::Standard(output) => output.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::File(file) => file.flush(),
            Output::Standard(output) => output.flush(),
        }
    }
}

impl Sink {
    /// A new file that only its owner may read; `-` is standard output. What exists is never overwritten, but a named pipe
    /// or a device is written to.
    pub(crate) fn create(path: &Path, snap_length: u32, comment: &str) -> Result<Sink, Failure> {
        let output = if path == Path::new("-") { Output::Standard(io::stdout()) } else { Output::File(open(path)?) };
        let writer = Writer::begin(snap_length, comment);
        let mut sink = Sink::File(Written { path: path.into(), output, writer, whole: 0 });
        sink.flush()?;
        Ok(sink)
    }

    pub(super) fn packet(&mut self, info: &PacketInfo, bytes: &[u8], packet: &Packet) -> Result<(), Failure> {
        match self {
            Sink::Lines(terminal) if terminal.json => terminal.print(&json_view("packet", packet)),
            Sink::Lines(terminal) => terminal.print(&render::packet(packet)),
            Sink::File(file) => {
                let comment = render::packet_comment(packet);
                let name = || packet.interface.clone();
                file.writer.packet(info, bytes, comment.as_deref(), name);
                if file.writer.pending() > AT_ONCE {
                    file.flush()?;
                }
            }
        }
        Ok(())
    }

    /// Hands over what is complete.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Sink::Lines(_) => Ok(()),
            Sink::File(file) => file.flush(),
        }
    }

    /// Ends with how many packets were dropped.
    pub(super) fn end(&mut self, dropped: u64) -> Result<(), Failure> {
        match self {
            Sink::Lines(_) => Ok(()),
            Sink::File(file) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                file.writer.end(now, dropped);
                file.flush()
            }
        }
    }
}

impl Written {
    fn flush(&mut self) -> Result<(), Failure> {
        let pending = self.writer.pending() as u64;
        match self.writer.flush(&mut self.output) {
            Ok(()) => {
                self.whole += pending;
                Ok(())
            }
            // Who reads from a pipe and has had enough is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => {
                if let Output::File(file) = &self.output {
                    // What is no file can't be cut, and needs not be.
                    let _ = file.set_len(self.whole);
                }
                Err(cannot_write(&self.path, &error))
            }
        }
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let opened = match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let special = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
            if !special {
                let title = format!("{} exists, and is not overwritten", path.display());
                return Err(Failure::new(code::CONFLICT, title).fix("give another name, or remove it"));
            }
            OpenOptions::new().write(true).open(path)
        }
        created => created,
    };
    opened.map_err(|error| Failure::caused(format!("cannot create {}", path.display()), error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::caused(format!("cannot write packets to {}", path.display()), error);
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failure
            .detail("what was written before is whole")
            .fix("write to another file system, fewer packets (-c), or less of each (--snap-length)"),
        _ => failure,
    }
}
