//! Many short steps, one after the other, each on several threads.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// How often a thread that is done looks whether the others are: a tenth of a millisecond on
/// today's processors.
const LOOKS: usize = 2000;

/// Does `work` to each item, in parallel where threads are free. A thread that is done spins for a
/// short while as long as others still work. If it slept, it would have to be woken for the next
/// step, and on a virtual machine that takes as long as a step.
pub(crate) fn spin_join<T: Send>(
    items: impl IndexedParallelIterator<Item = T>,
    work: impl Fn(T) + Sync,
) {
    let count = items.len();
    let (started, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    items.with_max_len(1).for_each(|item| {
        started.fetch_add(1, Ordering::Relaxed);
        work(item);
        done.fetch_add(1, Ordering::Relaxed);
        // As long as one waits for a thread, that may have to be this one.
        let others_work =
            || started.load(Ordering::Relaxed) == count && done.load(Ordering::Relaxed) < count;
        let mut looks = 0;
        while looks < LOOKS && others_work() {
            spin_loop();
            looks += 1;
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_is_done_once_by_any_number_of_threads() {
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for count in [0, 1, 2, 3, 12, 100] {
                let mut numbers: Vec<usize> = (0..count).collect();
                pool.install(|| spin_join(numbers.par_iter_mut(), |number| *number += 1));
                assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "{threads} threads");
            }
        }
    }
}
