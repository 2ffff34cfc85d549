//! Which logs there must be: what a start notes once all its logs have begun, so that one that is gone as a whole is missed.
//!
//! Inside a log a gap is noticed by the chain of its segments; that a log had ever been there, only something outside of it can say.

use std::path::Path;

use crate::error::RecoveryError;
use crate::ids::{CoreId, Epoch, is_counted};
use crate::recovery::{Recovered, core_dir};
use crate::sector::{u16_at, u64_at};

/// A start, and the logs that it has begun: those of the cores 0 to `logs` - 1.
///
/// ```text
///  0       8      10
///  | epoch | logs |
/// ```
/// Little endian. A note that is older than the logs is as true as on the day it was written: logs only go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunLogs {
    /// The start.
    pub epoch: Epoch,
    /// How many logs have something of that start in them.
    pub logs: u16,
}

impl BegunLogs {
    pub(crate) fn encode(self) -> Vec<u8> {
        [&self.epoch.get().to_le_bytes()[..], &self.logs.to_le_bytes()].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let begun = (bytes.len() == 10).then(|| Self { epoch: Epoch::new(u64_at(bytes, 0)), logs: u16_at(bytes, 8) });
        begun.filter(|begun| is_counted(begun.epoch.get()))
    }

    /// Checks that every log of the note has come at least as far. `dir` is where they were read from.
    pub fn check(self, dir: &Path, recovered: &Recovered) -> Result<(), RecoveryError> {
        let gone = |core: &CoreId| recovered.newest_epoch(*core) < self.epoch;
        match (0..self.logs).map(CoreId::new).find(gone) {
            Some(core) => Err(RecoveryError::MissingLog { dir: core_dir(dir, core) }),
            None => Ok(()),
        }
    }
}
