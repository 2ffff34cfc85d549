//! What a run did, step by step: a hash that two runs of one seed have in common, and the last lines for a reader.

use std::collections::VecDeque;
use std::fmt::Arguments;

/// Lines that are kept for whoever reads of a failure.
const LINES_MAX: usize = 400;

/// The trace of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    /// None: only the hash is wanted.
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub(crate) fn new(readable: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: readable.then(VecDeque::new) }
    }

    /// Takes numbers into the hash. What a run does must follow from its seed down to these.
    pub(crate) fn note(&mut self, numbers: &[u64]) {
        for byte in numbers.iter().flat_map(|number| number.to_le_bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Adds a line, if there is a reader.
    pub(crate) fn line(&mut self, now: u64, text: Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{now:>7}  {text}"));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }
}
