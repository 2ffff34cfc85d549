//! One member of a cluster whose majority is gone for good is forced to go on alone.

use std::time::Duration;

use serde_json::Value;

use super::api::{added, nowhere, wait_count};
use super::load::{Acked, Load, assert_kept, files};
use super::members::{Cluster, Setup};
use crate::harness::{Connection, Plan, copy_dir, uetcd_only};

const FORCE: &str = "--force-new-cluster";

/// Kills, each a little later than the one before.
const ROUNDS: u64 = 12;

fn start() -> Cluster {
    Setup::new().args(&["--strict-reconfig-check=false"]).start(3)
}

/// The ids of the members as this one lists them, sorted.
fn ids(cluster: &Cluster, via: usize) -> Vec<String> {
    let listed = cluster.client(via).get("/v2/members").json();
    let members = listed["members"].as_array().expect("a list");
    members.iter().map(|member| member["id"].as_str().expect("an id").to_owned()).collect()
}

fn cluster_id(cluster: &Cluster, via: usize) -> String {
    cluster.client(via).get("/v2/keys/").header("X-Etcd-Cluster-Id").expect("named").to_owned()
}

fn listing(cluster: &Cluster, via: usize) -> Value {
    let answer = cluster.client(via).get("/v2/keys/?recursive=true&sorted=true");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn index(cluster: &Cluster, via: usize) -> u64 {
    cluster.client(via).get("/v2/keys/").index()
}

/// Kills every member that runs.
fn kill_all(cluster: &mut Cluster) {
    for nth in cluster.up() {
        cluster.kill(nth);
    }
}

#[test]
fn the_last_one_goes_on_with_all_that_was_acknowledged_and_grows_again() {
    uetcd_only!("etcd drops what it does not know to be committed");
    let mut cluster = start();
    let load = Load::on(&cluster, "x");
    load.during(4, || load.wait_for_more(400));
    let last = cluster.followers()[0];
    let others: Vec<usize> = cluster.up().into_iter().filter(|nth| *nth != last).collect();
    cluster.wait_converged();
    let (id, of) = (cluster.id(last, last), cluster_id(&cluster, last));
    let before = index(&cluster, last);
    for nth in others.clone() {
        cluster.kill(nth);
    }
    cluster.kill(last);

    cluster.restart_with(last, &[FORCE]);
    cluster.wait_writable();
    assert!(cluster.server(last).log().contains(&format!("forcing restart of member {id} in cluster {of} at index")));
    assert_eq!((ids(&cluster, last), cluster_id(&cluster, last)), (vec![id.clone()], of.clone()));
    assert_kept(&load.acked(), &listing(&cluster, last));
    let begun = cluster.client(last).set("/forced", "1");
    assert!(begun > before, "indices go on: {begun} after {before}");
    let oldest = load.acked().iter().map(|write| write.index).min().expect("there were some");
    let mut watch = Connection::open(cluster.address(last)).expect("accepts");
    let since = format!("/v2/keys/?wait=true&recursive=true&stream=true&waitIndex={oldest}");
    watch.send(format!("GET {since} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("sent");
    assert_eq!(watch.head().expect("a head").status, 200);
    let mut newest = 0;
    while newest < begun {
        let index = watch.event().expect("an event")["node"]["modifiedIndex"].as_u64().expect("an index");
        assert!(index > newest, "{index} after {newest}");
        newest = index;
    }

    // Who comes back is told that it is gone.
    cluster.restart(others[0]);
    let ended = cluster.wait_gone(others[0]);
    assert!(ended.stderr.contains("the member has been permanently removed from the cluster"), "{ended:?}");

    // Without the flag it is a member like any other, and may have company again.
    cluster.kill(last);
    cluster.restart(last);
    cluster.wait_writable();
    for nth in others {
        added(&cluster, last, &cluster.peer_url(nth));
        cluster.rejoin(nth);
        cluster.wait_published();
        cluster.wait_voter(nth);
    }
    wait_count(&cluster, 3);
    assert_kept(&load.acked(), &cluster.wait_converged());
    let dead = cluster.primary();
    cluster.kill(dead);
    cluster.wait_writable();
}

/// Every member of a cluster that was killed under load shows, when it is forced, a prefix of the one order that has at least
/// what it had shown.
#[test]
fn each_member_is_forced_to_a_prefix_of_the_one_order() {
    uetcd_only!("etcd drops what it does not know to be committed");
    let mut cluster = start();
    let load = Load::on(&cluster, "x").patient(Duration::from_millis(500)).abandoning();
    let mut shown = Vec::new();
    load.during(6, || {
        load.wait_for_more(300);
        shown = cluster.up().into_iter().map(|nth| (nth, index(&cluster, nth))).collect();
        kill_all(&mut cluster);
    });
    let acked = load.acked();
    let mut tops = Vec::new();
    for (nth, shown) in shown {
        cluster.restart_with(nth, &[FORCE]);
        cluster.wait_writable();
        let files = files(&listing(&cluster, nth));
        let of_load = files.iter().filter(|(key, _)| key.contains("/x-"));
        let top = of_load.map(|(_, (index, _))| *index).max().expect("some were written").max(shown);
        let lacks = |write: &&Acked| write.index <= top && !files.contains_key(&write.key);
        let missing: Vec<_> = acked.iter().filter(lacks).collect();
        assert!(missing.is_empty(), "member {nth} holds {top}, but not {missing:?}");
        tops.push((top, acked.iter().filter(|write| write.index > top).count()));
        cluster.kill(nth);
    }
    println!("highest index of each member, and acknowledged ones it lacks: {tops:?}");
    assert!(tops.iter().any(|(_, lacks)| *lacks == 0), "what is acknowledged is on two members of three");
}

#[test]
fn forcing_twice_or_one_that_is_alone_changes_nothing() {
    uetcd_only!("etcd 3.4 logs it in other words");
    let alone = Plan::new().on_quiet_ports();
    let server = alone.start();
    let written = server.client().set("/kept", "1");
    server.kill();
    let server = alone.clone().args([FORCE]).start();
    assert!(!server.log().contains("forcing restart"), "{}", server.log());
    assert_eq!(server.client().value("/kept").as_deref(), Some("1"));
    assert!(server.client().set("/more", "1") > written);
    drop(server);

    // Whoever was added and never came is removed.
    let mut cluster = Setup::new().args(&["--strict-reconfig-check=false"]).start(1);
    added(&cluster, 0, &nowhere(&cluster));
    wait_count(&cluster, 2);
    cluster.kill(0);
    cluster.restart_with(0, &[FORCE]);
    cluster.wait_writable();
    wait_count(&cluster, 1);
    drop(cluster);

    let mut cluster = start();
    let written = cluster.client(0).set("/kept", "1");
    let last = cluster.primary();
    kill_all(&mut cluster);
    for round in 0..2 {
        cluster.restart_with(last, &[FORCE]);
        cluster.wait_writable();
        assert_eq!(cluster.server(last).log().contains("forcing restart"), round == 0);
        assert_eq!(ids(&cluster, last).len(), 1);
        assert_eq!(cluster.client(last).value("/kept").as_deref(), Some("1"));
        assert!(cluster.client(last).set("/more", "1") > written);
        cluster.kill(last);
    }
    // In a new directory it founds a cluster as ever.
    let fresh = Plan::new().env("ETCD_FORCE_NEW_CLUSTER", "true").start();
    fresh.client().set("/a", "1");
}

/// Nobody should do this: they are a majority. But what they send must not reach the one that has left them.
#[test]
fn those_that_still_run_are_turned_away() {
    uetcd_only!("etcd 3.4 logs it in other words");
    let mut cluster = start();
    for n in 0..100 {
        cluster.client(0).set(&format!("/d{}/{n}", n % 40), "kept");
    }
    cluster.wait_converged();
    let last = cluster.primary();
    let others: Vec<usize> = cluster.up().into_iter().filter(|nth| *nth != last).collect();
    cluster.kill(last);
    // A write that was on its way to the primary that died would be lost with it.
    cluster.wait_writable();
    cluster.client(others[0]).set("/theirs", "1");
    cluster.restart_with(last, &[FORCE]);
    for nth in others {
        let ended = cluster.wait_gone(nth);
        assert!(ended.stderr.contains("the member has been permanently removed from the cluster"), "{ended:?}");
    }
    cluster.wait_writable();
    let files = files(&listing(&cluster, last));
    assert_eq!(files.keys().filter(|key| key.starts_with("/d")).count(), 100);
    assert!(!files.contains_key("/theirs"), "{files:?}");
    assert_eq!(ids(&cluster, last).len(), 1);
}

/// Wherever a kill hits it, the next start finds the old state or the new one.
#[test]
fn a_kill_while_it_is_forced_leaves_the_old_state_or_the_new_one() {
    uetcd_only!("it looks into the data directory");
    let mut cluster = start();
    for n in 0..200 {
        cluster.client(0).set(&format!("/d{}/{n}", n % 40), &"v".repeat(2000));
    }
    cluster.wait_converged();
    let last = cluster.followers()[1];
    kill_all(&mut cluster);
    let (data, saved) = (cluster.data(last).to_owned(), cluster.data(last).with_extension("saved"));
    copy_dir(&data, &saved);
    let mut finished = 0;
    for round in 0..ROUNDS {
        std::fs::remove_dir_all(&data).expect("removed");
        copy_dir(&saved, &data);
        cluster.restart_with(last, &[FORCE]);
        std::thread::sleep(Duration::from_millis(25 * round));
        cluster.kill(last);
        // Without the flag, an old state has no majority, and a new one serves. Either is the same to the next attempt.
        if round % 2 == 0 {
            cluster.restart(last);
            std::thread::sleep(Duration::from_millis(20 * round));
            cluster.kill(last);
        }
        cluster.restart_with(last, &[FORCE]);
        cluster.wait_writable();
        finished += u64::from(!cluster.server(last).log().contains("forcing restart"));
        let files = files(&listing(&cluster, last));
        assert_eq!((0..200).filter(|n| files.contains_key(&format!("/d{}/{n}", n % 40))).count(), 200, "{round}");
        assert_eq!(ids(&cluster, last).len(), 1, "{round}");
        cluster.kill(last);
    }
    println!("{finished} of {ROUNDS} attempts had come to their end when they were killed");
}
