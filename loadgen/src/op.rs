//! The kinds of things that are timed.

/// What a latency is the latency of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Op {
    Get,
    QuorumGet,
    Put,
    Delete,
    Create,
    Post,
    Cas,
    /// A compare-and-swap that came too late: 412 is a right answer.
    CasRefused,
    List,
    /// A read of a key whose time to live is over.
    Expired,
    /// From the writer's intended send time until a watcher has the event.
    Delivery,
    /// Opening a connection.
    Connect,
    /// A request that was due and not sent before the end: it took at least until then.
    Unsent,
}

impl Op {
    /// All of them; [`Op::index`] counts along.
    pub(crate) const ALL: [Self; 13] = [
        Self::Get,
        Self::QuorumGet,
        Self::Put,
        Self::Delete,
        Self::Create,
        Self::Post,
        Self::Cas,
        Self::CasRefused,
        Self::List,
        Self::Expired,
        Self::Delivery,
        Self::Connect,
        Self::Unsent,
    ];

    /// Its place in [`Op::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// What reports call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::QuorumGet => "quorum-get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Create => "create",
            Self::Post => "post",
            Self::Cas => "cas",
            Self::CasRefused => "cas-refused",
            Self::List => "list",
            Self::Expired => "get-expired",
            Self::Delivery => "delivery",
            Self::Connect => "connect",
            Self::Unsent => "unsent",
        }
    }

    /// Whether it is a request that was answered; rates count these.
    pub(crate) const fn is_request(self) -> bool {
        !matches!(self, Self::Delivery | Self::Connect | Self::Unsent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_along() {
        assert!(Op::ALL.iter().enumerate().all(|(n, op)| op.index() == n));
    }
}
