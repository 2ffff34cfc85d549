//! A state that takes the place of everything on the disk: written beside it, and taken over in one step.
//!
//! ```text
//! member/staged/*.snap   written, durable
//! member/wal/mended      the same, of a log (only when one is mended)
//! member/identity        rewritten: it says `staged`       <- the step
//! member/wal             the log that was mended takes the place of the old one, which is set aside
//! member/snap            they are moved there
//! member/identity        rewritten: it does not say so any more
//! ```
//!
//! A crash before the step leaves the old state; one after it is caught up with by the next start, whatever its flags are.
//! The snapshots end beyond the log that is there, so that nothing of it counts any more.

use std::path::PathBuf;

use log::{DataDir, GroupId, Position, SnapshotHead, write_snapshot};
use shard::store::Store;

use crate::birth::Birth;
use crate::config::Config;
use crate::core::pieces;
use crate::failure::Fatal;

/// A state that is being put aside.
pub(crate) struct Stage<'a> {
    data: &'a DataDir,
    dir: PathBuf,
}

impl<'a> Stage<'a> {
    /// Begins with nothing.
    pub(crate) fn begin(data: &'a DataDir) -> Result<Self, Fatal> {
        Ok(Self { data, dir: data.stage()? })
    }

    /// Adds a shard's state, which stands for its log up to `position`. Twice: no log could take the place of one that rots.
    pub(crate) fn put(&self, shard: u16, position: Position, store: &Store) -> Result<(), Fatal> {
        let head = SnapshotHead { group: GroupId::new(shard), position };
        for copy in [false, true] {
            let pieces = store.snapshot().flat_map(|chunk| pieces(&chunk));
            write_snapshot(&self.dir, head, copy, pieces).map_err(|error| Fatal::Other(error.to_string()))?;
        }
        Ok(())
    }

    /// Every shard is there: this is the state from now on, and `birth` whose it is.
    pub(crate) fn take_over(self, config: &Config, birth: Birth) -> Result<Birth, Fatal> {
        let birth = Birth { staged: true, ..birth };
        birth.write(self.data)?;
        settle(config, self.data, birth)
    }
}

/// At every start: finishes what one before it has begun.
pub(crate) fn settle(config: &Config, data: &DataDir, birth: Birth) -> Result<Birth, Fatal> {
    let log_dir = config.log_dir();
    if !birth.staged {
        data.drop_staged()?;
        data.drop_mended(&log_dir)?;
        return Ok(birth);
    }
    for aside in data.adopt_mended(&log_dir)? {
        tracing::warn!(target: "wal", "the damaged log is now {}; it can be removed", aside.display());
    }
    data.adopt_staged(&log_dir)?;
    let birth = Birth { staged: false, ..birth };
    birth.write(data)?;
    Ok(birth)
}
