//! The disk of one member fails and forgets what was not synced: that member ends, the others go on, and nothing is lost.

use std::time::Duration;

use super::Setup;
use super::load::{Load, assert_kept, assert_ordered};
use crate::failing_disk::{assert_stopped, position, rounds, tell};
use crate::harness::{Call, FaultyDisk, Files, PATIENCE, Rng, env_number, eventually, uetcd_only};

#[test]
fn a_member_whose_disk_fails_ends_and_costs_the_others_nothing() {
    uetcd_only!("etcd's log is elsewhere");
    let mut rng = Rng::new(env_number("SUITE_CLUSTER_SEED", 1));
    let home = tempfile::tempdir().expect("a directory");
    let disks: Vec<_> = (0..3).map(|n| FaultyDisk::mount(&home.path().join(n.to_string()))).collect();
    let setup = Setup::new().args(&["--snapshot-count", "500"]).data(disks.iter().map(FaultyDisk::data).collect());
    let mut cluster = setup.start(3);
    let load = Load::on(&cluster, "f");
    let mut gone = Vec::new();
    load.during(4, || {
        for round in 0..rounds() {
            load.wait_for_more(50);
            // Every other time it is the primary.
            let victim = if round % 2 == 0 { cluster.primary() } else { rng.below(3) as usize };
            let (disk, call) = (&disks[victim], if rng.one_in(2) { Call::Write } else { Call::Sync });
            disk.fail(Files::Log, call, position(round, &mut rng));
            eventually("the call fails", PATIENCE, || disk.failed());
            let ended = cluster.wait_gone(victim);
            gone.push(assert_stopped(&ended, disk));
            disk.cut_power(&mut rng);
            load.wait_for_more(50);
            cluster.restart(victim);
            cluster.wait_writable();
        }
    });
    tell("a member of three", gone);
    println!("longest wait of a client: {:?}", load.longest_wait());
    assert!(load.longest_wait() < 4 * cluster.election() + Duration::from_secs(1));
    assert_ordered(&load.acked());
    assert_kept(&load.acked(), &cluster.wait_converged());
}
