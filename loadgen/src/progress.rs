//! The line that says how a run goes on.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use crate::cli::When;
use crate::plan::Plan;
use crate::timeline::Row;

/// Writes to standard error, over the line before on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    is_terminal: bool,
}

impl Progress {
    /// Decides once.
    pub(crate) fn new(when: When) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let is_shown = match when {
            When::Auto => is_terminal,
            When::Always => true,
            When::Never => false,
        };
        Self { is_shown, is_terminal }
    }

    /// An interval is over.
    pub(crate) fn show(self, plan: &Plan, interval: Duration, row: Row) {
        if !self.is_shown {
            return;
        }
        let offered = plan.rate.map_or_else(String::new, |rate| format!(" of {rate:.0}"));
        let line = format!(
            "{:.1}/{:.0} s  {:.0}{offered} requests/s  p50 {}  p99 {}  max {}",
            row.end_s,
            plan.duration.as_secs_f64(),
            row.requests as f64 / interval.as_secs_f64(),
            time(row.p50_us),
            time(row.p99_us),
            time(row.max_us)
        );
        let mut out = std::io::stderr().lock();
        // Nobody reads it when this fails.
        let _ = if self.is_terminal { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
    }

    /// Takes the line away.
    pub(crate) fn clear(self) {
        if self.is_shown && self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }

    /// A word between two runs.
    pub(crate) fn say(self, text: &str) {
        if self.is_shown {
            self.clear();
            eprintln!("{text}");
        }
    }
}

/// A time in the unit that is easiest to read.
pub(crate) fn time(us: u64) -> String {
    match us {
        0..10_000 => format!("{us} us"),
        10_000..10_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!([time(5), time(12_345), time(12_000_000)], ["5 us", "12.3 ms", "12.0 s"]);
    }
}
