//! What the C library's allocator does with memory that was freed.

/// Has freed memory kept for the next batch, up to 16 MiB a thread, instead of given back to the system.
///
/// Batches need the same megabytes again and again. glibc gives those of threads back in between, and has
/// them mapped and cleared anew each time: a tenth of the time of a ledger. Where the C library is another
/// one, nothing happens. For a program to call at its start.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
    glibc::set(&[
        (libc::M_TRIM_THRESHOLD, 16 << 20),
        // Larger pieces are mapped one by one, and given back at once.
        (libc::M_MMAP_THRESHOLD, 8 << 20),
    ]);
}

#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod glibc {
    use libc::c_int;

    #[expect(unsafe_code, reason = "the allocator can be spoken to through C alone")]
    pub(super) fn set(parameters: &[(c_int, c_int)]) {
        for &(name, value) in parameters {
            // SAFETY: mallopt takes two numbers, holds the allocator's lock, and leaves what it refuses as
            // it is.
            unsafe { libc::mallopt(name, value) };
        }
    }
}
