//! Disks of members that are full, slow, fail or rot while clients work.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::helical::damage::batches;
use super::members::{Cluster, Setup};
use crate::harness::{Call, FaultyDisk, Files, PATIENCE, Rng, SlowDisk, SmallDisk, eventually, flip};

/// Room for what a member prepares, and for a few snapshots.
const SMALL_BYTES: u64 = 160 << 20;
const SLOW_BYTES: u64 = 512 << 20;
const WRITES_PER_SECOND: u32 = 4;
/// Calls of the log among which one fails.
const CALLS: u64 = 20;

/// One disk for each member, of a kind, below a directory of their own.
pub(super) struct Disks {
    kind: Kind,
    _home: TempDir,
}

enum Kind {
    Small(Vec<SmallDisk>),
    Slow(Vec<SlowDisk>),
    Faulty(Vec<FaultyDisk>),
}

impl Disks {
    pub(super) fn small(members: usize) -> Self {
        Self::mount(members, |at| SmallDisk::mount(&at, SMALL_BYTES), Kind::Small)
    }

    pub(super) fn slow(members: usize) -> Self {
        Self::mount(members, |at| SlowDisk::mount(&at, SLOW_BYTES), Kind::Slow)
    }

    pub(super) fn faulty(members: usize) -> Self {
        Self::mount(members, |at| FaultyDisk::mount(&at), Kind::Faulty)
    }

    fn mount<D>(members: usize, one: impl Fn(PathBuf) -> D, kind: impl FnOnce(Vec<D>) -> Kind) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let disks = (0..members).map(|nth| one(home.path().join(nth.to_string()))).collect();
        Self { kind: kind(disks), _home: home }
    }

    /// A cluster whose members have their data on these.
    pub(super) fn carry(&self, setup: Setup) -> Setup {
        match &self.kind {
            Kind::Small(disks) => setup.data(disks.iter().map(SmallDisk::data).collect()),
            Kind::Faulty(disks) => setup.data(disks.iter().map(FaultyDisk::data).collect()),
            Kind::Slow(disks) => {
                let setup = setup.data(disks.iter().map(SlowDisk::data).collect());
                setup.after(disks.iter().map(SlowDisk::enter).collect())
            }
        }
    }

    /// No room is left on a member's disk meanwhile.
    pub(super) fn fill(&self, victim: usize, meanwhile: impl FnOnce()) {
        let Kind::Small(disks) = &self.kind else { panic!("these can not be filled") };
        disks[victim].fill();
        meanwhile();
        disks[victim].free();
    }

    /// A member's disk is slow meanwhile.
    pub(super) fn slow_down(&self, victim: usize, meanwhile: impl FnOnce()) {
        let Kind::Slow(disks) = &self.kind else { panic!("these can not be slowed down") };
        disks[victim].limit(WRITES_PER_SECOND);
        meanwhile();
        disks[victim].lift();
    }

    /// A call of a member's log fails, the member ends, its power is cut, and it starts again.
    pub(super) fn fail(&self, cluster: &mut Cluster, victim: usize, away: Duration, rng: &mut Rng) {
        let Kind::Faulty(disks) = &self.kind else { panic!("these do not fail") };
        let call = if rng.one_in(2) { Call::Write } else { Call::Sync };
        disks[victim].fail(Files::Log, call, 1 + rng.below(CALLS));
        let ended = cluster.wait_gone(victim);
        assert!(disks[victim].failed().is_some(), "{ended:?}");
        disks[victim].cut_power(rng);
        thread::sleep(away);
        cluster.restart(victim);
    }
}

/// A bit of a batch in a member's log is another one when it starts again. The others stand in for what was there.
pub(super) fn rot(cluster: &mut Cluster, victim: usize, away: Duration, rng: &mut Rng) {
    cluster.kill(victim);
    thread::sleep(away);
    let places = batches(cluster.data(victim));
    let place = &places[rng.below(places.len() as u64) as usize];
    let at = (place.offset + rng.below(place.length as u64) as usize) as u64;
    flip(&place.file, at, 1 << rng.below(8));
    cluster.restart(victim);
    // Nobody else may lose anything before it has everything back.
    let mut client = cluster.client(victim);
    eventually("it votes again", 3 * PATIENCE, || {
        let metrics = client.attempt("GET", "/metrics", None).ok()?.text();
        let forgetful =
            metrics.lines().any(|line| line.starts_with("uetcd_shard_is_forgetful") && !line.ends_with(" 0"));
        (metrics.contains("uetcd_shard_is_forgetful") && !forgetful).then_some(())
    });
}
