//! A member that was away for so long that the others have dropped what it needs from their logs.

use std::thread;
use std::time::{Duration, Instant};

use super::load::Load;
use super::members::{Cluster, Setup, impatient};
use super::tail::{Tail, assert_grows};
use crate::harness::{PATIENCE, encode, env_number, eventually, need, shell, uetcd_only};

/// Bytes of a value.
const VALUE: usize = 2048;
/// Requests on the way on one connection.
const WINDOW: u64 = 32;
/// Connections, each with keys of one directory.
const CONNECTIONS: u64 = 16;

/// Writes so many large values through one member, many at a time; a key is overwritten every now and then.
fn write_large(cluster: &Cluster, via: usize, count: u64) {
    let value = "v".repeat(VALUE);
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let value = &value;
            scope.spawn(move || {
                let mut client = cluster.client(via);
                for window in 0..count / CONNECTIONS / WINDOW {
                    let put = |n: u64| {
                        let key = format!("/v2/keys/big{connection}/k{}", (window * WINDOW + n) % 500);
                        encode("PUT", &key, Some(&format!("value={window}.{n}.{value}")))
                    };
                    client.send_raw((0..WINDOW).map(put).collect::<String>().as_bytes()).expect("the member reads");
                    for _ in 0..WINDOW {
                        let answer = client.receive("PUT").expect("an answer");
                        assert!(answer.status < 300, "{answer:?}");
                    }
                }
            });
        }
    });
}

#[test]
fn a_member_that_missed_more_than_the_logs_hold_catches_up_by_snapshots() {
    let mut cluster = Setup::new().args(&["--snapshot-count", "200"]).start(3);
    let away = cluster.followers()[0];
    assert_eq!(cluster.terminate(away).code(), 143);
    let via = cluster.primary();
    let begun = Instant::now();
    write_large(&cluster, via, env_number("SUITE_CLUSTER_LAG", 51_200));
    println!("writing took {:?}", begun.elapsed());
    let load = Load::on(&cluster, "c");
    let begun = Instant::now();
    cluster.restart(away);
    // The others serve meanwhile.
    load.during(2, || {
        let mut client = impatient(cluster.address(away));
        eventually("it has caught up", Duration::from_secs(30), || {
            let answer = client.attempt("GET", "/v2/keys/big0/k1?quorum=true", None);
            answer.is_ok_and(|answer| answer.status == 200).then_some(())
        });
        println!("caught up after {:?}; longest wait of a client meanwhile {:?}", begun.elapsed(), load.longest_wait());
    });
    cluster.wait_writable();
    let tail = Tail::of(cluster.address(away));
    let mut indices: Vec<u64> =
        (0..200).map(|n| cluster.client(n % 3).set(&format!("/after{}", n % 20), "x")).collect();
    let seen = tail.up_to(*indices.last().expect("there are some"));
    assert_grows(&seen);
    let seen: Vec<u64> = seen.iter().map(|event| event.index).collect();
    indices.retain(|index| !seen.contains(index));
    assert_eq!(indices, [0; 0], "writes that the watcher did not see");
    super::load::assert_kept(&load.acked(), &cluster.wait_converged());
    // What it got by snapshot is its own now: it survives without the others' help.
    cluster.kill(away);
    cluster.restart(away);
    cluster.wait_writable();
    cluster.wait_converged();
}

/// Values of the shard whose state is on its way when the connection is lost: it takes a second or so.
const LARGE_VALUES: u64 = 80;
const LARGE_BYTES: usize = 1 << 20;

#[test]
fn the_transfer_of_a_state_goes_on_after_a_lost_connection() {
    uetcd_only!("etcd begins again");
    need("ss");
    // Another primary would begin a transfer of its own.
    let mut cluster = Setup::new().election_ms(4_000).args(&["--snapshot-count", "20"]).start(3);
    let away = cluster.followers()[0];
    cluster.kill(away);
    let primary = cluster.primary();
    let value = "v".repeat(LARGE_BYTES);
    let mut client = cluster.client(primary);
    for n in 0..LARGE_VALUES {
        client.set(&format!("/large/k{n}"), &format!("{n}.{value}"));
    }
    cluster.restart(away);
    let sender = cluster.server(primary);
    sender.wait_for_log("sending the state of shard");
    let port = cluster.peer_url(away).rsplit(':').next().expect("a port").to_owned();
    // The one that is lost may be another executor's, or not be up yet.
    eventually("the connection is lost once more", PATIENCE, || {
        let killed = shell(&format!("ss -K dport = :{port}"));
        assert!(killed.status.success(), "{killed:?}");
        (sender.log().lines().filter(|line| line.contains("became inactive")).count() >= 2).then_some(())
    });
    cluster.wait_converged();
    let log = sender.log();
    assert!(!log.contains("did not reach"), "a transfer began again: {log}");
    assert_eq!(cluster.client(away).value("/large/k7"), Some(format!("7.{value}")));
}
