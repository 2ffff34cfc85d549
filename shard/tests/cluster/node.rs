//! One node: its cores, what they share, and its disk.

use std::collections::{BTreeMap, VecDeque};

use shard::group::{GroupSeed, LOG_NOTHING, LOG_START, Members};
use shard::history::HistoryLimits;
use shard::ids::{Index, MemberId, RaftIndex, ShardId};
use shard::membership::Groups;
use shard::order::Order;
use shard::regime::Regimes;
use shard::shard::Shard;
use shard::snapshot::Restore;
use shard::store::Store;

use crate::core::Core;
use crate::disk::ShardDisk;
use crate::plan::{Bug, ELECTION_TICKS, Plan};
use crate::truth::Mirror;
use crate::watcher::Watcher;
use shard::random::Random;

pub(crate) struct Node {
    pub(crate) id: MemberId,
    pub(crate) disk: Vec<ShardDisk>,
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) running: Option<Running>,
    /// It starts from nothing: it joins, or its disk was wiped.
    pub(crate) blank: bool,
    /// Its disk was wiped, and it has not caught up.
    pub(crate) amnesia: Vec<bool>,
    /// It has left the cluster, or has not joined yet.
    pub(crate) absent: bool,
    /// The latest process heard of, per peer.
    pub(crate) heard: BTreeMap<MemberId, u64>,
}

/// What goes with a crash.
pub(crate) struct Running {
    pub(crate) process: u64,
    pub(crate) order: Order,
    pub(crate) cores: Vec<Core>,
    pub(crate) regimes: Regimes,
    pub(crate) groups: Groups,
    pub(crate) primary: Option<MemberId>,
    /// A frontier in the making: its index, and the positions gathered.
    pub(crate) gathering: Option<(Index, Vec<Option<RaftIndex>>)>,
    pub(crate) watcher: Watcher,
    /// Reads that wait for a quorum round: context to the index they must see.
    pub(crate) reads: BTreeMap<u64, u64>,
    pub(crate) visible: Index,
    /// Every core has had its first turn.
    pub(crate) booted: bool,
}

impl Node {
    pub(crate) fn new(id: MemberId, shards: u16, joins: bool) -> Self {
        let n = usize::from(shards);
        Self {
            id,
            disk: vec![ShardDisk::default(); n],
            mirrors: vec![Mirror::default(); n],
            running: None,
            blank: joins,
            amnesia: vec![false; n],
            absent: joins,
            heard: BTreeMap::new(),
        }
    }

    /// Starts from what is durable.
    pub(crate) fn start(&mut self, plan: &Plan, voters: &[MemberId], process: u64, random: &mut Random) {
        let cores = 1 + random.below(plan.cores_max);
        let shown = self.disk.iter().map(|disk| disk.shown).min().unwrap_or_default();
        let order = Order::new(self.disk.len(), cores, shown);
        let mut seats: Vec<Vec<Shard>> = (0..cores).map(|_| Vec::new()).collect();
        for at in 0..self.disk.len() {
            let shard = self.start_shard(at, plan, voters, process, random.draw());
            order.note_unapplied(shard.id(), shard.oldest_unapplied());
            order.publish_uncommitted(shard.id(), shard.oldest_uncommitted());
            seats[at % cores].push(shard);
        }
        let core = |shards| Core {
            shards,
            queue: VecDeque::new(),
            mail: VecDeque::new(),
            fetches: VecDeque::new(),
            commands: Vec::new(),
            asleep: 0,
        };
        self.running = Some(Running {
            process,
            order,
            cores: seats.into_iter().map(core).collect(),
            regimes: Regimes::new(self.disk.len()),
            groups: Groups::new(self.disk.len()),
            primary: None,
            gathering: None,
            watcher: Watcher::default(),
            reads: BTreeMap::new(),
            visible: shown,
            booted: false,
        });
    }

    fn start_shard(&mut self, at: usize, plan: &Plan, voters: &[MemberId], process: u64, random_seed: u64) -> Shard {
        let disk = &mut self.disk[at];
        disk.files.clear();
        let start = if self.blank { LOG_NOTHING } else { LOG_START };
        let founders = (1..=plan.founders as u64).map(MemberId);
        let members = if self.blank { Members::default() } else { Members::of_voters(founders) };
        let store = disk.base.as_ref().map_or_else(Store::default, |(_, chunks)| restore(chunks));
        let applied = disk.base.as_ref().map_or(start, |(at, _)| *at);
        self.mirrors[at] = Mirror { entries: disk.entries.clone(), committed: applied.0.0 };
        let amnesia = self.amnesia[at] && plan.bug != Some(Bug::VoteAfterAmnesia);
        let seed = GroupSeed {
            member: self.id,
            members,
            applied,
            vote: disk.vote,
            entries: disk.entries.range(applied.0.0 + 1..).map(|(_, entry)| entry.clone()).collect(),
            shown: disk.shown,
            election_ticks: ELECTION_TICKS,
            heartbeat_ticks: 1,
            tail_bytes: plan.tail_bytes,
            amnesia: amnesia.then(|| voters.to_vec()),
            random_seed,
        };
        Shard::start(ShardId(at as u16), store, seed, process).expect("what was written can be read")
    }

    /// Loses everything that it held.
    pub(crate) fn wipe(&mut self) {
        self.disk.iter_mut().for_each(|disk| *disk = ShardDisk::default());
        self.blank = true;
        self.amnesia.iter_mut().for_each(|amnesia| *amnesia = true);
    }

    pub(crate) fn is_amnesiac(&self) -> bool {
        self.amnesia.contains(&true)
    }
}

impl Running {
    pub(crate) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.cores.iter().flat_map(|core| &core.shards)
    }

    pub(crate) fn shard(&self, id: ShardId) -> &Shard {
        self.shards().find(|shard| shard.id() == id).expect("every shard is on some core")
    }

    pub(crate) fn core_of(&self, id: ShardId) -> usize {
        usize::from(id.0) % self.cores.len()
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.order.is_open()
    }
}

pub(crate) fn restore(chunks: &[Vec<u8>]) -> Store {
    let mut restore = Restore::new(HistoryLimits::default());
    for chunk in chunks {
        restore.push(chunk).expect("what was written can be read");
    }
    restore.finish().expect("what was written can be read")
}
