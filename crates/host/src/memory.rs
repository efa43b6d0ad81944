//! The allocator of this process.

/// From this size on, memory goes back to the kernel as soon as it is freed.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 64 << 10;

/// Makes large buffers mappings of their own. Otherwise glibc cuts them out of its arenas, where a single small block
/// that lives longer keeps everything below it: after a burst of connections a relay would stay as large as it was.
pub fn give_large_buffers_back() {
    // SAFETY: sets two parameters of the allocator, which takes its own lock for that.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * LARGE);
    }
}
