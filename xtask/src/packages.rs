//! The Debian packages that tests and benchmarks need: installed when this is root on a Debian machine, named otherwise.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// What the end-to-end tests run.
pub(crate) const TEST: &[&str] = &[
    "apache2-bin",
    "binutils",
    "bind9-dnsutils",
    "ca-certificates",
    "chromium",
    "curl",
    "git",
    "iproute2",
    "iptables",
    "iputils-ping",
    "libnss3-tools",
    "nftables",
    "nginx",
    "postfix",
    "postgresql",
    "procps",
    "python3",
    "python3-psycopg2",
    "python3-redis",
    "redis-server",
    "socat",
    "strace",
    "tshark",
    "util-linux",
    "vsftpd",
];

/// What `cargo xtask bench` compares with, and measures with.
pub(crate) const BENCH: &[&str] = &["iproute2", "lsof", "passt", "rootlesskit", "slirp4netns", "uidmap", "util-linux"];

/// Installs the missing ones of `packages`. Where that is not possible, an error names them.
pub(crate) fn ensure(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !Path::new("/usr/bin/apt-get").exists() {
        bail!("these Debian packages are needed: {0}\n  as root: apt-get install {0}", missing.join(" "));
    }
    let _quiet = PolicyFile::forbid_services()?;
    command::run(apt_get().args(["-q", "update"]))?;
    command::run(apt_get().args(["-q", "install", "--yes", "--no-install-recommends"]).args(&missing))
}

/// Whether this process may install packages.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    query.output().is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Debian starts a service when its package is installed, unless /usr/sbin/policy-rc.d forbids it.
/// The file is made for the time of an installation, and an administrator's own is left alone.
struct PolicyFile {
    made: bool,
}

impl PolicyFile {
    const PATH: &str = "/usr/sbin/policy-rc.d";

    fn forbid_services() -> Result<Self> {
        if Path::new(Self::PATH).exists() {
            return Ok(Self { made: false });
        }
        fs::write(Self::PATH, "#!/bin/sh\nexit 101\n").context("cannot write /usr/sbin/policy-rc.d")?;
        fs::set_permissions(Self::PATH, fs::Permissions::from_mode(0o755))?;
        Ok(Self { made: true })
    }
}

impl Drop for PolicyFile {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_file(Self::PATH);
        }
    }
}
