//! All members are restarted in turn while clients write: nobody notices but by a short wait.

use std::time::{Duration, Instant};

use super::load::{Load, assert_kept, assert_ordered};
use super::members::Cluster;

#[test]
fn a_rolling_restart_fails_no_write_for_good_and_loses_none() {
    let mut cluster = Cluster::of(3);
    let load = Load::on(&cluster, "r");
    load.during(6, || {
        for nth in [cluster.primary(), 0, 1, 2] {
            load.wait_for_more(150);
            let (was_primary, begun) = (cluster.primary() == nth, Instant::now());
            let ended = cluster.terminate(nth);
            assert_eq!(ended.code(), 143, "member {nth}: {ended:?}");
            let stopped = begun.elapsed();
            cluster.restart(nth);
            cluster.wait_writable();
            println!(
                "member {nth} (primary: {was_primary}) stopped in {stopped:?}, all serve after {:?}; longest wait so far {:?}",
                begun.elapsed(),
                load.longest_wait()
            );
        }
    });
    let (acked, longest) = (load.acked(), load.longest_wait());
    println!("{} writes, the longest wait of a client for one: {longest:?}", acked.len());
    assert_ordered(&acked);
    assert_kept(&acked, &cluster.wait_converged());
    // The primaries handed over: nobody had to wait for an election and the request timeout.
    assert!(longest < 2 * cluster.election() + Duration::from_secs(1), "a client waited {longest:?}");
}
