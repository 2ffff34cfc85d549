//! Answers that go on: a connection has nothing else to do meanwhile.

use std::task::Waker;

use super::backup::Download;
use super::session::Session;
use super::watching::Watch;

/// What has the connection for itself.
pub(super) enum Stream {
    /// Events, as they come.
    Watch(Watch),
    /// The whole state, as the client takes it.
    Backup(Download),
}

impl Stream {
    /// Whom to wake when there is something.
    pub(super) fn register(&self, waker: &Waker) {
        match self {
            Self::Watch(watch) => watch.register(waker),
            Self::Backup(download) => download.register(waker),
        }
    }

    /// Whether there is.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Watch(watch) => watch.is_ready(),
            Self::Backup(download) => download.is_ready(),
        }
    }
}

impl Session {
    /// Writes what there is; true if the stream is over.
    pub(super) fn pump(&mut self, stream: &mut Stream) -> bool {
        match stream {
            Stream::Watch(watch) => self.pump_watch(watch),
            Stream::Backup(download) => self.pump_backup(download),
        }
    }
}
