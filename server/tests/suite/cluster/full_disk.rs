//! One member has no space left. The others have, and are a majority.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::members::impatient;
use super::{Cluster, Setup};
use crate::harness::{SmallDisk, eventually, uetcd_only};

/// Room for the segments that a fresh member prepares, and for little more.
const DISK_BYTES: u64 = 160 << 20;
const VALUE_BYTES: usize = 100_000;
/// Until a primary without room has noticed, and another one leads.
const HANDED_OVER: Duration = Duration::from_secs(20);

/// Far less than a request may wait.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Three members, each with a small disk of its own below the directory.
fn start() -> (TempDir, Vec<SmallDisk>, Cluster) {
    let home = tempfile::tempdir().expect("a directory");
    let disks: Vec<_> = (0..3).map(|n| SmallDisk::mount(&home.path().join(n.to_string()), DISK_BYTES)).collect();
    let cluster = Setup::new().data(disks.iter().map(SmallDisk::data).collect()).start(3);
    (home, disks, cluster)
}

fn health(cluster: &Cluster, nth: usize) -> u16 {
    cluster.client(nth).get("/health").status
}

/// Writes until `over`; what was acknowledged.
fn write_until(cluster: &Cluster, nth: usize, mut over: impl FnMut() -> bool) -> Vec<String> {
    let (mut client, mut acknowledged) = (impatient(cluster.address(nth)), Vec::new());
    let body = format!("value={}", "v".repeat(VALUE_BYTES));
    eventually("enough is written", 3 * HANDED_OVER, || {
        let key = format!("/fill{}/{}", acknowledged.len() % 40, acknowledged.len());
        let answer = client.attempt("PUT", &format!("/v2/keys{key}"), Some(&body));
        if answer.is_ok_and(|answer| answer.status < 300) {
            acknowledged.push(key);
        }
        over().then_some(())
    });
    acknowledged
}

#[test]
fn a_primary_without_room_lets_another_member_lead() {
    uetcd_only!("etcd ends when its disk is full");
    let (_home, disks, cluster) = start();
    let full = cluster.primary();
    let others = cluster.followers();
    disks[full].fill();
    let mut kept = write_until(&cluster, others[0], || health(&cluster, full) == 503);

    eventually("another member leads", HANDED_OVER, || (cluster.primary() != full).then_some(()));
    for &other in &others {
        cluster.client(other).set(&format!("/via{other}"), "1");
        assert_eq!(health(&cluster, other), 200);
    }
    assert_eq!(health(&cluster, full), 503);
    // Who asks the one without room for something that its log can not take is told so at once, and can ask another.
    let mut client = cluster.client(full);
    let refused = (0..40).filter(|n| {
        let asked = Instant::now();
        let answer = client.put(&format!("/v2/keys/via-full{n}"), &[("value", "1")]);
        assert!(asked.elapsed() < AT_ONCE, "{:?}: {answer:?}", asked.elapsed());
        let is_refused = answer.status == 500 && answer.text().contains("no space left on device");
        assert!(is_refused || answer.status == 201, "{answer:?}");
        is_refused
    });
    assert!(refused.count() > 0, "nothing was refused");
    kept.extend(write_until(&cluster, others[1], || true));

    disks[full].free();
    eventually("it has room again", HANDED_OVER, || (health(&cluster, full) == 200).then_some(()));
    cluster.wait_converged();
    let mut client = cluster.client(full);
    for key in kept {
        assert_eq!(client.value(&key).map(|value| value.len()), Some(VALUE_BYTES), "{key}");
    }
}

#[test]
fn a_majority_without_room_is_not_healthy() {
    uetcd_only!("etcd ends when its disk is full");
    let (_home, disks, cluster) = start();
    let roomy = cluster.primary();
    let others = cluster.followers();
    for &nth in &others {
        disks[nth].fill();
    }
    write_until(&cluster, roomy, || health(&cluster, roomy) == 503);
    for &nth in &others {
        disks[nth].free();
    }
    for nth in cluster.up() {
        eventually("it is healthy again", HANDED_OVER, || (health(&cluster, nth) == 200).then_some(()));
    }
    cluster.wait_writable();
    cluster.wait_converged();
}
