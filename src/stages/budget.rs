//! The memory of bodies that are judged at the same time, however many threads judge them.
//!
//! Whoever reads bodies takes what a batch will cost before anybody judges it, and waits until there is
//! as much. It is given back once the batch was taken by the last stage. As all batches before it end
//! without it, none waits for ever.

use std::sync::{Condvar, Mutex, PoisonError};

/// What is left of the memory that bodies may take.
#[derive(Debug)]
pub(super) struct Budget {
    left: Mutex<usize>,
    freed: Condvar,
}

/// A part of the budget, which goes back to it in the end.
#[derive(Debug)]
pub(super) struct Share<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    /// The memory that batches may take together. The rest of 256 MiB is for the first reading, the
    /// buffers of readers, threads, and what the allocator keeps for each of them.
    pub(super) const BYTES: usize = 96 << 20;

    /// A budget of which nothing is taken.
    pub(super) const fn new() -> Self {
        Self { left: Mutex::new(Self::BYTES), freed: Condvar::new() }
    }

    /// Takes as much, and waits until there is. What costs more than all of it takes all of it.
    pub(super) fn take(&self, bytes: usize) -> Share<'_> {
        let bytes = bytes.min(Self::BYTES);
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let is_short = |left: &mut usize| *left < bytes;
        let waited = self.freed.wait_while(left, is_short);
        *waited.unwrap_or_else(PoisonError::into_inner) -= bytes;
        Share { budget: self, bytes }
    }
}

impl Share<'_> {
    /// How much it is.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.left.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    /// However many take at the same time, all that they hold together is no more than there is.
    #[test]
    fn nobody_takes_what_is_not_there() {
        let (budget, held) = (Budget::new(), AtomicUsize::new(0));
        let costs = [1, Budget::BYTES / 3, Budget::BYTES / 2 + 1, Budget::BYTES, usize::MAX];
        std::thread::scope(|scope| {
            for cost in costs.repeat(3) {
                let (budget, held) = (&budget, &held);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let share = budget.take(cost);
                        let all = held.fetch_add(share.bytes(), SeqCst) + share.bytes();
                        assert!(all <= Budget::BYTES);
                        held.fetch_sub(share.bytes(), SeqCst);
                    }
                });
            }
        });
        assert_eq!(budget.take(usize::MAX).bytes(), Budget::BYTES);
    }
}
