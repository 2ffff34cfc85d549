//! Reading from the log on disk what a member lacks that lags, and that is not in memory any more.
//!
//! A group asks for about a message's worth at a time. One such request of an executor is read at a time, and none while
//! much waits to be sent: who lags must not keep the others waiting. Taking apart what was read is work, too, and is followed
//! by a rest like all work for those who lag (see [`catchup`](super::catchup)).

use std::collections::VecDeque;
use std::rc::Weak;
use std::time::{Duration, Instant};

use log::{Entry, GroupId, LogReader};
use shard::group::Fetch;
use shard::ids::{RaftIndex, ShardId};

use super::catchup::REST;
use super::{Core, Inner};
use crate::recovery::from_log;

/// Bytes that wait for one member, above which nothing more is read for any.
const WAITING_BYTES_MAX: usize = 2 << 20;
/// The longest rest for each command that was read: what a client's costs is many times that.
const REST_EACH: Duration = Duration::from_micros(1);
/// How often it is looked whether they have left.
const GLANCE: Duration = Duration::from_millis(1);

/// What the groups of this executor want from its log, the oldest request first.
#[derive(Default)]
pub(super) struct Fetches {
    waiting: VecDeque<(ShardId, Fetch)>,
    under_way: bool,
}

impl Inner {
    /// Takes what groups want from the log on disk.
    pub(super) fn fetch(&mut self, wanted: impl Iterator<Item = (ShardId, Fetch)>) {
        self.fetches.waiting.extend(wanted);
        if !self.fetches.waiting.is_empty() && !std::mem::replace(&mut self.fetches.under_way, true) {
            self.spawn(read_all(self.core.clone(), self.disk.reader()));
        }
    }

    fn fetched(&mut self, shard: ShardId, fetch: Fetch, entries: Vec<Entry>, from: RaftIndex) {
        let bytes: usize = entries.iter().map(|entry| entry.payload.len()).sum();
        self.metrics.traffic.log_read_bytes.add(bytes as u64);
        if entries.is_empty() {
            self.metrics.traffic.log_misses.inc();
        }
        let entries = entries.into_iter().map(from_log).collect();
        let seat = self.seat(shard);
        if let Err(error) = self.shards[seat].fetched(fetch.first, entries, from) {
            tracing::error!(target: "wal", "shard {shard}: {error}; members that lag are sent its state instead");
        }
    }

    fn may_fetch(&self) -> bool {
        self.peers.waiting_bytes() < WAITING_BYTES_MAX && !self.catchup.is_deferring()
    }
}

/// Reads until nothing is wanted any more.
async fn read_all(core: Weak<Core>, reader: LogReader) {
    loop {
        let Some(held) = core.upgrade() else { return };
        let next = {
            let mut inner = held.inner.borrow_mut();
            let may = inner.may_fetch();
            let next = if may { inner.fetches.waiting.pop_front() } else { None };
            inner.fetches.under_way = next.is_some() || !may;
            if may && next.is_none() {
                return;
            }
            next
        };
        drop(held);
        let Some((shard, fetch)) = next else {
            glommio::timer::sleep(GLANCE).await;
            continue;
        };
        let begun = Instant::now();
        let group = GroupId::new(shard.0);
        let (first, upto) = (log::RaftIndex::new(fetch.first.0), log::RaftIndex::new(fetch.upto.0));
        let entries = reader.entries(group, first, upto, fetch.max_bytes).await;
        // Entries that no stretch has are those of earlier starts, or of nobody.
        let from = reader.first(group).map_or(RaftIndex(u64::MAX), |from| RaftIndex(from.get()));
        let Some(held) = core.upgrade() else { return };
        let commands = entries.iter().map(|entry| entry.count).sum();
        held.inner.borrow_mut().fetched(shard, fetch, entries, from);
        held.stir();
        drop(held);
        glommio::timer::sleep((begun.elapsed() * REST).min(REST_EACH * commands)).await;
    }
}
