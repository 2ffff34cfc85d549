//! Many watchers of different parts of the tree, under faults: each sees every event of its part once, in order, and no other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::faults::{Fault, Ground, torment};
use super::load::{DIRECTORIES, Load, assert_ordered};
use super::members::{Cluster, Setup};
use super::netns::Net;
use super::tail::{Seen, assert_contains, assert_grows};
use super::watchers::Watcher;
use crate::harness::{Connection, PATIENCE, Rng, SetOnDrop, encode, env_number, eventually, uetcd_only};
use crate::watch_limits::{open_watch, raise_descriptor_limit};

/// Watchers unless `SUITE_WATCHERS` says otherwise, and writes that they see unless `SUITE_WATCHED` does.
const WATCHERS: u64 = 60;
const WRITES: u64 = 1_500;
/// One of so many watches everything, the others a directory each.
const OF_EVERYTHING: u64 = 20;

/// A client that lists its part at a member and watches it from there on.
fn watcher(cluster: &Cluster, number: u64) -> Watcher {
    let (nth, directory) = (number as usize % cluster.len(), number % DIRECTORIES);
    let path = if number.is_multiple_of(OF_EVERYTHING) { "/".to_owned() } else { format!("/d{directory}") };
    let listing = cluster.client(nth).get(&format!("/v2/keys{path}?recursive=true"));
    Watcher::of(&path, nth, listing.index())
}

#[test]
fn many_watchers_under_faults_see_every_event_of_theirs_once() {
    let (count, writes) = (env_number("SUITE_WATCHERS", WATCHERS), env_number("SUITE_WATCHED", WRITES));
    raise_descriptor_limit(2 * count + 1000);
    let net = Net::of(3);
    let mut cluster = Setup::new().on(&net).start(3);
    // No directory is missing, and nothing that is under way moves where the watchers begin.
    for n in 0..DIRECTORIES {
        cluster.client(0).set(&format!("/d{n}/begin"), "");
    }
    cluster.wait_converged();
    let watchers: Vec<Watcher> = (0..count).map(|number| watcher(&cluster, number)).collect();
    let since = watchers[0].newest();
    let (over, addresses) = (AtomicBool::new(false), cluster.addresses());
    let load = Load::on(&cluster, "w").patient(Duration::from_millis(500));
    let (faults, events) = thread::scope(|scope| {
        let mut rng = Rng::new(env_number("SUITE_CLUSTER_SEED", 1));
        let (over, addresses) = (&over, &addresses);
        let _end = SetOnDrop(over);
        for watcher in &watchers {
            scope.spawn(|| watcher.run(addresses, over));
        }
        let faults = load.during(4, || {
            let enough = || load.count() as u64 >= writes;
            torment(&mut cluster, Ground::net(&net), &Fault::ALL, &mut rng, enough)
        });
        // Every directory gets a last event, so that all watchers have one to wait for.
        let ends: Vec<u64> = (0..DIRECTORIES).map(|n| cluster.client(0).set(&format!("/d{n}/end"), "")).collect();
        let last = *ends.last().expect("directories");
        let seen = watchers[0].take_up_to(last);
        assert_grows(&seen);
        assert_contains(since, &seen, &load.acked());
        for (watcher, number) in watchers.iter().zip(0..).skip(1) {
            let upto = if watcher.wants("/d") { last } else { ends[(number % DIRECTORIES) as usize] };
            assert_all_of_its_own(watcher, number, &watcher.take_up_to(upto), &seen, upto);
        }
        (faults, seen.len())
    });
    assert_ordered(&load.acked());
    let streams: u64 = watchers.iter().map(|watcher| watcher.streams.load(Ordering::Relaxed)).sum();
    println!(
        "watchers: {count} of {events} events, under {faults} faults, in {streams} streams; each saw its own once, in order"
    );
    cluster.wait_converged();
}

/// It saw those of all events that are its own, and nothing else.
fn assert_all_of_its_own(watcher: &Watcher, number: u64, got: &[Seen], all: &[Seen], upto: u64) {
    let mut want = all.iter().filter(|event| event.index <= upto && watcher.wants(&event.key));
    for event in got {
        assert_eq!(Some(event), want.next(), "watcher {number}");
    }
    assert_eq!(want.next(), None, "watcher {number} missed it");
}

#[test]
fn what_a_member_has_to_catch_up_with_cuts_nobody_off() {
    /// Together more events than may wait for those who had the time to read.
    const WATCHES: u64 = 700;
    const BURST: usize = 1_100;
    uetcd_only!("etcd drops watchers that are a hundred events behind");
    raise_descriptor_limit(WATCHES + 1000);
    let mut cluster = Setup::new().args(&["--cores", "1"]).start(3);
    let follower = cluster.followers()[0];
    let target = "/v2/keys/burst?wait=true&recursive=true&stream=true";
    let watches: Vec<_> = (0..WATCHES).map(|_| open_watch(cluster.server(follower), target)).collect();
    let mut writer = Connection::open(cluster.address(cluster.primary())).expect("it accepts");
    // It takes part in none of it, and gets all at once.
    cluster.pause(follower);
    writer.send(encode("PUT", "/v2/keys/burst/k", Some("value=v")).repeat(BURST).as_bytes()).expect("it reads");
    for _ in 0..BURST {
        assert!(writer.response("PUT").expect("an answer").status < 300);
    }
    cluster.resume(follower);
    let mut client = cluster.client(follower);
    eventually("all has happened there", PATIENCE, || {
        (client.metric("uetcd_watch_events_total") == WATCHES * BURST as u64).then_some(())
    });
    assert_eq!(client.metric("uetcd_watchers_cut_total"), 0);
    drop(watches);
}
