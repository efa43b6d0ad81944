//! What a host sees instead of the machine's ways of resolving names. All of it is done by a thread in the host's mount
//! namespace.

use std::{fs, io, os::unix::fs::FileTypeExt, path::Path};

use rustix::{
    io::Errno,
    mount::{MountFlags, mount, mount_bind},
};

use crate::names::{RESOLV_CONF, SERVICES};

/// Covers `/etc/resolv.conf` with `source`, and the sockets of services that resolve names.
pub(super) fn cover(source: &Path) -> io::Result<()> {
    cover_resolv_conf(source).and_then(|()| cover_services())
}

/// The same where some of it may be covered still. `text` is what stands in `source`.
pub(super) fn cover_again(source: &Path, text: &[u8]) -> io::Result<()> {
    let same = |one: &Path, other: &Path| -> io::Result<bool> {
        let (one, other) = (rustix::fs::stat(one)?, rustix::fs::stat(other)?);
        Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
    };
    let resolv_conf = Path::new(RESOLV_CONF);
    if !source.exists() {
        // The overlay's directory lies over it: the file is the overlay's own, and a copy.
        fs::write(resolv_conf, text)?;
    } else if !same(source, resolv_conf).unwrap_or(false) {
        cover_resolv_conf(source)?;
    }
    cover_services()
}

/// Covers `/etc/resolv.conf`, following a symbolic link; where the file (or the link's target) is missing, covers
/// `/etc` with itself and the file, as nothing may be created in the machine's own.
fn cover_resolv_conf(source: &Path) -> io::Result<()> {
    match mount_bind(source, RESOLV_CONF) {
        Err(Errno::NOENT) if source.exists() => add_resolv_conf(source),
        result => Ok(result?),
    }
}

/// Covers the sockets of these services, if there are any: nobody can connect to the null device, and then programs ask the
/// servers of resolv.conf.
fn cover_services() -> io::Result<()> {
    let is_covered = |path: &&str| fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_char_device());
    SERVICES.into_iter().filter(|path| !is_covered(path)).try_for_each(|path| match mount_bind("/dev/null", path) {
        // What can't be found or looked into from here can't be from the host either.
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(()),
        Err(error) => Err(error.into()),
    })
}

/// Mounts an overlay over `/etc` whose upper layer holds a copy of `source` as `resolv.conf`. The upper layer is a small
/// tmpfs, mounted over the directory of `source`, that only the calling thread's mount namespace sees.
fn add_resolv_conf(source: &Path) -> io::Result<()> {
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
