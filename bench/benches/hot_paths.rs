//! The paths that every request takes, one by one. Figures are for comparing a change with its parent on one machine.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use net::http::request::{Decoder, Limits, Progress};
use net::json;
use net::keys_request;
use shard::command::{Batch, Command, CommandRef, Numbered};
use shard::history::HistoryLimits;
use shard::ids::{Index, ShardId};
use shard::order::Order;
use shard::route::route;
use shard::store::Store;

const PUT: &[u8] = b"PUT /v2/keys/d7/k123 HTTP/1.1\r\nHost: 127.0.0.1:2379\r\n\
Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 70\r\n\r\n\
value=0123456789012345678901234567890123456789012345678901234567890123";

fn parse(criterion: &mut Criterion) {
    let mut decoder = Decoder::new(Limits::default());
    criterion.bench_function("decode a PUT and its form", |bench| {
        bench.iter(|| match decoder.decode(black_box(PUT)) {
            Ok(Progress::Complete { request, .. }) => keys_request::decode(&request).is_ok(),
            other => panic!("{other:?}"),
        });
    });
}

fn encode(criterion: &mut Criterion) {
    let value = "v".repeat(128);
    let mut out = Vec::new();
    criterion.bench_function("escape 128 bytes of text", |bench| {
        bench.iter(|| {
            out.clear();
            json::push_string(&mut out, black_box(value.as_bytes()));
        });
    });
    criterion
        .bench_function("route a path", |bench| bench.iter(|| route(black_box(b"/registry/pods/default/web-1"), 16)));
}

fn set(key: u64) -> Command {
    let path = format!("/d{}/k{key}", key % 1000).into_bytes();
    Command::Set { path, value: vec![b'v'; 64], dir: false, ttl: None, refresh: false }
}

fn tree(criterion: &mut Criterion) {
    const KEYS: u64 = 1_000_000;
    let mut store = Store::new(HistoryLimits::default());
    let mut index = 0;
    let mut apply = |store: &mut Store, key: u64| {
        index += 1;
        store.apply(Index(index), 1, &CommandRef::from(&set(key))).is_ok()
    };
    for key in 0..KEYS {
        apply(&mut store, key);
    }
    let mut key = 0;
    criterion.bench_function("set among a million keys", |bench| {
        bench.iter(|| {
            key = (key + 7919) % KEYS;
            apply(&mut store, key)
        });
    });
    criterion.bench_function("get among a million keys", |bench| {
        bench.iter(|| store.get(black_box(b"/d500/k123500")).is_ok());
    });
}

fn batch(criterion: &mut Criterion) {
    let commands = (0..64).map(|n| Numbered { offset: n, command: set(u64::from(n)), origin: 1, process: 1 }).collect();
    let batch = Batch { first: 1, now: 1, commands };
    criterion.bench_function("encode a batch of 64", |bench| bench.iter(|| black_box(&batch).encode()));
    let bytes = batch.encode();
    criterion.bench_function("read a batch of 64 in place", |bench| {
        bench.iter(|| black_box(&bytes).batch().iter().filter(|entry| entry.command.path().is_some()).count());
    });
}

fn order(criterion: &mut Criterion) {
    let order = Order::new(16, 1, Index(0));
    assert!(order.open(order.token(), Index(0)));
    criterion.bench_function("one turn of the one order, 16 shards", |bench| {
        bench.iter(|| {
            let shards = || (0..16).map(ShardId);
            let first = order.take(64, shards());
            shards().for_each(|shard| order.publish_uncommitted(shard, Some(first)));
            shards().for_each(|shard| order.publish_uncommitted(shard, None));
            order.raise(0);
            shards().for_each(|shard| {
                order.publish_unapplied(shard, None);
            });
        });
    });
}

criterion_group!(hot_paths, parse, encode, tree, batch, order);
criterion_main!(hot_paths);
