use std::{fs::OpenOptions, io, os::unix::fs::MetadataExt};

use super::Check;

const NAME: &str = "TUN device";
const PATH: &str = "/dev/net/tun";

pub(super) fn check() -> Check {
    judge(&OpenOptions::new().read(true).write(true).open(PATH).map(drop))
}

pub(super) fn judge(attempt: &io::Result<()>) -> Check {
    let Err(error) = attempt else { return Check::ok(NAME, format!("{PATH} can be opened")) };
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            let fix = "sudo modprobe tun (in a container: --device /dev/net/tun)";
            Check::fail(NAME, format!("{PATH}: {error}"), Some(fix.into()))
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
