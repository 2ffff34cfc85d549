//! The node's clock: wall time at the start of the process, and monotonic time from there on.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds of the Unix epoch that never go back while the process runs, whatever is done to the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base_ns: u64,
    started: Instant,
}

impl Clock {
    /// Reads the wall clock, once.
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { base_ns: u64::try_from(since_epoch.as_nanos()).unwrap_or(0), started: Instant::now() }
    }

    /// Now, in nanoseconds of the Unix epoch.
    pub(crate) fn now_ns(&self) -> u64 {
        self.ns_at(Instant::now())
    }

    /// That moment, in nanoseconds of the Unix epoch.
    pub(crate) fn ns_at(&self, moment: Instant) -> u64 {
        let since_start = moment.saturating_duration_since(self.started);
        self.base_ns.saturating_add(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX))
    }

    /// When the process started, in nanoseconds of the Unix epoch.
    pub(crate) fn started_ns(&self) -> u64 {
        self.base_ns
    }
}
