//! One order on all members: their watchers see the same events, and a listing followed by a watch misses nothing.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use super::load::{Acked, DIRECTORIES, Load, assert_kept, assert_ordered, files, modified};
use super::members::{Cluster, READY, Setup};
use super::tail::{assert_contains, assert_grows, assert_same, tails};
use crate::harness::{Client, Rng};

/// Sets, swaps, deletes and creates in order, at random; what it did, by index: action and key.
fn mixed_writes(mut client: Client, seed: u64, count: u64, into: &Mutex<BTreeMap<u64, (String, String)>>) {
    let mut rng = Rng::new(seed);
    for n in 0..count {
        let key = format!("/d{}/shared{}", rng.below(DIRECTORIES), rng.below(3));
        let target = format!("/v2/keys{key}");
        let answer = match rng.below(6) {
            0 => client.delete(&target),
            1 => client.put(&target, &[("value", &format!("{seed}.{n}")), ("prevExist", "true")]),
            2 => client.request("POST", &format!("/v2/keys/d{}/queue", rng.below(DIRECTORIES)), Some("value=q")),
            _ => client.put(&target, &[("value", &format!("{seed}.{n}"))]),
        };
        let json = answer.json();
        if answer.status < 300 {
            let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
            let done = (text(&json["action"]), text(&json["node"]["key"]));
            let old = into.lock().expect("nobody panicked").insert(modified(&json), done);
            assert_eq!(old, None, "an index was given twice");
        } else {
            assert_eq!(json["errorCode"], 100, "{answer:?}");
        }
    }
}

fn same_events(members: usize, writes_each: u64) {
    let cluster = Setup::new().start(members);
    let tails = tails(&cluster);
    let done = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for writer in 0..2 * members {
            let (client, done) = (cluster.client(writer % members), &done);
            scope.spawn(move || mixed_writes(client, writer as u64, writes_each, done));
        }
    });
    let end = cluster.client(0).set("/end", "");
    let done = done.into_inner().expect("nobody panicked");
    let seen: Vec<_> = tails.iter().map(|(_, tail)| (tail.since, tail.up_to(end))).collect();
    for (since, events) in &seen {
        assert_grows(events);
        assert_same((seen[0].0, &seen[0].1), (*since, events));
        let got: BTreeMap<u64, (String, String)> =
            events.iter().map(|event| (event.index, (event.action.clone(), event.key.clone()))).collect();
        let missed: Vec<_> = done.iter().filter(|(index, what)| got.get(index) != Some(what)).collect();
        assert!(missed.is_empty(), "acknowledged, but not streamed so: {missed:?}");
        // Waiting for the cluster has given up on some writes, which may have been carried out since.
        let extra: Vec<_> = got.iter().filter(|(index, _)| !done.contains_key(index) && **index != end).collect();
        let extra: Vec<_> = extra.into_iter().filter(|(_, (_, key))| key != READY).collect();
        assert!(extra.is_empty(), "events that nobody caused: {extra:?}");
    }
    cluster.wait_converged();
}

#[test]
fn streams_on_three_members_show_the_same_events() {
    same_events(3, 400);
}

#[test]
fn streams_on_five_members_show_the_same_events() {
    same_events(5, 120);
}

/// Lists `/` at a member, then follows by long polls up to `/end`: the listing's index, the indices seen, and the state arrived at.
fn follow(mut client: Client) -> (u64, Vec<u64>, BTreeMap<String, (u64, String)>) {
    let listing = client.get("/v2/keys/?recursive=true");
    let mut state = files(&listing.json());
    let (mut seen, mut next) = (Vec::new(), listing.index() + 1);
    loop {
        let answer = client.get(&format!("/v2/keys/?recursive=true&wait=true&waitIndex={next}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let event = answer.json();
        let (index, key) = (modified(&event), event["node"]["key"].as_str().expect("a key").to_owned());
        if key == "/end" {
            return (listing.index(), seen, state);
        }
        seen.push(index);
        state.insert(key, (index, event["node"]["value"].as_str().expect("a value").to_owned()));
        next = index + 1;
    }
}

#[test]
fn a_listing_followed_by_a_watch_misses_nothing_on_any_member() {
    let cluster = Cluster::of(3);
    let load = Load::on(&cluster, "f");
    thread::scope(|scope| {
        let followers: Vec<_> = load.during(4, || {
            load.wait_for_more(100);
            let followers = (0..6).map(|n| cluster.client(n % 3)).map(|client| scope.spawn(|| follow(client)));
            let followers = followers.collect();
            load.wait_for_more(1500);
            followers
        });
        cluster.client(1).set("/end", "");
        let acked: Vec<Acked> = load.acked();
        let last: BTreeMap<_, _> =
            acked.iter().map(|write| (write.key.clone(), (write.index, write.value.clone()))).collect();
        for follower in followers {
            let (since, seen, mut state) = follower.join().expect("a follower finishes");
            let missed: Vec<_> =
                acked.iter().filter(|write| write.index > since && !seen.contains(&write.index)).collect();
            assert!(missed.is_empty(), "listed at {since}, then never saw {missed:?}");
            assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "an event was repeated or out of order");
            state.remove(READY);
            assert!(state == last, "listing plus events is not the final state");
        }
    });
    assert_ordered(&load.acked());
    assert_kept(&load.acked(), &cluster.wait_converged());
}

#[test]
fn a_stream_begun_at_an_old_index_on_another_member_continues_there() {
    let cluster = Cluster::of(3);
    let load = Load::on(&cluster, "h");
    let first = tails(&cluster);
    load.during(3, || {
        load.wait_for_more(600);
    });
    let end = cluster.client(2).set("/end", "");
    let acked = load.acked();
    let whole = first[0].1.up_to(end);
    assert_contains(first[0].1.since, &whole, &acked);
    // A client that followed one member up to somewhere goes on at the next one.
    for (n, event) in whole.iter().enumerate().step_by(97) {
        let mut client = cluster.client(n % 3);
        let answer = client.get(&format!("/v2/keys/?recursive=true&wait=true&waitIndex={}", event.index + 1));
        let want = whole.get(n + 1).map(|next| next.index);
        if let Some(want) = want {
            assert_eq!(modified(&answer.json()), want, "after {} at member {}", event.index, n % 3);
        }
    }
}
