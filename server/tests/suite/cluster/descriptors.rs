//! Clients that take every descriptor they can get: the log, snapshots and the other members have theirs all the same.

use std::net::TcpStream;
use std::time::Duration;

use super::members::{Setup, impatient};
use crate::harness::{PATIENCE, eventually};
use crate::watch_limits::raise_descriptor_limit;

/// Descriptors of a member, and connections to it: more than it has.
const LIMIT: usize = 400;
const FLOOD: usize = 600;
/// Enough large values for several segments of the log and a few snapshots.
const WRITES: usize = 200;
const VALUE_BYTES: usize = 100_000;

#[test]
fn a_flood_of_connections_leaves_descriptors_for_the_log_and_for_members() {
    raise_descriptor_limit(3 * FLOOD as u64);
    let limits = vec![format!("ulimit -n {LIMIT}"); 3];
    let mut cluster = Setup::new().args(&["--snapshot-count", "50"]).after(limits).start(3);
    let (primary, follower) = (cluster.primary(), cluster.followers()[0]);
    let mut client = cluster.client(primary);
    client.set("/before", "1");

    let connect = |_| TcpStream::connect_timeout(&cluster.address(primary), Duration::from_secs(1)).ok();
    let flood: Vec<TcpStream> = (0..FLOOD).filter_map(connect).collect();
    assert!(flood.len() > LIMIT, "only {} connections", flood.len());
    let value = "v".repeat(VALUE_BYTES);
    let mut newest = 0;
    for n in 0..WRITES {
        newest = client.set(&format!("/d{}/k", n % 32), &value);
    }
    // A member that comes back connects to the flooded one, and is let in.
    cluster.kill(follower);
    client.set("/meanwhile", "1");
    cluster.restart(follower);
    let mut back = impatient(cluster.address(follower));
    eventually("the member has caught up", PATIENCE, || {
        let answer = back.attempt("GET", "/v2/keys/meanwhile?quorum=true", None).ok()?;
        (answer.status == 200 && answer.index() > newest).then_some(())
    });

    drop(flood);
    eventually("clients are let in again", PATIENCE, || {
        let answer = impatient(cluster.address(primary)).attempt("GET", "/v2/keys/before", None).ok()?;
        (answer.status == 200).then_some(())
    });
    assert_eq!(cluster.primary(), primary, "nobody else had to lead");
    cluster.wait_converged();
}
