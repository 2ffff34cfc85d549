//! The environment broke a promise that the server cannot work without.

use log::{DirError, LogError, RecoveryError};
use thiserror::Error;

use crate::config::Exit;

/// Ends the process. Each has its own exit status, so that a supervisor can tell them apart.
#[derive(Debug, Error)]
pub(crate) enum Fatal {
    /// A write to the log failed, or could not be made durable. Never retried: what is on the disk is unknown, and a second
    /// attempt can report success while the data of the first is gone.
    #[error("{0}")]
    LogWrite(LogError),
    /// The files of the log could not be made ready or given up.
    #[error("{0}")]
    LogFiles(LogError),
    /// Anything else that was found wrong before or while serving.
    #[error("{0}")]
    Other(String),
}

impl Fatal {
    /// The exit status of the process.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Other(_) => 1,
            Self::LogWrite(_) => 10,
            Self::LogFiles(_) => 12,
        }
    }
}

/// The data directory can not be used.
impl From<DirError> for Fatal {
    fn from(error: DirError) -> Self {
        Self::Other(error.to_string())
    }
}

/// A log can not be read back.
impl From<RecoveryError> for Fatal {
    fn from(error: RecoveryError) -> Self {
        Self::Other(error.to_string())
    }
}

/// Why the server ends without a signal.
pub(crate) enum End {
    /// It could not start, and says so in etcd's words.
    Exit(Exit),
    /// The environment broke a promise.
    Fatal(Fatal),
}

impl From<Exit> for End {
    fn from(exit: Exit) -> Self {
        Self::Exit(exit)
    }
}

impl From<Fatal> for End {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}
