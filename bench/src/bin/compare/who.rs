//! Who is measured.

use serde::Serialize;

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Who {
    Uetcd,
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
            Self::Etcd => "etcd",
            Self::Other => "other",
            Self::Responder => "bare responder",
            Self::Redis => "Redis",
        }
    }
}
