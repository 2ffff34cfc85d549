//! What the directories add up to, shard by shard.

use std::collections::BTreeMap;

use log::{EntryType, GroupId, Position, Question, RaftIndex, United, Witness, unite};
use net::peer::Held;
use shard::group::{LOG_START, Members};
use shard::ids::MemberId;
use shard::shard::{last_index_of, validate};

use super::refused;
use super::source::Source;
use crate::birth::Birth;
use crate::failure::Fatal;
use crate::recovery;

/// The log that every shard is to have.
pub(super) struct Plan {
    pub(super) groups: BTreeMap<GroupId, United>,
}

impl Plan {
    /// The first of the sources is the member that is to be mended; `promises` as of [`keep_promises`].
    pub(super) fn make(birth: &Birth, sources: &[Source], promises: &[bool]) -> Result<Self, Fatal> {
        let (mut groups, mut faults) = (BTreeMap::new(), Vec::new());
        for group in (0..birth.shards).map(GroupId::new) {
            match of_group(birth, sources, promises, group) {
                Ok(united) => {
                    groups.insert(group, united);
                }
                Err(fault) => faults.push(fault),
            }
        }
        let Some(first) = faults.first() else {
            check_shown(sources, &groups)?;
            hold(birth, sources, &mut groups);
            return Ok(Self { groups });
        };
        for fault in &faults {
            tracing::error!(target: "wal", "{fault}");
        }
        let more = match faults.len() {
            1 => String::new(),
            all => format!(" (and {} further shards)", all - 1),
        };
        let damaged = sources.iter().find_map(|source| source.salvage.losses.first());
        let damaged = damaged.map_or(String::new(), |loss| format!("; the damage: {loss}"));
        Err(refused(&format!("{first}{more}{damaged}")))
    }

    /// Says what is going to be done.
    pub(super) fn tell(&self, sources: &[Source]) {
        for (group, United { log, from, borrowed }) in &self.groups {
            let (entries, last) = (log.entries.len(), log.last_index().max(from.index));
            let term = log.hard_state.unwrap_or_default().term;
            let lender = borrowed.map(|nth| format!(", on the snapshot in {}", sources[nth].dir.display()));
            let lender = lender.unwrap_or_default();
            tracing::info!(
                target: "wal",
                "shard {group}: {entries} entries up to index {last}{lender}; it goes on in term {term}"
            );
        }
    }
}

/// Of each source, whether it says what its member has promised. A disk must be as it was at its end for that, and what the
/// others remember of it tells an older copy. Where something of it is damaged it may be the damage that hides what they
/// remember: it is not refused, and does not count.
pub(super) fn keep_promises(sources: &[Source]) -> Result<Vec<bool>, Fatal> {
    let mut promises = Vec::new();
    for source in sources {
        let held = source.held();
        let knows_more = |other: &&Source| {
            let known = other.remembered.held(MemberId(source.birth.member));
            known.is_some_and(|known| !known.forgetful && held.is_less_than(&known))
        };
        let other = sources.iter().find(knows_more).filter(|_| source.promises);
        promises.push(source.promises && other.is_none());
        let Some(other) = other else { continue };
        let (dir, other) = (source.dir.display(), other.dir.display());
        if source.salvage.losses.is_empty() {
            return Err(refused(&format!(
                "{dir} is older than what that member had when {other} was written: give what it has now"
            )));
        }
        tracing::warn!(
            target: "wal",
            "{dir}: this member had more when {other} was written: it is lost, or this is an older copy, which does not know what \
             that member has promised"
        );
    }
    Ok(promises)
}

