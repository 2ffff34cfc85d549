//! The source's events, in their order.
//!
//! One thread reads them, so that a slow copy does not make the source forget what was not read yet; the others repeat them. Events of different
//! keys directly below the mirrored directory are repeated beside each other, those of one in their order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use super::apply::Applier;
use super::event::Event;
use super::identity::Place;
use super::life::Life;
use super::lookout::Lookout;
use super::progress::Progress;
use super::state::{Kept, State};
use super::{Plan, RETRY_PAUSE, copy_failed, source_failed};
use crate::client::{Client, Error, Keys};
use crate::failed::Failed;
use crate::parallel;
use crate::queue::{self, Receiver, Sender};

/// Events that are repeated together, before it is noted how far the copy has got.
const BATCH_EVENTS_MAX: usize = 512;

/// How soon an alarm is noticed while no event comes.
const ROUND: Duration = Duration::from_millis(500);

const HISTORY_CLEARED: u64 = 401;

/// Events are missing, for this reason: only a comparison helps.
#[derive(Debug)]
pub(super) struct HistoryLost(pub(super) String);

enum Item {
    Event(Box<Event>),
    Lost(String),
    Failed(Error),
}

/// Repeats all events after `kept`.
pub(super) fn follow(
    plan: &Plan,
    source: &Arc<Client>,
    applier: &Applier<'_>,
    state: &State,
    progress: &Arc<Progress>,
    lookout: &Arc<Lookout>,
    kept: &Kept,
) -> Result<HistoryLost, Failed> {
    let (sender, receiver) = queue::bounded(queue::EVENTS);
    let key = if plan.from.is_empty() { "/".to_owned() } else { plan.from.clone() };
    let (place, source) = (kept.source.clone(), Arc::clone(source));
    let (told, suspicious) = (Arc::clone(progress), Arc::clone(lookout));
    // Nobody waits for this thread: it may sit in a watch for as long as nothing happens.
    std::thread::spawn(move || read(&key, &source, &sender, &told, &suspicious, &place));
    lookout.begin();
    let end = repeat(plan, applier, &receiver, state, progress, lookout);
    lookout.end();
    end
}

/// Reads events until none can be read any more, or nobody wants them.
fn read(key: &str, source: &Client, sender: &Sender<Item>, progress: &Progress, lookout: &Lookout, after: &Place) {
    let mut from = after.index + 1;
    loop {
        let item = match Keys::new(source).wait(key, true, from) {
            Ok(event) if !after.cluster.is_empty() && event.cluster_id != after.cluster => {
                Item::Lost(format!("the source is another cluster now, {}", event.cluster_id))
            }
            Ok(event) => {
                from = event.node.modified_index + 1;
                Item::Event(Box::new(Event::new(event)))
            }
            Err(Error::Api(error)) if error.code == HISTORY_CLEARED => {
                Item::Lost(format!("the source has forgotten what came after index {}", from - 1))
            }
            Err(error @ (Error::Cluster(_) | Error::EmptyBody)) => {
                if !sender.is_wanted() {
                    return;
                }
                progress.away(&error);
                lookout.suspect();
                sleep(RETRY_PAUSE);
                continue;
            }
            Err(error) => Item::Failed(error),
        };
        let (last, bytes) = match &item {
            Item::Event(event) => (false, event.bytes()),
            Item::Lost(_) | Item::Failed(_) => (true, 0),
        };
        if !sender.send(item, bytes) || last {
            return;
        }
    }
}

fn repeat(
    plan: &Plan,
    applier: &Applier<'_>,
    receiver: &Receiver<Item>,
    state: &State,
    progress: &Progress,
    lookout: &Lookout,
) -> Result<HistoryLost, Failed> {
    loop {
        let mut end = lookout.alarm().map(|why| Ok(HistoryLost(why)));
        let mut batch = Vec::new();
        let mut item = if end.is_none() { receiver.recv_within(ROUND) } else { None };
        while let Some(next) = item {
            match next {
                Item::Event(event) if plan.is_beyond_root(&event) => {
                    end = Some(Ok(HistoryLost("the mirrored directory is no more what it was".to_owned())));
                }
                Item::Event(event) => batch.push(*event),
                Item::Lost(why) => end = Some(Ok(HistoryLost(why))),
                Item::Failed(error) => end = Some(Err(source_failed(error))),
            }
            item = if batch.len() < BATCH_EVENTS_MAX && end.is_none() { receiver.try_recv() } else { None };
        }
        if let Some(index) = batch.last().map(Event::index) {
            repeat_batch(plan, applier, &batch).map_err(copy_failed)?;
            let last = batch.len().saturating_sub(Life::CHANGES);
            state.advance(index, applier.copy_index(), batch[last..].iter().map(Event::witness));
            state.save_now_and_then().map_err(Failed::said)?;
            progress.followed(batch.len(), index);
        }
        if let Some(end) = end {
            state.save().map_err(Failed::said)?;
            return end;
        }
    }
}

/// Repeats events, each group on its own thread. An event of the mirrored directory itself concerns all groups, and is repeated alone.
fn repeat_batch(plan: &Plan, applier: &Applier<'_>, batch: &[Event]) -> Result<(), Error> {
    let is_root = |event: &Event| group_of(plan, &event.node().key).is_empty();
    for part in batch.chunk_by(|a, b| !is_root(a) && !is_root(b)) {
        let mut groups: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        for event in part {
            groups.entry(group_of(plan, &event.node().key)).or_default().push(event);
        }
        let groups: Vec<_> = groups.into_values().collect();
        parallel::for_each(plan.workers, groups, |group| group.iter().try_for_each(|event| applier.event(event)))?;
    }
    Ok(())
}

/// The name directly below the mirrored directory; empty for the directory itself.
fn group_of<'a>(plan: &Plan, key: &'a str) -> &'a str {
    plan.below(key).trim_start_matches('/').split('/').next().unwrap_or_default()
}
