//! A member that was away for so long that the others have dropped what it needs from their logs.

use std::thread;
use std::time::{Duration, Instant};

use shard::route::{Route, route};

use super::api::{added, wait_count};
use super::load::Load;
use super::members::{Cluster, Setup, impatient};
use super::tail::{Tail, assert_grows};
use crate::harness::{Flavor, PATIENCE, encode, env_number, eventually, need, shell, uetcd_only};

/// Bytes of a value.
const VALUE: usize = 2048;
/// Requests on the way on one connection.
const WINDOW: u64 = 32;
/// Connections that write.
const CONNECTIONS: u64 = 16;

/// Writes so many large values through one member, many at a time, to keys of so many directories; a key is overwritten
/// every now and then.
fn write_large(cluster: &Cluster, via: usize, count: u64, directories: u64) {
    let value = "v".repeat(VALUE);
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let value = &value;
            scope.spawn(move || {
                let mut client = cluster.client(via);
                for window in 0..count / CONNECTIONS / WINDOW {
                    let put = |n: u64| {
                        let (directory, number) = (connection % directories, (window * WINDOW + n) % 500);
                        let key = format!("/v2/keys/big{directory}/k{number}");
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
    write_large(&cluster, via, env_number("SUITE_CLUSTER_LAG", 25_600), CONNECTIONS);
    println!("writing took {:?}", begun.elapsed());
    // A process reads again only what it has written itself, and loads what is above its newest snapshots.
    for other in cluster.up() {
        cluster.terminate(other);
        cluster.restart(other);
    }
    cluster.wait_writable();
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
    let log = cluster.server(cluster.primary()).log();
    assert!(Flavor::under_test() == Flavor::Etcd || log.contains("sent the state of shard"), "{log}");
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

#[test]
fn a_member_that_missed_what_the_logs_still_hold_is_sent_that() {
    uetcd_only!("etcd keeps the last 5,000 entries in memory");
    let mut cluster = Setup::new().start(3);
    let away = cluster.followers()[0];
    cluster.kill(away);
    let primary = cluster.primary();
    // 20 MiB for one shard, of which 4 MiB stay in memory.
    write_large(&cluster, primary, 10_240, 1);
    cluster.restart(away);
    cluster.wait_converged();
    let counted = |name| cluster.client(primary).metric(name);
    assert!(counted("uetcd_log_reread_bytes_total") > 10 << 20, "little was read from the log");
    assert_eq!(counted("uetcd_log_reread_misses_total"), 0);
    let log = cluster.server(primary).log();
    assert!(!log.contains("sending the state of shard"), "{log}");
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
    let primary = cluster.primary();
    let value = "v".repeat(LARGE_BYTES);
    let mut client = cluster.client(primary);
    for n in 0..LARGE_VALUES {
        client.set(&format!("/large/k{n}"), &format!("{n}.{value}"));
    }
    // Who joins is sent every shard's state.
    let plan = cluster.next_plan();
    added(&cluster, primary, &plan.peer_url());
    wait_count(&cluster, 4);
    let new = cluster.join(&cluster.up(), plan);
    let Route::Shard(shard) = route(b"/large", 16) else { panic!("a directory has a shard") };
    let sender = cluster.server(primary);
    sender.wait_for_log(&format!("sending the state of shard {shard} to"));
    let port = cluster.peer_url(new).rsplit(':').next().expect("a port").to_owned();
    // The one that is lost may be another executor's, or not be up yet.
    eventually("the connection is lost once more", PATIENCE, || {
        let killed = shell(&format!("ss -K dport = :{port}"));
        assert!(killed.status.success(), "{killed:?}");
        (sender.log().lines().filter(|line| line.contains("became inactive")).count() >= 2).then_some(())
    });
    cluster.wait_converged();
    let log = sender.log();
    assert!(!log.contains("did not reach"), "a transfer began again: {log}");
    assert_eq!(cluster.client(new).value("/large/k7"), Some(format!("7.{value}")));
}
