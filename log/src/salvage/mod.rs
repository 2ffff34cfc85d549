//! Reading a damaged log of a member that does not run: what is behind the damage, too, and what is certain in spite of it.
//!
//! [`crate::recover`] says what a member *has* and refuses when anything is missing. This says what is *known*, and never more:
//! nothing is taken that is not covered by a checksum, and what can not be read counts as anything that could have been there.
//! One damaged log alone leads nowhere; several of one cluster do: see [`mod@crate::unite`].

mod core;
mod facts;
mod segment;

use std::collections::BTreeMap;
use std::path::Path;

pub use facts::{End, Facts, Known};

use crate::begun::BegunLogs;
use crate::disk::Disk;
use crate::error::{Damage, RecoveryError};
use crate::ids::{BatchSeq, CoreId, Epoch, GroupId, LogIdentity, RaftIndex, SegmentSeq};
use crate::recovery::{core_dir, cores_below};
use core::{CoreStory, Event, tell};
use facts::{Gatherer, group_of};

/// What is certain about a member's groups from its logs.
#[derive(Debug)]
pub struct Salvage {
    /// Every group that was asked for.
    pub groups: BTreeMap<GroupId, Facts>,
    /// What is damaged or missing, for people; nothing if all logs are whole.
    pub losses: Vec<String>,
    /// Bytes read.
    pub bytes: u64,
    /// Something of a log is left.
    pub has_log: bool,
    /// Numbers that no log of this member has used are above these.
    pub(crate) newest: Epoch,
    pub(crate) highest_batch: BatchSeq,
    pub(crate) highest_segment: SegmentSeq,
}

/// Reads all logs below `dir`, however damaged. Changes nothing on the disk.
///
/// `groups` are all there are, each with an index that is no lower than that of any snapshot that the member ever made of it and
/// may still have. `noted` are the logs that there must be. `segment_bytes` is the size that a segment usually has.
pub fn salvage(
    disk: &dyn Disk,
    dir: &Path,
    identity: LogIdentity,
    groups: &BTreeMap<GroupId, RaftIndex>,
    noted: Option<BegunLogs>,
    segment_bytes: u64,
) -> Result<Salvage, RecoveryError> {
    let mut stories = Vec::new();
    for core in cores_below(disk, dir)? {
        stories.push(tell(disk, dir, core, identity, segment_bytes)?);
    }
    let starts = stories.iter().map(|story| story.newest_start).chain(noted.map(|noted| (noted.epoch, noted.logs)));
    let (_, logs) = starts.max().unwrap_or_default();
    // Those of cores that the newest start does not have do not go on: what was ready behind them is gone.
    stories.iter_mut().filter(|story| story.core.get() < logs).for_each(CoreStory::doubt_end_unless_ready);
    let mut salvage = Salvage {
        groups: BTreeMap::new(),
        losses: stories.iter_mut().flat_map(|story| std::mem::take(&mut story.losses)).collect(),
        bytes: stories.iter().map(|story| story.bytes).sum(),
        has_log: stories.iter().any(CoreStory::has_batches),
        newest: stories.iter().map(|story| story.newest).max().unwrap_or_default(),
        highest_batch: stories.iter().map(|story| story.highest_batch).max().unwrap_or_default(),
        highest_segment: stories.iter().map(|story| story.highest_segment).max().unwrap_or_default(),
    };
    let adrift: Vec<Vec<Event>> = stories.iter_mut().flat_map(|story| std::mem::take(&mut story.adrift)).collect();
    let homes = homes(dir, &stories)?;
    // Of a log that is not there at all nothing is known, not even that nothing was in it.
    let ends_in_doubt = !salvage.has_log || stories.iter().any(|story| story.ends_in_doubt);
    let lacking = lacking(&stories, noted, dir, &mut salvage);
    let events = in_order(stories, lacking, salvage.newest);
    let mut gatherers: BTreeMap<GroupId, Gatherer> = groups.keys().map(|group| (*group, Gatherer::default())).collect();
    for (epoch, core, event) in events {
        match event {
            Event::Batch(finds) => {
                for find in &finds {
                    if let Some(gatherer) = gatherers.get_mut(&group_of(find)) {
                        gatherer.take(epoch, find);
                    }
                }
            }
            Event::Whole => gatherers.values_mut().for_each(Gatherer::settle),
            Event::Gap | Event::Front => {
                let elsewhere = |group: &GroupId| homes.get(&(epoch, *group)).is_some_and(|home| *home != core);
                let here = gatherers.iter_mut().filter(|(group, _)| !elsewhere(group)).map(|(_, group)| group);
                here.for_each(if matches!(event, Event::Gap) { Gatherer::gap } else { Gatherer::front });
            }
        }
    }
    if ends_in_doubt {
        // What is missing may be of a start of which nothing else is left.
        gatherers.values_mut().for_each(Gatherer::gap);
    }
    for events in &adrift {
        learn(events, &mut gatherers);
    }
    let floor = |group: &GroupId| groups.get(group).copied().unwrap_or_default();
    salvage.groups = gatherers.into_iter().map(|(group, facts)| (group, facts.finish(floor(&group)))).collect();
    Ok(salvage)
}

