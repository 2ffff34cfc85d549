//! What the scrub counts: it is a thread of its own, so these are shared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Counts of the scrub.
#[derive(Debug, Default)]
pub(crate) struct ScrubStats {
    bytes: AtomicU64,
    damage: AtomicU64,
    last_round: AtomicU64,
    repairs: AtomicU64,
}

impl ScrubStats {
    /// So many bytes were read.
    pub(crate) fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A damaged file was found.
    pub(crate) fn found_damage(&self) {
        self.damage.fetch_add(1, Ordering::Relaxed);
    }

    /// The log was damaged at the start, and the other members stand in for it.
    pub(crate) fn repaired(&self) {
        self.repairs.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything was read once.
    pub(crate) fn round_ended(&self, at: SystemTime) {
        let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_round.store(since_epoch.as_secs(), Ordering::Relaxed);
    }

    /// Bytes read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Logs that others stand in for.
    pub(super) fn repairs(&self) -> u64 {
        self.repairs.load(Ordering::Relaxed)
    }

    /// Damaged files found.
    pub(super) fn damage(&self) -> u64 {
        self.damage.load(Ordering::Relaxed)
    }

    /// When the last complete round ended, in seconds since the epoch; `None` before the first.
    pub(super) fn last_round(&self) -> Option<u64> {
        Some(self.last_round.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }
}
