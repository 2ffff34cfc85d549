//! How far we are: a line on standard error, rewritten on a terminal.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Instant;

/// Steps done, of those that there are.
pub(crate) struct Progress {
    begun: Instant,
    steps: usize,
    done: usize,
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn new(steps: usize) -> Self {
        Self { begun: Instant::now(), steps, done: 0, is_terminal: stderr().is_terminal() }
    }

    /// The next step begins.
    pub(crate) fn step(&mut self, what: &str) {
        let line = format!("[{}/{}]{} {what}", self.done + 1, self.steps, self.remaining());
        self.done += 1;
        if self.is_terminal {
            eprint!("\r\x1b[K{line}");
            // A line that does not show is no reason to stop.
            let _ = stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }

    fn remaining(&self) -> String {
        if self.done == 0 {
            return String::new();
        }
        let each = self.begun.elapsed().as_secs_f64() / self.done as f64;
        let seconds = each * (self.steps.saturating_sub(self.done)) as f64;
        format!(" {:.0}:{:02.0} left,", (seconds / 60.0).floor(), (seconds % 60.0).floor())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}
