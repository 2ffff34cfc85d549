//! How far each group is compacted, known to all cores: a segment left by an earlier start can hold groups that other
//! cores have now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::{GroupId, RaftIndex};

/// Shared by all logs of one start. A group is in it once the log that it lives in now has repeated its state durably;
/// its index is one up to which that log needs nothing from any segment.
///
/// The lock is taken when snapshots were made and segments are given up: never while requests are served.
#[derive(Clone, Debug, Default)]
pub(crate) struct Floors {
    groups: Arc<Mutex<BTreeMap<GroupId, RaftIndex>>>,
}

impl Floors {
    pub(crate) fn publish(&self, group: GroupId, index: RaftIndex) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let floor = groups.entry(group).or_default();
        *floor = index.max(*floor);
    }

    pub(crate) fn of(&self, group: GroupId) -> Option<RaftIndex> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).get(&group).copied()
    }
}
