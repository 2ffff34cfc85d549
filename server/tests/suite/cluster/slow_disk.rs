//! The disk of one member is as slow as a worn card: four writes a second, each of which is a second or so until it is durable.
//!
//! `SUITE_SLOW` is for how long, in seconds. With `SUITE_MOVED`, another member leads within so many election timeouts. With
//! `SUITE_SLOWED`, 99 % of the others' writes take no more per cent of the time that they take while that member is away.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::load::{Load, assert_kept, assert_ordered};
use super::{Cluster, Setup};
use crate::harness::{Client, Flavor, PATIENCE, SlowDisk, env_number, eventually};

/// Room for what a member prepares, and for plenty more. The file behind it is sparse.
const DISK_BYTES: u64 = 512 << 20;
const WRITES_PER_SECOND: u32 = 4;
/// How often the disk of a follower becomes slow.
const TURNS: u32 = 3;
/// Pause of a client after each write.
const BREATH: Duration = Duration::from_millis(5);

/// How long it is slow.
fn slow_for() -> Duration {
    Duration::from_secs(env_number("SUITE_SLOW", 6))
}

/// Three members, each with a disk of its own below the directory.
fn start() -> (TempDir, Vec<SlowDisk>, Cluster) {
    let home = tempfile::tempdir().expect("a directory");
    let disks: Vec<_> = (0..3).map(|n| SlowDisk::mount(&home.path().join(n.to_string()), DISK_BYTES)).collect();
    let setup = Setup::new().data(disks.iter().map(SlowDisk::data).collect());
    let cluster = setup.after(disks.iter().map(SlowDisk::enter).collect()).start(3);
    (home, disks, cluster)
}

/// How often some member became the primary of all shards; of etcd, the term.
fn regimes(cluster: &Cluster) -> u64 {
    if Flavor::under_test() == Flavor::Etcd {
        let answer = cluster.client(cluster.primary()).get("/v2/keys/");
        return answer.header("X-Raft-Term").and_then(|term| term.parse().ok()).expect("a term");
    }
    (0..cluster.len()).map(|nth| cluster.client(nth).metric("uetcd_regimes_total")).sum()
}

/// One client's writes, one after the other, for so long; how long each took.
fn writes(client: &mut Client, length: Duration) -> Vec<Duration> {
    let (begun, mut took) = (Instant::now(), Vec::new());
    while begun.elapsed() < length {
        let sent = Instant::now();
        client.set(&format!("/slow{}", took.len() % 16), "1");
        took.push(sent.elapsed());
        std::thread::sleep(BREATH);
    }
    took
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// What the others' clients wait for their writes.
#[derive(Default)]
struct Waits {
    usual: Vec<Duration>,
    /// The follower is stopped: nobody stands in when the other one takes long.
    away: Vec<Duration>,
    /// Its disk is slow.
    slow: Vec<Duration>,
}

/// Each client writes for so long.
fn write_all(clients: &mut [(Client, Waits)], length: Duration, to: fn(&mut Waits) -> &mut Vec<Duration>) {
    for (client, waits) in clients {
        to(waits).extend(writes(client, length));
    }
}

#[test]
fn a_follower_with_a_slow_disk_costs_the_others_nothing() {
    let (_home, disks, mut cluster) = start();
    let (primary, followers) = (cluster.primary(), cluster.followers());
    let (slow, quick) = (followers[0], followers[1]);
    let mut clients = [primary, quick].map(|nth| (cluster.client(nth), Waits::default()));
    let before = regimes(&cluster);
    let length = slow_for() / (2 * TURNS);
    // In turn, so that what else the machine does meets all.
    for _ in 0..TURNS {
        write_all(&mut clients, length, |waits| &mut waits.usual);
        cluster.pause(slow);
        write_all(&mut clients, length, |waits| &mut waits.away);
        cluster.resume(slow);
        cluster.wait_converged();
        disks[slow].limit(WRITES_PER_SECOND);
        write_all(&mut clients, length, |waits| &mut waits.slow);
        disks[slow].lift();
        cluster.wait_converged();
    }
    for (_, Waits { mut usual, mut away, mut slow }) in clients {
        for took in [&mut usual, &mut away, &mut slow] {
            took.sort();
        }
        let [usual_99, away_99, slow_99] = [&usual, &away, &slow].map(|writes| percentile(writes, 99));
        let (usual_50, slow_50, slowest) = (percentile(&usual, 50), percentile(&slow, 50), slow.last());
        println!(
            "slow: a follower at {WRITES_PER_SECOND} writes per second; {} writes of others took {slow_50:.1?}, 99 % within {slow_99:.1?}; \
             {usual_50:.1?} and {usual_99:.1?} while it was quick, 99 % within {away_99:.1?} while it was away",
            slow.len()
        );
        // What the disk is slow by is a hundred times that.
        assert!(slow_50 < 5 * usual_50 + Duration::from_millis(20), "a write took {usual_50:?}, and takes {slow_50:?}");
        assert!(slowest.is_some_and(|slowest| *slowest < cluster.election()), "a write took {slowest:?}");
        let allowed = away_99 * env_number("SUITE_SLOWED", u64::from(u16::MAX)) as u32 / 100;
        assert!(slow_99 <= allowed, "99 % within {slow_99:?}, {away_99:?} without that member");
    }
    assert_eq!((cluster.primary(), regimes(&cluster)), (primary, before), "nobody is elected");
    cluster.wait_writable();
}

#[test]
fn a_primary_with_a_slow_disk_lets_another_one_lead_and_that_is_all() {
    let (_home, disks, cluster) = start();
    let primary = cluster.primary();
    let before = regimes(&cluster);
    let load = Load::on(&cluster, "s").patient(4 * cluster.election());
    load.during(4, || {
        load.wait_for_more(50);
        disks[primary].limit(WRITES_PER_SECOND);
        let slow = Instant::now();
        if Flavor::under_test() == Flavor::Uetcd {
            cluster.server(primary).wait_for_log("another member is to lead");
        }
        eventually("another member leads", PATIENCE, || (cluster.primary() != primary).then_some(()));
        let moved = slow.elapsed();
        let allowed = cluster.election() * env_number("SUITE_MOVED", 8) as u32;
        assert!(moved <= allowed, "another member leads after {moved:?}");
        println!(
            "slow: the primary's disk, another one leads after {moved:.1?} with timeouts of {:?}",
            cluster.election()
        );
        load.wait_for_more(50);
        let next = cluster.primary();
        assert_eq!(regimes(&cluster), before + 1, "it moved once");
        std::thread::sleep(slow_for());
        load.wait_for_more(50);
        assert_eq!((cluster.primary(), regimes(&cluster)), (next, before + 1), "nobody else is elected");
        disks[primary].lift();
        load.wait_for_more(50);
    });
    println!("{} writes; longest wait of a client {:?}", load.acked().len(), load.longest_wait());
    assert_ordered(&load.acked());
    assert_kept(&load.acked(), &cluster.wait_converged());
}
