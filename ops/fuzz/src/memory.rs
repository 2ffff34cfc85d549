//! How much memory is held, by a global allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// Counts what each thread holds. For `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

/// Bytes of memory, more than before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// What was held at most.
    pub(crate) most: usize,
    /// What was still held at the end.
    pub(crate) left: usize,
}

impl Counting {
    /// What `act` held.
    pub(crate) fn held_by(act: impl FnOnce()) -> Held {
        HELD.set((0, 0));
        act();
        let (left, most) = HELD.get();
        Held { most, left }
    }
}

fn took(bytes: usize) {
    // A thread that ends may have none any more.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

fn gave(bytes: usize) {
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now.saturating_sub(bytes), most));
    });
}

// SAFETY: all of it is the system's allocator; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as promised to us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as promised to us.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: as promised to us.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        took(size);
        gave(layout.size());
        // SAFETY: as promised to us.
        unsafe { System.realloc(at, layout, size) }
    }
}
