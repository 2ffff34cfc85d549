//! What the threads of a run and the main thread tell each other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use crate::failure::Failure;
use crate::record::Window;

/// Shared by all threads of a run.
#[derive(Debug)]
pub(crate) struct Control {
    window: OnceLock<Window>,
    stopped: AtomicBool,
    stopped_at: OnceLock<Instant>,
    failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

impl Control {
    /// Before the start of the threads.
    pub(crate) fn new() -> Self {
        Self {
            window: OnceLock::new(),
            stopped: AtomicBool::new(false),
            stopped_at: OnceLock::new(),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// All threads are ready: the run begins.
    pub(crate) fn start(&self, window: Window) {
        // There is one who starts, and does it once.
        let _ = self.window.set(window);
    }

    /// The run, once it has begun.
    pub(crate) fn window(&self) -> Option<Window> {
        self.window.get().copied()
    }

    /// No more requests: answers that are under way are waited for.
    pub(crate) fn stop(&self) {
        // The first time counts.
        let _ = self.stopped_at.set(Instant::now());
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether the run ends early.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Since when it ends early.
    pub(crate) fn stopped_at(&self) -> Option<Instant> {
        self.stopped_at.get().copied()
    }

    /// The run is worth nothing; everybody stops where they are.
    pub(crate) fn fail(&self, failure: Failure) {
        let mut slot = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(failure);
        self.stop();
        self.failed.store(true, Ordering::Release);
    }

    /// Whether anything has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The first failure.
    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
