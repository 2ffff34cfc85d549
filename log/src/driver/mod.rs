//! What the pure layer asks for, done on glommio: durable writes, files made ready and given up, snapshots.

mod files;
mod reader;
mod snapshot;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glommio::GlommioError;
use thiserror::Error;

pub use reader::LogReader;
pub use snapshot::{SnapshotWriter, prune_snapshots};
pub use writer::{LogOptions, LogWatch, LogWriter, Seen};

/// Why the log takes no more. All are final: a retry after a failed write or fsync can report success although data is
/// gone, so the process has to stop, and read back what is there at its next start.
#[derive(Clone, Debug, Error)]
pub enum LogError {
    /// A durable write to a prepared segment failed: the write itself, or what makes it durable.
    #[error("cannot write {}: {source}. The process stops so that nothing unwritten is acknowledged; check the disk", .file.display())]
    WriteFailed {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A segment could not be made ready or given up, for another reason than a full disk.
    #[error("cannot prepare {}: {source}. Check the disk, and the owner and mode of the data directory", .file.display())]
    PrepareFailed {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl LogError {
    fn write(file: &Path, error: io::Error) -> Self {
        Self::WriteFailed { file: file.to_owned(), source: Arc::new(error) }
    }

    fn prepare(file: &Path, error: io::Error) -> Self {
        Self::PrepareFailed { file: file.to_owned(), source: Arc::new(error) }
    }
}

/// The system's own error, without glommio's wrapping: its number decides (a full disk is not a broken one).
fn system(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.into(),
    }
}

/// Whether space, and nothing else, is what is missing.
fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
