//! Watches that begin in the past of a shard: they are shown all of it that they would have received, or are refused.

use shard::ids::Index;
use shard::shard::Shard;
use shard::watch::{Portion, Watch};

use super::Truth;

/// What a client asks for: a directory with all below it that is not hidden, or one key.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) path: Vec<u8>,
    pub(crate) recursive: bool,
    pub(crate) since: Index,
}

impl Past {
    /// Registers it, compares, and takes it back. True: it was refused.
    pub(crate) fn check(&self, shard: &mut Shard, truth: &Truth) -> bool {
        let known_from = self.since.max(truth.unseen(shard.id()).next());
        let (hub, store) = shard.watchers();
        let (cleared, applied) = (store.history().cleared(), store.applied());
        let Self { path, recursive, since } = self;
        let watch = Watch { path, recursive: *recursive, stream: true, since: *since };
        let Ok(registered) = hub.register(store, &watch, Portion::ALL) else {
            assert!(*since <= cleared, "401: {self:?} refused, and only what is up to {cleared} is gone");
            return true;
        };
        registered.live.into_iter().for_each(|id| assert!(hub.cancel(id), "it had just begun"));
        let shown = registered.replay.iter().filter(|event| self.is_about(&event.node.key));
        let shown: Vec<u64> = shown.map(|event| event.index.0).filter(|index| *index >= known_from.0).collect();
        let there_were = truth.events_between(known_from, applied).filter(|(_, key)| self.is_about(key));
        let there_were: Vec<u64> = there_were.map(|(index, _)| index).collect();
        assert_eq!(shown, there_were, "I6: what {self:?} is shown at {applied}, and what there was");
        false
    }

    fn is_about(&self, key: &[u8]) -> bool {
        let below = key.strip_prefix(self.path.as_slice());
        let hidden = below.is_some_and(|rest| rest.starts_with(b"/_"));
        key == self.path || (self.recursive && below.is_some_and(|rest| rest.starts_with(b"/")) && !hidden)
    }
}
