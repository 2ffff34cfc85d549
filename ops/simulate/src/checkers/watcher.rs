//! A watch on everything, as a node serves it: one watcher per shard, merged by index up to what is complete.

use std::collections::BTreeSet;

use shard::ids::Index;
use shard::shard::Shard;
use shard::watch::{Portion, Watch};

use super::Truth;

/// None: the watch has ended, and begins again when all shards can be listed.
#[derive(Default)]
pub(crate) struct Watcher {
    /// The last event handed out, or where the list was made.
    upto: Option<u64>,
    waiting: BTreeSet<u64>,
}

impl Watcher {
    /// True if there was one to end.
    pub(crate) fn end(&mut self) -> bool {
        self.waiting.clear();
        self.upto.take().is_some()
    }

    /// Lists at `visible`, and watches from there.
    pub(crate) fn begin<'s>(&mut self, visible: Index, shards: impl Iterator<Item = &'s mut Shard>) {
        if self.upto.is_some() {
            return;
        }
        for shard in shards {
            let (hub, store) = shard.watchers();
            hub.cut_all();
            let watch = Watch { path: b"/", recursive: true, stream: true, since: visible.next() };
            let registered = hub.register(store, &watch, Portion::ALL).expect("nothing after the list is gone");
            assert!(registered.replay.is_empty(), "I6: shard {} is ahead of its own list", shard.id());
        }
        self.upto = Some(visible.0);
    }

    pub(crate) fn deliver(&mut self, index: u64) {
        if self.upto.is_some() {
            assert!(self.waiting.insert(index), "I6: event {index} delivered twice");
        }
    }

    /// Hands out what is complete; returns how many events that are.
    pub(crate) fn release(&mut self, complete: Index, truth: &Truth) -> u64 {
        let Some(upto) = &mut self.upto else { return 0 };
        let before = self.waiting.len();
        while let Some(index) = self.waiting.first().copied().filter(|index| *index <= complete.0) {
            truth.watched(*upto, index);
            self.waiting.pop_first();
            *upto = index;
        }
        (before - self.waiting.len()) as u64
    }

    /// Everything up to `visible` has been handed out, unless the watch has ended.
    pub(crate) fn check_whole(&self, visible: Index, truth: &Truth) {
        let Some(upto) = self.upto else { return };
        let last = truth.last_event(visible);
        assert!(upto >= last, "I6: event {last} was never handed out, only those up to {upto}");
    }
}
