use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use super::Check;

const NAME: &str = "TUN device";
const PATH: &str = "/dev/net/tun";

pub(super) fn check() -> Check {
    let opened = OpenOptions::new().read(true).write(true).open(PATH);
    judge(&opened.and_then(|device| is_tun(device.as_fd())))
}

/// Asks what the device can make, which only a TUN device says.
fn is_tun(device: BorrowedFd<'_>) -> io::Result<()> {
    let mut features: libc::c_uint = 0;
    // SAFETY: TUNGETFEATURES writes an unsigned int behind its argument.
    match unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNGETFEATURES, &raw mut features) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(super) fn judge(attempt: &io::Result<()>) -> Check {
    let Err(error) = attempt else { return Check::ok(NAME, format!("{PATH} can be used")) };
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            let fix = "sudo modprobe tun (in a container: --device /dev/net/tun)";
            Check::fail(NAME, format!("{PATH}: {error}"), Some(fix.into()))
        }
        Some(libc::ENOTTY | libc::EINVAL) => {
            let fix = format!("sudo rm {PATH} && sudo mknod -m 0666 {PATH} c 10 200 (in a container: --device {PATH})");
            Check::fail(NAME, format!("{PATH} is something else: {error}"), Some(fix))
        }
        Some(libc::EACCES | libc::EPERM) => {
            let mode = std::fs::metadata(PATH).map_or(0, |file| file.mode() & 0o7777);
            let rule = r#"KERNEL=="tun", MODE="0666""#;
            let fix = format!(
                "sudo chmod 0666 {PATH}, and to keep it: echo '{rule}' | sudo tee /etc/udev/rules.d/99-tun.rules"
            );
            Check::fail(NAME, format!("{PATH} has mode {mode:04o} and can't be opened: {error}"), Some(fix))
        }
        _ => Check::fail(NAME, format!("{PATH}: {error}"), None),
    }
}
