//! What the C library's allocator does with memory that was freed, and how much memory comes at a time.

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

/// Has the memory that `list` has room for come in huge pages, if it is much, and the system has such.
///
/// A list of a hundred megabytes that is filled once takes as long to come in pages of 4 KiB, one fault for
/// each, as what fills it does. On other systems nothing happens.
pub(crate) fn expect_to_fill<T>(list: &mut Vec<T>) {
    #[cfg(target_os = "linux")]
    huge_pages::advise(list.spare_capacity_mut());
    #[cfg(not(target_os = "linux"))]
    let _ = list;
}

#[cfg(target_os = "linux")]
mod huge_pages {
    use std::mem::MaybeUninit;
    use std::ops::Range;

    /// The length of a huge page on most processors. Where it is another, advice for less than one is ignored.
    const LEN: usize = 2 << 20;

    /// The fewest bytes that are worth it, and that no allocator hands out of a place that it shares.
    const BYTES_MIN: usize = 8 << 20;

    /// The huge pages that lie within these addresses, if they are enough: where the first begins, and their
    /// length.
    fn within(addresses: Range<usize>) -> Option<(usize, usize)> {
        let start = addresses.start.checked_next_multiple_of(LEN)?;
        let len = (addresses.end / LEN * LEN).checked_sub(start)?;
        (len >= BYTES_MIN).then_some((start, len))
    }

    #[expect(unsafe_code, reason = "the kernel takes advice through C alone")]
    pub(super) fn advise<T>(room: &mut [MaybeUninit<T>]) {
        let range = room.as_mut_ptr_range();
        let Some((start, len)) = within(range.start.addr()..range.end.addr()) else { return };
        let start = range.start.with_addr(start);
        // SAFETY: these pages are within memory that is borrowed for writing, and the advice changes nothing of
        // what is in them. A kernel that knows no huge pages refuses it, which does no harm.
        unsafe { libc::madvise(start.cast(), len, libc::MADV_HUGEPAGE) };
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_whole_pages_within_are_advised() {
            const MIB: usize = 1 << 20;
            for (addresses, expected) in [
                (0..0, None),
                (2 * MIB..10 * MIB, Some((2 * MIB, 8 * MIB))),
                (2 * MIB..10 * MIB - 1, None),
                (2 * MIB + 1..12 * MIB, Some((4 * MIB, 8 * MIB))),
                (2 * MIB + 1..12 * MIB - 1, None),
                (3 * MIB..15 * MIB, Some((4 * MIB, 10 * MIB))),
                (usize::MAX - 5..usize::MAX, None),
            ] {
                assert_eq!(within(addresses.clone()), expected, "{addresses:x?}");
            }
        }
    }
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
