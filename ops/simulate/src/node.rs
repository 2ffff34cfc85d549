//! One node: its disk, what outlives a crash besides, and what does not.

use std::collections::BTreeMap;

use log::{BegunLogs, LogIdentity};
use shard::group::{LOG_NOTHING, LOG_START};
use shard::ids::{Index, MemberId, RaftIndex, ShardId, Term};
use shard::membership::Groups;
use shard::order::Order;
use shard::regime::Regimes;
use shard::shard::Shard;
use shard::system::System;

use crate::checkers::{Mirror, Watcher};
use crate::core::Core;
use crate::disk::SimDisk;
use crate::plan::Plan;

/// The cluster, in the identity of every log.
const CLUSTER: u64 = 0xc1;

/// How a member came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Birth {
    Founder,
    /// It began from nothing: it joined, or has caught up since it lost its data.
    Joined,
    /// It may have forgotten what it promised, and has not caught up.
    Forgetful,
}

/// Whether a member is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Here,
    /// It has left the cluster, or has not joined yet.
    Absent,
    /// Its start was refused, and nobody else has its data.
    Refused,
}

pub(crate) struct Node {
    pub(crate) id: MemberId,
    pub(crate) disk: SimDisk,
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) running: Option<Running>,
    /// Written down, like the next two.
    pub(crate) birth: Birth,
    /// Whom it may have promised something, as the others knew it when it had lost its data.
    pub(crate) promised_to: Vec<MemberId>,
    /// Which logs there must be.
    pub(crate) noted: Option<BegunLogs>,
    /// Its disk was damaged. Nothing but another disk ends that: what a start does not look at may come to light later.
    pub(crate) suspect: bool,
    pub(crate) place: Place,
    /// The latest process heard of, per peer.
    pub(crate) heard: BTreeMap<MemberId, u64>,
    /// What its clock reads more than the world's, in nanoseconds.
    pub(crate) clock_ahead_ns: u64,
    /// Steps that it stands still.
    pub(crate) paused: usize,
    /// Of thousand calls that are due, those that its disk makes.
    pub(crate) disk_speed: usize,
}

/// What goes with a crash.
pub(crate) struct Running {
    pub(crate) process: u64,
    /// As the clock was when it started: while it runs, it does not follow the clock's jumps.
    pub(crate) clock_ahead_ns: u64,
    pub(crate) order: Order,
    pub(crate) cores: Vec<Core>,
    pub(crate) regimes: Regimes,
    /// The membership as of the last change applied.
    pub(crate) system: System,
    pub(crate) groups: Groups,
    /// The highest index shown anywhere when the newest confirming round began.
    pub(crate) round_began: u64,
    pub(crate) primary: Option<MemberId>,
    pub(crate) watcher: Watcher,
    /// Reads that wait for a quorum round: context to the index they must see.
    pub(crate) reads: BTreeMap<u64, u64>,
    pub(crate) visible: Index,
    /// Every core has had its first turn.
    pub(crate) booted: bool,
}

impl Node {
    pub(crate) fn new(id: MemberId, plan: &Plan, joins: bool) -> Self {
        let cuts = plan.calls_before_cuts().filter(|_| id.0 == 1);
        Self {
            id,
            disk: SimDisk::with_cuts(cuts),
            mirrors: vec![Mirror::default(); plan.shards],
            running: None,
            birth: if joins { Birth::Joined } else { Birth::Founder },
            promised_to: Vec::new(),
            noted: None,
            suspect: false,
            place: if joins { Place::Absent } else { Place::Here },
            heard: BTreeMap::new(),
            clock_ahead_ns: 0,
            paused: 0,
            disk_speed: plan.disk_speed,
        }
    }

    pub(crate) fn identity(&self) -> LogIdentity {
        LogIdentity { cluster: CLUSTER, member: self.id.0 }
    }

    /// Loses everything that it held.
    pub(crate) fn wipe(&mut self) {
        self.disk.wipe();
        self.forget();
        self.suspect = false;
    }

    /// It goes on without its logs.
    pub(crate) fn forget(&mut self) {
        (self.birth, self.noted) = (Birth::Forgetful, None);
        self.promised_to.clear();
    }

    /// It holds what it promised, as far as anybody knows.
    pub(crate) fn is_sane(&self) -> bool {
        !self.is_forgetful() && !self.suspect && !self.is_refused()
    }

    pub(crate) fn is_forgetful(&self) -> bool {
        self.birth == Birth::Forgetful
    }

    /// Where the log of a group begins that has neither a snapshot nor entries: who joined has no state before it is sent one.
    pub(crate) fn log_start(&self) -> (RaftIndex, Term) {
        if self.birth == Birth::Founder { LOG_START } else { LOG_NOTHING }
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.place == Place::Absent
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.place == Place::Refused
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
