//! A TAP in a network namespace of its own: the only part that talks to the kernel beneath sockets.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, IoSlice, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const TUNSETVNETHDRSZ: libc::c_ulong = 0x4004_54d8;
const OFFLOADS: libc::c_ulong = 0x01 | 0x02 | 0x04; // checksum, TSO4, TSO6

/// The interface's file.
pub struct Tap {
    file: File,
    /// Bytes before the Ethernet header.
    header: usize,
    capture: Option<BufWriter<File>>,
}

/// Runs the calling test again within a new network namespace; `false` there, `true` outside when it is done.
pub fn ran_in_namespace(test: &str) -> bool {
    loss_in_namespace(test, &[0]).is_none()
}

/// As `ran_in_namespace`, once for each rate of loss, which is the result there.
pub fn loss_in_namespace(test: &str, rates: &[u64]) -> Option<u64> {
    if let Ok(loss) = std::env::var("MINATO_TEST_NAMESPACE") {
        return Some(loss.parse().expect("a number"));
    }
    let root = own_uid() == 0;
    let unshare = if root { "-n" } else { "-rn" };
    for rate in rates {
        let status = Command::new("unshare")
            .arg(unshare)
            .arg(std::env::current_exe().expect("a test has a path"))
            .args(["--exact", test, "--nocapture", "--include-ignored"])
            .env("MINATO_TEST_NAMESPACE", rate.to_string())
            .status();
        match status {
            Ok(status) => assert!(status.success(), "the test failed within its namespace"),
            Err(error) => eprintln!("SKIPPED {test}: `unshare` (package util-linux) does not run: {error}"),
        }
    }
    None
}

fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map_or(1, |metadata| metadata.uid())
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().expect("`ip` (package iproute2) runs");
    assert!(status.success(), "ip {arguments}");
}

impl Tap {
    /// A TAP whose kernel side is 10.9.0.2 and fd99::2, with default routes to .1.
    pub fn new(virtio: bool) -> Tap {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun");
        let file = file.expect("/dev/net/tun may be opened");
        let mut request = [0_u8; 40];
        request[..4].copy_from_slice(b"tap0");
        let flags: u16 = 0x0002 | 0x1000 | if virtio { 0x4000 } else { 0 }; // TAP, no packet information, virtio-net header
        request[16..18].copy_from_slice(&flags.to_ne_bytes());
        // SAFETY: the request is an `ifreq` of 40 bytes that outlives the call.
        let made = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_ptr()) };
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        if virtio {
            let size: libc::c_int = 10;
            // SAFETY: the argument is a pointer to an int that outlives the call.
            let sized = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETVNETHDRSZ, &raw const size) };
            // SAFETY: the argument is a plain number.
            let offloaded = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETOFFLOAD, OFFLOADS) };
            assert_eq!((sized, offloaded), (0, 0), "{}", std::io::Error::last_os_error());
        }
        ip("link set lo up");
        ip("addr add 10.9.0.2/24 dev tap0");
        ip("addr add fd99::2/64 dev tap0 nodad");
        ip("link set tap0 up");
        ip("route add default via 10.9.0.1");
        ip("-6 route add default via fd99::1");
        Tap { file, header: if virtio { 10 } else { 0 }, capture: None }
    }

    /// Writes all frames from now on to a file in libpcap's format.
    pub fn capture(&mut self, path: &Path) {
        let mut file = BufWriter::new(File::create(path).expect("a file"));
        // Magic number, version 2.4, whole frames, Ethernet.
        for word in [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 1 << 18, 1] {
            file.write_all(&word.to_ne_bytes()).expect("room");
        }
        self.capture = Some(file);
    }

    fn record(&mut self, frame: &[u8]) {
        let (Some(file), Some(frame)) = (&mut self.capture, frame.get(self.header..)) else { return };
        let time = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
        let length = frame.len() as u32;
        for word in [time.as_secs() as u32, time.subsec_micros(), length, length] {
            file.write_all(&word.to_ne_bytes()).expect("room");
        }
        file.write_all(frame).expect("room");
    }

    /// A frame, if there is one.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let length = self.file.read(buffer).ok()?;
        self.record(&buffer[..length]);
        Some(length)
    }

    pub fn send(&mut self, slices: &[IoSlice<'_>]) -> bool {
        if self.capture.is_some() {
            let frame: Vec<u8> = slices.iter().flat_map(|part| part.iter().copied()).collect();
            self.record(&frame);
        }
        let used = slices.iter().rposition(|slice| !slice.is_empty()).map_or(0, |last| last + 1);
        self.file.write_vectored(&slices[..used]).is_ok()
    }

    pub fn wait(&self, timeout: Duration) {
        let mut poll = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout = libc::timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        // SAFETY: one `pollfd` and one `timespec` that outlive the call.
        unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null()) };
    }
}
