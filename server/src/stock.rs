//! What a member holds that does not run: the state of every shard, as far as they are one prefix of the one order.
//!
//! See [`shard::remains`] for which prefix that is.

use log::{BegunLogs, Position};
use shard::group::Members;
use shard::ids::{Index, MemberId};
use shard::remains::{Remains, prefix};
use shard::store::Store;

use crate::birth::Birth;
use crate::config::Config;
use crate::failure::Fatal;
use crate::recovery::{self, ShardSeed};

/// The shards in order.
pub(crate) struct Stock {
    pub(crate) shards: Vec<Held>,
    /// This member is the only one in all groups.
    pub(crate) alone: bool,
}

/// One shard.
pub(crate) struct Held {
    pub(crate) store: Store,
    /// A position of its log that no entry has had, of a term that nobody has been in.
    pub(crate) beyond: Position,
    /// What the primary's clock read last, as far as is known here, in nanoseconds of the Unix epoch.
    pub(crate) clock: u64,
}

impl Stock {
    /// Reads it from the disk. `noted` are the logs that there must be. Blocks.
    pub(crate) fn take(config: &Config, birth: &Birth, noted: Option<BegunLogs>) -> Result<Self, Fatal> {
        let mut seeds: Vec<ShardSeed> =
            recovery::read_back(config, birth, noted)?.shards.into_iter().flatten().collect();
        seeds.sort_by_key(|seed| seed.shard);
        let (mut remains, mut rest) = (Vec::new(), Vec::new());
        for mut seed in seeds {
            check_is_whole(birth, &seed)?;
            let (shown, clock) = seed.log.frontier.map_or((0, 0), |frontier| (frontier.visible, frontier.clock));
            rest.push((beyond(&seed), clock));
            let (store, entries) = seed.take_state(recovery::history_limits(config))?;
            remains.push(Remains::new(store, birth.first_members(), entries, Index(shown)));
        }
        let me = MemberId(birth.member);
        let alone = remains.iter().all(|shard| shard.members() == Members::of_voters([me]));
        let upto = prefix(&remains, me);
        warn_of_snapshots_ahead(&remains, upto);
        let mut dropped = 0;
        let mut replay = |remains: Remains, (beyond, clock)| {
            let shown = remains.shown();
            let (store, more) = remains.replay(upto);
            dropped += more;
            let clock = if store.applied() <= shown { clock } else { store.clock() };
            Held { store, beyond, clock }
        };
        let shards = remains.into_iter().zip(rest).map(|(remains, rest)| replay(remains, rest)).collect();
        if dropped > 0 {
            tracing::warn!(
                target: "etcdserver",
                "discarding {dropped} changes beyond index {upto}: one before them has not reached this member"
            );
        }
        Ok(Self { shards, alone })
    }

    /// The last index in it.
    pub(crate) fn upto(&self) -> Index {
        self.shards.iter().map(|held| held.store.applied()).max().unwrap_or_default()
    }
}

/// Runs `work` on a thread of its own: what states leave behind in memory goes with it.
pub(crate) fn apart<T: Send>(work: impl FnOnce() -> Result<T, Fatal> + Send) -> Result<T, Fatal> {
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|_| Err(Fatal::Other("the state could not be rewritten".to_owned())))
}

/// Who joined and has not been sent the state of a shard has nothing to go on with.
fn check_is_whole(birth: &Birth, seed: &ShardSeed) -> Result<(), Fatal> {
    if !birth.joined || seed.snapshot.is_some() {
        return Ok(());
    }
    Err(Fatal::Other(format!(
        "this member has joined and has not received the state of shard {} yet, so there is nothing whole to go on with. Nothing \
         was changed; use another member, or a backup",
        seed.shard
    )))
}

fn beyond(seed: &ShardSeed) -> Position {
    let log = &seed.log;
    let terms = log.entries.last().map(|entry| entry.term).into_iter();
    let terms = terms.chain(log.hard_state.map(|state| state.term)).chain(log.base.map(|base| base.term));
    Position { index: log.last_index().next(), term: terms.max().unwrap_or(0) + 1 }
}

fn warn_of_snapshots_ahead(remains: &[Remains], upto: Index) {
    if upto == Index(u64::MAX) {
        return;
    }
    let shown = remains.iter().map(Remains::shown).max().unwrap_or_default();
    for (shard, ahead) in remains.iter().enumerate().filter(|(_, shard)| shard.snapshot_upto() > shown) {
        tracing::warn!(
            target: "etcdserver",
            "shard {shard} was brought to index {} by a snapshot, this member had shown {shown}: changes of other shards in \
             between may be missing",
            ahead.snapshot_upto()
        );
    }
}
