//! Changes of a group's members: asked for, committed, remembered.

use raft::prelude::{ConfChangeV2, Entry, EntryType};

use super::{ChangeRefused, Group, LogEntry, MemberChange};
use crate::ids::RaftIndex;

impl Group {
    /// Proposes a change of members; returns its position.
    pub fn propose_members(&mut self, change: MemberChange) -> Result<RaftIndex, ChangeRefused> {
        if !self.leads_surely() {
            return Err(ChangeRefused::NotLeading);
        }
        if self.node.raft.has_pending_conf() {
            return Err(ChangeRefused::Busy);
        }
        let removed = matches!(change, MemberChange::Remove(_)).then(|| change.member());
        if removed.is_some_and(|id| id == self.me() || self.members.voters == [id]) {
            return Err(ChangeRefused::Needed);
        }
        if !self.members.fits(change) {
            return Err(ChangeRefused::Unfit);
        }
        let mut entry = Entry { data: change.encode(), ..Entry::default() };
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        Ok(self.append(entry))
    }

    /// Whether a restart would know that the change of members at `at` is committed. Only then anybody may be told: the
    /// member that has left may be switched off, and its vote would be missed.
    pub fn remembers_change(&self, at: RaftIndex) -> bool {
        at <= self.durable_change
    }

    pub(super) fn change_members(&mut self, data: &[u8]) {
        // Entries are validated where they enter the process.
        let Ok(change) = MemberChange::decode(data) else { return };
        if self.members.apply(change) {
            let change: ConfChangeV2 = change.to_raft();
            let changed = self.node.apply_conf_change(&change);
            assert!(changed.is_ok(), "raft refused a change that fits its members: {changed:?}");
            if self.leads() && !self.members.contains(self.me()) {
                // An earlier leader had proposed it. raft would go on leading, and fail.
                let term = self.node.raft.term;
                self.node.raft.become_follower(term, 0);
            }
        }
    }
}

pub(super) fn last_change(entries: &[LogEntry]) -> Option<RaftIndex> {
    entries.iter().rev().find(|entry| entry.conf_change).map(|entry| entry.index)
}

pub(super) fn last_change_of(entries: &[Entry]) -> Option<RaftIndex> {
    let change = |entry: &&Entry| entry.get_entry_type() != EntryType::EntryNormal;
    entries.iter().rev().find(change).map(|entry| RaftIndex(entry.index))
}
