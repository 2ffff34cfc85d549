//! What a mirror is doing: a bar on a terminal, a line now and then elsewhere. All on standard error.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::client::Error;
use crate::screen;

/// Between two lines about the same thing.
const QUIET: Duration = Duration::from_secs(10);

/// Shows how far it is.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    terminal: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    events: usize,
    followed_said: Option<Instant>,
    away_said: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { bar: ProgressBar::hidden(), terminal, inner: Mutex::default() }.with_bar()
    }

    fn with_bar(mut self) -> Self {
        if self.terminal {
            self.bar = ProgressBar::new(0);
            if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}") {
                self.bar.set_style(style);
            }
        }
        self
    }

    /// A line of its own.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| screen::complain(&format!("mirror: {line}\n")));
    }

    /// So many changes are to be made.
    pub(super) fn begin(&self, changes: usize) {
        if !self.terminal {
            self.say(&format!("{changes} keys differ"));
        }
        self.bar.set_length(changes as u64);
        self.bar.set_position(0);
        self.bar.set_message("copying");
    }

    /// So many more changes are made.
    pub(super) fn done(&self, changes: u64) {
        self.bar.inc(changes);
    }

    /// Everything is as it was at `index`.
    pub(super) fn copied(&self, index: u64) {
        self.say(&format!("the copy is complete at index {index}"));
    }

    /// So many more events are repeated, the last one with `index`.
    pub(super) fn followed(&self, events: usize, index: u64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.events += events;
        inner.away_said = None;
        let total = inner.events;
        if self.terminal {
            self.bar.set_message(format!("following: {total} changes, index {index}"));
        } else if inner.followed_said.is_none_or(|at| at.elapsed() >= QUIET) {
            inner.followed_said = Some(Instant::now());
            drop(inner);
            self.say(&format!("{total} changes followed, index {index}"));
        }
    }

    /// The source can not be reached; said once for a while.
    pub(super) fn away(&self, error: &Error) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.away_said.is_none_or(|at| at.elapsed() >= QUIET) {
            inner.away_said = Some(Instant::now());
            drop(inner);
            self.say(&format!("the source is away, and asked again every second: {}", error.to_string().trim_end()));
        }
    }
}