/// What any member has shown is in the logs: else their ends are missing, on so many disks that nothing else tells.
fn check_shown(sources: &[Source], groups: &BTreeMap<GroupId, United>) -> Result<(), Fatal> {
    let noted = sources.iter().map(|source| (source.held().visible, source));
    let mut shown: Vec<(u64, &Source)> = noted.collect();
    for source in sources {
        source.remembered.each(|_, visible| shown.push((visible, source)));
    }
    // Whosever snapshots they are: the logs hold what they hold, or begin with one that does.
    let mut top = sources.iter().map(Source::applied).max().unwrap_or(0);
    for (group, united) in groups {
        let last = united.log.entries.iter().rfind(|entry| entry.count > 0);
        let Some(last) = last.cloned().map(recovery::from_log) else { continue };
        validate(&last).map_err(|error| recovery::unusable(group.get(), &error))?;
        top = top.max(last_index_of(&last).map_or(0, |index| index.0));
    }
    match shown.into_iter().max_by_key(|(visible, _)| *visible) {
        Some((visible, source)) if visible > top => Err(refused(&format!(
            "according to {} everything up to index {visible} was shown to clients, but all logs together end at index {top}: their \
             newest segments are missing, or these are older copies",
            source.dir.display()
        ))),
        _ => Ok(()),
    }
}

/// What the others remember of this member's disk has been so: everything up to there is complete, and the log holds it. With
/// less, they would take the disk for an older one. And a term can always be higher.
fn hold(birth: &Birth, sources: &[Source], groups: &mut BTreeMap<GroupId, United>) {
    let known = |source: &Source| source.remembered.held(MemberId(birth.member));
    let known = sources.iter().filter_map(known).reduce(Held::max);
    let Some(known) = known else { return };
    let terms = |log: &United| log.log.hard_state.unwrap_or_default().term;
    let lacking = known.terms.saturating_sub(groups.values().map(terms).sum());
    if let Some(state) = groups.values_mut().next().and_then(|united| united.log.hard_state.as_mut()) {
        state.term += lacking;
    }
    for frontier in groups.values_mut().filter_map(|united| united.log.frontier.as_mut()) {
        frontier.visible = frontier.visible.max(known.visible);
    }
}

fn of_group(birth: &Birth, sources: &[Source], promises: &[bool], group: GroupId) -> Result<United, String> {
    let voters = voters(sources, group)?;
    let snapshots: Vec<Vec<Position>> = sources.iter().map(|source| source.positions(group)).collect();
    let mut witnesses = Vec::new();
    for ((source, snapshots), promises) in sources.iter().zip(&snapshots).zip(promises) {
        let facts = source.salvage.groups.get(&group).ok_or_else(|| format!("group {group}: it is not known"))?;
        witnesses.push(Witness { member: source.birth.member, facts, snapshots, promises: *promises });
    }
    let start = Position { index: RaftIndex::new(LOG_START.0.0), term: LOG_START.1.0 };
    let question = Question { group, voters: &voters, start, own: 0, own_may_be_empty: !birth.joined };
    unite(&question, &witnesses).map_err(|disunion| disunion.to_string())
}

/// Who have a vote in a group: all must say the same, and no log may tell of a change since.
fn voters(sources: &[Source], group: GroupId) -> Result<Vec<u64>, String> {
    let known: Vec<(RaftIndex, Members)> = sources.iter().filter_map(|source| source.members(group)).collect();
    let (Some((_, members)), Some(since)) = (known.first(), known.iter().map(|(since, _)| *since).min()) else {
        return Err(format!("group {group}: no directory says who its members are"));
    };
    let facts = sources.iter().filter_map(|source| source.salvage.groups.get(&group));
    let entries = facts.flat_map(|facts| facts.entries.values()).filter_map(|known| known.entry.as_ref());
    let mut changes = entries.filter(|entry| entry.entry_type != EntryType::Normal && entry.index > since);
    if known.iter().any(|(_, others)| others.voters != members.voters) || changes.next().is_some() {
        return Err(format!(
            "group {group}: its members have changed since the oldest snapshot that the logs go on from, so that it is not \
             certain whose word counts"
        ));
    }
    Ok(members.voters.iter().map(|voter| voter.0).collect())
}
