//! What is done to members while clients work.

use std::thread;
use std::time::Duration;

use super::members::Cluster;
use super::netns::Net;
use crate::harness::Rng;

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
}

impl Fault {
    pub(super) const ALL: [Self; 5] = [Self::Kill, Self::Pause, Self::Cut, Self::Lossy, Self::Reset];

    /// It is done to the network.
    pub(super) fn needs_net(self) -> bool {
        matches!(self, Self::Cut | Self::Lossy | Self::Reset)
    }

    /// Does it to a member for so long, and heals it.
    pub(super) fn strike(self, cluster: &mut Cluster, net: Option<&Net>, victim: usize, away: Duration, rng: &mut Rng) {
        let net = || net.expect("a network");
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
        }
    }
}

/// Does one of these faults at a time, at random, until it is over; how many.
pub(super) fn torment(
    cluster: &mut Cluster,
    net: Option<&Net>,
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
        faults[rng.below(faults.len() as u64) as usize].strike(cluster, net, victim, away, rng);
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
