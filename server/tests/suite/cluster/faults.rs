//! What is done to members while clients work.

use std::thread;
use std::time::Duration;

use super::disks::{Disks, rot};
use super::members::Cluster;
use super::netns::Net;
use crate::harness::Rng;

/// What faults are done to besides processes.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) net: Option<&'a Net>,
    pub(super) disks: Option<&'a Disks>,
}

impl<'a> Ground<'a> {
    /// A network, and disks as they are.
    pub(super) fn net(net: &'a Net) -> Self {
        Self { net: Some(net), disks: None }
    }
}

/// What is done to a member for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is killed, and started again.
    Kill,
    /// It stands still, and goes on as if nothing had happened.
    Pause,
    /// It loses one link or all, in one direction or both, and gets them back.
    Cut,
    /// A tenth of the packets between all members are lost for a while.
    Lossy,
    /// Its connections to other members are reset for a moment: theirs, its own, or both ends.
    Reset,
    /// Its disk is full, and has room again.
    Full,
    /// Its disk takes four writes a second.
    Slow,
    /// A write of its log fails or can not be made durable, which ends it, and what was not durable is lost.
    Failure,
    /// It is killed, and what its log holds somewhere is not what was written when it starts again.
    Rot,
}

impl Fault {
    /// Those that need a network and leave the disks alone.
    pub(super) const ALL: [Self; 5] = [Self::Kill, Self::Pause, Self::Cut, Self::Lossy, Self::Reset];

    /// It is done to the network.
    pub(super) fn needs_net(self) -> bool {
        matches!(self, Self::Cut | Self::Lossy | Self::Reset)
    }

    /// Does it to a member for so long, and heals it.
    pub(super) fn strike(
        self,
        cluster: &mut Cluster,
        ground: Ground<'_>,
        victim: usize,
        away: Duration,
        rng: &mut Rng,
    ) {
        let net = || ground.net.expect("a network");
        let disks = || ground.disks.expect("disks");
        match self {
            Self::Pause => {
                cluster.pause(victim);
                thread::sleep(away);
                cluster.resume(victim);
            }
            Self::Kill => {
                cluster.kill(victim);
                thread::sleep(away);
                cluster.restart(victim);
            }
            Self::Lossy => {
                net().lose(10);
                // Long enough for a connection that loses several in a row to fall silent for an election timeout.
                thread::sleep(3 * away);
                net().pass();
            }
            Self::Reset => {
                reset(net(), victim, rng.below(3));
                thread::sleep(away / 10);
                net().pass();
            }
            Self::Cut => {
                let other = (victim + 1) % cluster.len();
                cut(net(), victim, other, rng.below(5));
                thread::sleep(away);
                // Now and then another cut follows at once.
                if rng.one_in(3) {
                    net().heal();
                    cut(net(), other, victim, rng.below(5));
                    thread::sleep(away / 2);
                }
                net().heal();
            }
            // Long enough for a segment to be filled meanwhile.
            Self::Full => disks().fill(victim, || thread::sleep(3 * away)),
            // Long enough for a write to be under way for longer than an election takes.
            Self::Slow => disks().slow_down(victim, || thread::sleep(3 * away)),
            Self::Failure => disks().fail(cluster, victim, away, rng),
            Self::Rot => rot(cluster, victim, away, rng),
        }
    }
}

/// Does one of these faults at a time, at random, until it is over; how many.
pub(super) fn torment(
    cluster: &mut Cluster,
    ground: Ground<'_>,
    faults: &[Fault],
    rng: &mut Rng,
    mut over: impl FnMut() -> bool,
) -> u64 {
    let mut done = 0;
    while !over() {
        thread::sleep(Duration::from_millis(100 + rng.below(500)));
        let members = cluster.len();
        // Every other fault hits the primary.
        let victim = if rng.one_in(2) { cluster.primary() } else { rng.below(members as u64) as usize };
        let away = Duration::from_millis(200 + rng.below(1800));
        faults[rng.below(faults.len() as u64) as usize].strike(cluster, ground, victim, away, rng);
        done += 1;
        cluster.wait_writable();
    }
    done
}

fn cut(net: &Net, victim: usize, other: usize, kind: u64) {
    match kind {
        0 => net.mute(victim),
        1 => net.deafen(victim),
        2 => net.cut(victim, other),
        _ => net.isolate(victim),
    }
}

fn reset(net: &Net, victim: usize, kind: u64) {
    let all: Vec<usize> = (0..net.members()).collect();
    let others: Vec<usize> = all.iter().copied().filter(|&nth| nth != victim).collect();
    match kind {
        0 => net.reset(&[victim]),
        // Those between the others go, too.
        1 => net.reset(&others),
        _ => net.reset(&all),
    }
}
