//! Backups of a cluster under load: each is a prefix of the one order, whichever member it is of.

use std::fs;

use super::load::{Load, assert_kept, files};
use super::members::Cluster;
use crate::harness::{Plan, uetcd_only};

#[test]
fn a_backup_under_load_is_a_prefix_of_the_one_order() {
    uetcd_only!("it is no endpoint of etcd");
    let cluster = Cluster::of(3);
    let load = Load::on(&cluster, "x");
    let mut backups = Vec::new();
    load.during(6, || {
        for nth in cluster.up() {
            load.wait_for_more(150);
            let answer = cluster.client(nth).get("/uetcd/backup");
            assert_eq!(answer.status, 200, "{answer:?}");
            backups.push((nth, answer));
        }
        load.wait_for_more(100);
    });
    let acked = load.acked();
    assert_kept(&acked, &cluster.wait_converged());
    for (nth, backup) in backups {
        let plan = Plan::new();
        let file = plan.home().join("backup");
        fs::write(&file, &backup.body).expect("written");
        let restored = plan.args(["--restore-backup", file.to_str().expect("text")]).start();
        let listed = files(&restored.client().get("/v2/keys/?recursive=true").json());
        let upto = backup.index();
        for write in &acked {
            let found = listed.get(&write.key);
            if write.index <= upto {
                assert!(found.is_some_and(|(_, value)| *value == write.value), "{nth} at {upto} lacks {write:?}");
            } else {
                assert!(found.is_none_or(|(index, _)| *index <= upto), "{nth} at {upto} has {write:?} as {found:?}");
            }
        }
        assert!(listed.values().all(|(index, _)| *index <= upto), "{nth} at {upto} has what came later");
        assert!(acked.iter().any(|write| write.index > upto) && acked.iter().any(|write| write.index <= upto));
        assert!(restored.client().set("/more", "1") > upto);
    }
}
