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
    /// The same, with a durable write before each answer: about the ceiling of a server here that is durable.
    DurableResponder,
    Redis,
}

impl Who {
    /// It gives everything the same answer.
    pub(crate) fn is_bare(self) -> bool {
        matches!(self, Self::Responder | Self::DurableResponder)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uetcd => "uetcd",
            Self::Polling => "uetcd --spin-us 200",
            Self::Etcd => "etcd",
            Self::Other => "other",
            Self::Responder => "bare responder",
            Self::DurableResponder => "bare responder, durable",
            Self::Redis => "Redis",
        }
    }
}
