//! Snapshots that are damaged, cut or large.

mod common;

use common::*;
use shard::command::{Command, SystemCommand};
use shard::error::Error;
use shard::history::HistoryLimits;
use shard::snapshot::{CHUNK_BYTES, Restore};
use shard::store::Store;

fn restore<'a>(chunks: impl IntoIterator<Item = &'a Vec<u8>>) -> Result<Store, Error> {
    let mut restore = Restore::new(HistoryLimits::default());
    chunks.into_iter().try_for_each(|chunk| restore.push(chunk))?;
    restore.finish()
}

fn busy_store() -> Store {
    let mut store = store_before(1);
    let members = [
        SystemCommand::AddMember { id: 1, name: "n".into(), peer_urls: vec!["http://a".into()] },
        SystemCommand::AddMember { id: 2, name: String::new(), peer_urls: vec!["http://b".into()] },
        SystemCommand::PublishAttributes { id: 1, name: "n1".into(), client_urls: vec!["http://c".into()] },
        SystemCommand::RemoveMember { id: 2 },
        SystemCommand::SetClusterVersion("2.3.0".into()),
    ];
    for member in members {
        apply(&mut store, NOW, &Command::System(member)).expect("never refused as a key");
    }
    for n in 0..50 {
        event(&mut store, NOW, &set_ttl(&format!("/d/{}/{n}", n % 7), "value", 10 + n));
    }
    event(&mut store, NOW, &delete_all("/d/3"));
    apply(&mut store, NOW, &Command::Rebase { by_ns: 12_345 }).expect("never refused");
    store
}

#[test]
fn what_is_restored_is_the_same() {
    let mut store = busy_store();
    let chunks: Vec<_> = store.snapshot().collect();
    let mut copy = restore(&chunks).expect("a good snapshot");
    assert_eq!((copy.digest(), copy.applied()), (store.digest(), store.applied()));
    assert_eq!(copy.system(), store.system());
    assert_eq!(copy.timeline(), store.timeline());
    assert_eq!(listing(&copy, NOW), listing(&store, NOW));
    while store.tidy(1000) {}
    assert_eq!(copy.deadline_count(), store.deadline_count());
    assert_eq!(copy.due(NOW + 30 * SECOND, 100), store.due(NOW + 30 * SECOND, 100));
    assert_ne!(event(&mut copy, NOW, &set("/x", "1")).index.0, 0);
    assert_ne!(copy.digest(), store.digest());
}

#[test]
fn a_snapshot_is_of_the_moment_it_was_asked_for() {
    let mut store = busy_store();
    let (digest, snapshot) = (store.digest(), store.snapshot());
    for n in 0..50 {
        event(&mut store, NOW, &set(&format!("/d/{}/{n}", n % 7), "new"));
    }
    event(&mut store, NOW, &delete_all("/d"));
    while store.tidy(10) {}
    let chunks: Vec<_> = snapshot.collect();
    assert_eq!(restore(&chunks).expect("a good snapshot").digest(), digest);
}

#[test]
fn chunks_are_bounded_and_a_giant_rides_alone() {
    let mut store = store_before(1);
    for n in 0..2000 {
        event(&mut store, NOW, &set(&format!("/k/{n}"), &"v".repeat(1000)));
    }
    event(&mut store, NOW, &set("/k/giant", &"v".repeat(4 * CHUNK_BYTES)));
    let chunks: Vec<_> = store.snapshot().collect();
    let large = chunks.iter().filter(|chunk| chunk.len() > CHUNK_BYTES + 4096).count();
    assert_eq!(large, 2, "the giant as a node and as an event");
    assert_eq!(restore(&chunks).expect("a good snapshot").digest(), store.digest());
}

#[test]
fn a_snapshot_that_is_not_whole_is_refused() {
    let mut chunks: Vec<_> = busy_store().snapshot().collect();
    assert_eq!(chunks.len(), 4, "head, nodes, events, end");
    for missing in 0..chunks.len() {
        let rest = chunks.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, chunk)| chunk);
        assert!(restore(rest).is_err(), "without chunk {missing}");
    }
    let twice = [&chunks[0], &chunks[1], &chunks[1], &chunks[2], &chunks[3]];
    assert!(restore(twice).is_err());
    chunks.swap(1, 2);
    assert!(restore(&chunks).is_ok(), "events before nodes say the same");
    chunks.swap(0, 1);
    assert!(restore(&chunks).is_err());
}

/// Whoever keeps the bytes checks them; still, no damage may bring the reader down or pass for another state.
#[test]
fn no_flipped_bit_brings_the_reader_down() {
    let store = busy_store();
    let (good, digest) = (store.snapshot().collect::<Vec<_>>(), store.digest());
    for chunk in [0, 1, 3] {
        for at in 0..good[chunk].len() {
            let mut bad = good.clone();
            bad[chunk][at] ^= 1 << (at % 8);
            if let Ok(store) = restore(&bad) {
                assert_eq!(store.digest(), digest, "chunk {chunk}, byte {at}");
            }
        }
    }
}
