//! Many keys, deep keys: memory, and work in steps.

mod common;

use common::*;
use shard::store::Store;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what this thread has allocated, in bytes as asked for, plus 16 for the allocator's own.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

const ALLOCATOR_BYTES: isize = 16;

fn count(bytes: isize) {
    let _thread_is_ending = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize + ALLOCATOR_BYTES);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize + ALLOCATOR_BYTES));
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn held() -> isize {
    HELD.get()
}

/// A store that remembers next to nothing, so that the tree alone is measured.
fn forgetful() -> Store {
    Store::new(shard::history::HistoryLimits { events: 1, bytes: 0 })
}

/// In an order that fills no block from one end.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

#[test]
fn a_key_costs_little_beside_its_name_and_value() {
    const KEYS: u64 = 200_000;
    for (order, key) in [("ascending", (|n| n) as fn(u64) -> u64), ("scattered", scattered)] {
        let mut store = forgetful();
        let value = "v".repeat(128);
        let before = held();
        for n in 0..KEYS {
            event(&mut store, NOW, &set(&format!("/registry/{:054}", key(n)), &value));
        }
        let over = (held() - before) / KEYS as isize - 54 - 128;
        assert!(over <= 250, "{over} bytes per {order} key");
        println!("{order}: {over} bytes per key");
    }
}

#[test]
fn removing_a_million_keys_is_done_in_steps() {
    const KEYS: u64 = 1_000_000;
    let mut store = forgetful();
    let before = held();
    for n in 0..KEYS {
        let path = format!("/all/{}/{}", n % 1000, n / 1000);
        event(&mut store, NOW, &if n % 10 == 0 { set_ttl(&path, "v", 100) } else { set(&path, "v") });
    }
    let full = held();
    event(&mut store, NOW, &delete_all("/all"));
    assert!(full - held() < 10_000, "the command itself frees next to nothing");

    let (mut steps, mut most) = (1, 0);
    let mut last = held();
    while store.tidy(1000) {
        steps += 1;
        most = most.max(last - held());
        last = held();
    }
    assert!(steps >= 1000, "{steps} steps");
    assert!(most < 1000 * 500, "{most} bytes in one of {steps} steps of 1000 nodes");
    assert_eq!(store.deadline_count(), 0);
    assert!(held() - before < (full - before) / 100, "all is given back");
}

#[test]
fn a_dropped_snapshot_is_freed_in_steps_too() {
    let mut store = forgetful();
    for n in 0..50_000 {
        event(&mut store, NOW, &set(&format!("/all/{n}"), "v"));
    }
    let handle = store.get(b"/").expect("the root exists");
    event(&mut store, NOW, &delete_all("/all"));
    while store.tidy(1000) {}
    let before = held();
    drop(handle);
    assert!(before - held() < 10_000);
    let mut steps = 1;
    while store.tidy(1000) {
        steps += 1;
    }
    assert!(steps >= 50 && before - held() > 50_000 * 64, "{steps} steps, {} bytes", before - held());
}

/// Counts without keeping: the paths of so deep a tree take gigabytes.
fn nodes(store: &Store) -> usize {
    let mut walk = store.get(b"/").expect("the root exists").walk_all(b"/", NOW);
    let mut nodes = 0;
    while let Some(step) = walk.step() {
        nodes += usize::from(step != shard::view::Step::Leave);
    }
    nodes
}

/// On a thread with a small stack: nothing may recurse over the depth, dropping least of all.
#[test]
fn a_path_of_a_hundred_thousand_directories_is_like_any_other() {
    let run = || {
        let deep = "/d".repeat(100_000);
        let mut store = store_before(1);
        event(&mut store, NOW, &set_ttl(&deep, "v", 10));
        event(&mut store, NOW, &set(&format!("{deep}x"), "v"));
        assert_eq!(nodes(&store), 100_001);
        let restored = {
            let mut restore = shard::snapshot::Restore::new(shard::history::HistoryLimits::default());
            store.snapshot().try_for_each(|chunk| restore.push(&chunk)).expect("a good snapshot");
            restore.finish().expect("a whole snapshot")
        };
        assert_eq!(restored.digest(), store.digest());
        drop(restored);
        let handle = store.get(b"/d").expect("it exists");
        event(&mut store, NOW, &delete_all("/d/d"));
        assert_eq!(listing(&store, NOW), ["/d/@1/1 None"]);
        while store.tidy(100) {}
        drop(handle);
        // What is left goes with the thread.
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(run).expect("a thread");
    thread.join().expect("no overflow");
}

#[test]
fn an_idle_watcher_costs_little_beside_its_path() {
    const WATCHERS: u64 = 20_000;
    let store = forgetful();
    let mut hub = shard::watch::Hub::new();
    let before = held();
    for n in 0..WATCHERS {
        let path = format!("/registry/{:054}", scattered(n));
        let watch = shard::watch::Watch {
            path: path.as_bytes(),
            recursive: false,
            stream: true,
            since: shard::ids::Index::ZERO,
        };
        hub.register(&store, &watch, shard::watch::Portion::ALL).expect("a watch from now on is never refused");
    }
    let over = (held() - before) / WATCHERS as isize - 64;
    println!("{over} bytes per watcher");
    assert!(over <= 300, "{over} bytes per watcher");
}
