//! What every test needs: a server process, an HTTP client that hides nothing, a seeded random source and a bounded wait.

mod control_group;
mod faulty_disk;
mod http;
mod load;
mod mounts;
mod namespace;
mod ports;
mod process;
mod rng;
mod seccomp;
mod slow_disk;
mod small_disk;
mod tools;

pub(crate) use control_group::ControlGroup;
pub(crate) use faulty_disk::{Call, FaultyDisk, Files};
pub(crate) use http::{Client, Connection, Response, encode, form, percent};
pub(crate) use load::load;
pub(crate) use namespace::{enter, run_inside};
pub(crate) use process::{Ended, Flavor, Plan, Server};
pub(crate) use rng::Rng;
pub(crate) use slow_disk::SlowDisk;
pub(crate) use small_disk::SmallDisk;
pub(crate) use tools::{copy_dir, env_number, etcdctl, files_below, flip, need, need_python_module, shell};

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longest a server may take to become ready, to exit or to answer anything in these tests. A hang is a failure after this long, not a stuck run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The most that counts of the time between two looks. Longer ones mean that everything stood still, the servers too: a virtual machine
/// that was moved, or whoever measures something and stops all others meanwhile.
pub(crate) const LONGEST_STEP: Duration = Duration::from_secs(10);

/// Polls until `probe` gives a value; panics naming `what` when `limit` has passed.
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let (mut waited, mut looked) = (Duration::ZERO, Instant::now());
    loop {
        if let Some(value) = probe() {
            return value;
        }
        waited += looked.elapsed().min(LONGEST_STEP);
        looked = Instant::now();
        assert!(waited < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(3));
    }
}

/// Sets the flag when it goes.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Ends the calling test when the server under test is not `uetcd`: for what etcd does not have, or does differently by design.
macro_rules! uetcd_only {
    ($why:literal) => {
        if crate::harness::Flavor::under_test() != crate::harness::Flavor::Uetcd {
            println!("not for etcd: {}", $why);
            return;
        }
    };
}
pub(crate) use uetcd_only;
