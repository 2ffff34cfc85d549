//! Numbers that mean something, each with its own type.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Position in the one total order of changes; clients know it as `modifiedIndex`. 0 is "before everything".
    Index(u64)
}

number! {
    /// One part of the keyspace, and the raft group that replicates it. Shards are counted from 0.
    ShardId(u16)
}

number! {
    /// Raft term of one shard's group.
    Term(u64)
}

number! {
    /// Position in one shard's raft log. Not an [`Index`]: an entry holds a batch, and a batch takes many indices.
    RaftIndex(u64)
}

number! {
    /// A member of the cluster. Printed in lower-case hex without padding on the client port; never 0.
    MemberId(u64)
}

impl Index {
    /// The index before the first change.
    pub const ZERO: Self = Self(0);

    /// The index right after this one.
    #[must_use]
    pub fn next(self) -> Self {
        assert!(self.0 < u64::MAX, "the total order has come to its end");
        Self(self.0 + 1)
    }

    /// Changes after `self` up to and including `later`, which must not be older.
    pub fn count_to(self, later: Self) -> u64 {
        assert!(self <= later, "index went backwards: {self:?}, then {later:?}");
        later.0 - self.0
    }
}

impl fmt::LowerHex for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_changes_between_indices() {
        assert_eq!(Index(3).count_to(Index(10)), 7);
        assert_eq!(Index::ZERO.next(), Index(1));
    }

    #[test]
    fn a_member_prints_as_unpadded_hex() {
        assert_eq!(format!("{:x}", MemberId(0x0c32_531c_60e6_3be3)), "c32531c60e63be3");
    }
}
