//! Who is measured.

use serde::Serialize;

/// What has an executor look for completions before it sleeps, for longer than a durable write takes on most disks.
pub(crate) const POLLING: [&str; 2] = ["--spin-us", "200"];

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Who {
    Uetcd,
    /// The same build with [`POLLING`].
    Polling,
    /// Debian's etcd.
    Etcd,
    /// Another build of uetcd, in etcd's place.
    Other,
    /// The least that a server can do; its rate is the ceiling.
    Responder,
    Redis,
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uetcd => "uetcd",
            Self::Polling => "uetcd --spin-us 200",
            Self::Etcd => "etcd",
            Self::Other => "other",
            Self::Responder => "bare responder",
            Self::Redis => "Redis",
        }
    }
}
