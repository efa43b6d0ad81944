//! `/etc` with one file more, for machines without `/etc/resolv.conf`.

use std::{fs, io, path::Path};

use rustix::mount::{MountFlags, mount};

/// Mounts an overlay over `/etc` whose upper layer holds a copy of `source` as `resolv.conf`. The upper layer is a small
/// tmpfs, mounted over the directory of `source`, that only the calling thread's mount namespace sees.
pub(super) fn add_resolv_conf(source: &Path) -> io::Result<()> {
    let content = fs::read(source)?;
    let directory = source.parent().ok_or(io::ErrorKind::InvalidInput)?;
    mount("tmpfs", directory, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755,size=16m")?;
    let (upper, work) = (directory.join("upper"), directory.join("work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    fs::write(upper.join("resolv.conf"), content)?;
    let options = format!("lowerdir=/etc,upperdir={},workdir={},userxattr", upper.display(), work.display());
    let options = std::ffi::CString::new(options)?;
    Ok(mount("overlay", "/etc", "overlay", MountFlags::empty(), options.as_c_str())?)
}
