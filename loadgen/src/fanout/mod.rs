//! Watch fan-out: writers set keys, watchers must get every event, in order.

mod event;
mod receipts;
mod watcher;
mod writer;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) use watcher::{Watched, Watcher};
pub(crate) use writer::Writer;

use crate::plan::Plan;

/// What writers and watchers of all threads know of each other.
#[derive(Debug)]
pub(crate) struct Fanout {
    /// What the times in events count from.
    epoch: Instant,
    /// Acknowledged writes of each writer.
    acknowledged: Vec<AtomicU64>,
    /// Writers that go on.
    writing: AtomicU32,
    /// Watched directories; writer and watcher n have directory n modulo this.
    directories: u32,
}

impl Fanout {
    /// Before the first write.
    pub(crate) fn new(plan: &Plan) -> Self {
        let writers = if plan.watchers > 0 { plan.connections } else { 0 };
        Self {
            epoch: Instant::now(),
            acknowledged: (0..writers).map(|_| AtomicU64::new(0)).collect(),
            writing: AtomicU32::new(writers),
            directories: u32::try_from(plan.directories).unwrap_or(u32::MAX),
        }
    }

    /// A writer has all its answers and asks nothing more.
    pub(crate) fn writer_ended(&self) {
        self.writing.fetch_sub(1, Ordering::Release);
    }

    /// All writers have ended: what is acknowledged is what must be delivered.
    pub(crate) fn is_settled(&self) -> bool {
        self.writing.load(Ordering::Acquire) == 0
    }

    fn acknowledge(&self, writer: u32) {
        self.acknowledged[writer as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn acknowledged(&self, writer: u32) -> u64 {
        self.acknowledged[writer as usize].load(Ordering::Relaxed)
    }

    fn directory(&self, number: u32) -> u32 {
        number % self.directories
    }

    /// The writers of a directory.
    fn writers(&self, directory: u32) -> impl Iterator<Item = u32> {
        (directory..self.acknowledged.len() as u32).step_by(self.directories as usize)
    }

    fn time_of(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_nanos() as u64
    }

    fn instant_of(&self, time_ns: u64) -> Instant {
        self.epoch + Duration::from_nanos(time_ns)
    }
}
