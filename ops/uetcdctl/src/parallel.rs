//! Many things that are alike, several at a time.

use std::sync::{Mutex, PoisonError};

/// Does `work` with every item, on at most `workers` threads that take them in order. An error ends its thread, and is returned
/// when the others have come to their ends.
pub(crate) fn for_each<T: Send, E: Send>(
    workers: usize,
    items: Vec<T>,
    work: impl Fn(T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let threads = workers.min(items.len());
    let left = Mutex::new(items.into_iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || std::iter::from_fn(next).try_for_each(&work);
    if threads <= 1 {
        return run();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("panics abort"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_unless_one_fails() {
        for workers in [1, 3, 100] {
            let done = Mutex::new(Vec::new());
            let note = |n: u32| {
                done.lock().expect("no panic").push(n);
                if n == 1000 { Err("failed") } else { Ok(()) }
            };
            assert_eq!(for_each(workers, (0..50).collect(), note), Ok(()));
            done.lock().expect("no panic").sort_unstable();
            assert_eq!(*done.lock().expect("no panic"), (0..50).collect::<Vec<_>>());
            assert_eq!(for_each(workers, vec![1000; workers], note), Err("failed"));
        }
        assert_eq!(for_each(3, Vec::<u32>::new(), |_| Err("never")), Ok(()));
    }
}