/// Takes what is true of the groups whenever it was written.
fn learn(events: &[Event], gatherers: &mut BTreeMap<GroupId, Gatherer>) {
    let mut apart: BTreeMap<GroupId, Gatherer> = BTreeMap::new();
    for event in events {
        match event {
            Event::Batch(finds) => {
                for find in finds {
                    apart.entry(group_of(find)).or_default().take(Epoch::default(), find);
                }
            }
            Event::Whole => apart.values_mut().for_each(Gatherer::settle),
            Event::Gap => apart.values_mut().for_each(Gatherer::gap),
            Event::Front => apart.values_mut().for_each(Gatherer::front),
        }
    }
    for (group, apart) in apart {
        if let Some(gatherer) = gatherers.get_mut(&group) {
            gatherer.learn(apart);
        }
    }
}

/// All that happened, start by start. Within one a group lives on one core, so that the order of cores does not matter.
fn in_order(stories: Vec<CoreStory>, lacking: Vec<(CoreId, Epoch)>, newest: Epoch) -> Vec<(Epoch, CoreId, Event)> {
    let mut events: Vec<(Epoch, CoreId, Event)> = Vec::new();
    let gaps = |core: CoreId, from: Epoch| {
        let each = from.get().max(1)..=newest.get();
        each.map(move |epoch| (Epoch::new(epoch), core, Event::Gap))
    };
    for story in stories {
        let (core, doubt) = (story.core, story.ends_in_doubt.then_some(story.newest));
        events.extend(story.events.into_iter().map(|(epoch, event)| (epoch, core, event)));
        events.extend(doubt.into_iter().flat_map(|from| gaps(core, from)));
    }
    events.extend(lacking.into_iter().flat_map(|(core, from)| gaps(core, from)));
    events.sort_by_key(|(epoch, core, _)| (*epoch, *core));
    events
}

/// On which core each group lived in each start, as far as a record of it tells.
fn homes(dir: &Path, stories: &[CoreStory]) -> Result<BTreeMap<(Epoch, GroupId), CoreId>, RecoveryError> {
    let mut homes = BTreeMap::new();
    for story in stories {
        for (epoch, event) in &story.events {
            let Event::Batch(finds) = event else { continue };
            for group in finds.iter().map(group_of) {
                if *homes.entry((*epoch, group)).or_insert(story.core) != story.core {
                    let what = "the group is in two logs of the same start: files of two directories were mixed";
                    let file = core_dir(dir, story.core);
                    return Err(Damage { group: Some(group), ..Damage::new(&file, 0, what) }.into());
                }
            }
        }
    }
    Ok(homes)
}

/// Logs that must have come further than they have, each with the last start of which it has something.
fn lacking(stories: &[CoreStory], noted: Option<BegunLogs>, dir: &Path, salvage: &mut Salvage) -> Vec<(CoreId, Epoch)> {
    let Some(noted) = noted else { return Vec::new() };
    salvage.newest = salvage.newest.max(noted.epoch);
    let newest = |core: CoreId| stories.iter().find(|story| story.core == core).map(|story| story.newest);
    let cores = (0..noted.logs).map(|core| (CoreId::new(core), newest(CoreId::new(core)).unwrap_or_default()));
    let lacking: Vec<_> = cores.filter(|(_, newest)| *newest < noted.epoch).collect();
    for (core, _) in &lacking {
        let dir = core_dir(dir, *core);
        salvage.losses.push(format!("{} lacks the log that was in it, or its newest segments", dir.display()));
    }
    lacking
}
