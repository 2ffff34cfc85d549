//! The paths that every request takes, one by one. Figures are for comparing a change with its parent on one machine.
#![allow(missing_docs, reason = "criterion's macros make public items")]

#[path = "../../server/src/body.rs"]
#[allow(dead_code, reason = "the server's own encoding; not all of it is measured")]
mod body;

use std::hint::black_box;
use std::io;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use log::{Appender, Disk, EntryType, FileBytes, GroupId, LogIdentity, RaftIndex, Record, Start, recover};
use net::http::date::DateStamp;
use net::http::request::{Decoder, Limits, Progress, Request};
use net::http::response::Head;
use net::http::status::Status;
use net::json;
use net::keys_request;
use net::router;
use net::target::{self, Target};
use shard::command::{Batch, Command, CommandRef, Numbered};
use shard::history::HistoryLimits;
use shard::ids::{Index, ShardId};
use shard::order::Order;
use shard::route::route;
use shard::store::{Outcome, Store};

/// Unix nanoseconds; any time will do.
const NOW: u64 = 1_790_000_000_000_000_000;

const GET: &[u8] = b"GET /v2/keys/d7/k123 HTTP/1.1\r\nHost: 127.0.0.1:2379\r\n\r\n";

const PUT: &[u8] = b"PUT /v2/keys/d7/k123 HTTP/1.1\r\nHost: 127.0.0.1:2379\r\n\
Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 70\r\n\r\n\
value=0123456789012345678901234567890123456789012345678901234567890123";

fn parse(criterion: &mut Criterion) {
    let mut decoder = Decoder::new(Limits::default());
    for (name, bytes) in [("decode a GET and its query", GET), ("decode a PUT and its form", PUT)] {
        criterion.bench_function(name, |bench| {
            bench.iter(|| match decoder.decode(black_box(bytes)) {
                Ok(Progress::Complete { request, .. }) => keys_request::decode(&request).is_ok(),
                other => panic!("{other:?}"),
            });
        });
    }
    with_request(GET, |request| {
        criterion.bench_function("find the endpoint, key and shard of a path", |bench| {
            bench.iter(|| {
                let Target::Clean(path) = target::resolve(request.method, black_box(request.path), None) else {
                    panic!("the path is clean")
                };
                let router::Route::Keys(key) = router::client(request.method, &path) else { panic!("it is a key") };
                route(key, 16)
            });
        });
    });
    criterion
        .bench_function("route a path", |bench| bench.iter(|| route(black_box(b"/registry/pods/default/web-1"), 16)));
}

fn with_request(bytes: &[u8], mut then: impl FnMut(&Request<'_>)) {
    match Decoder::new(Limits::default()).decode(bytes) {
        Ok(Progress::Complete { request, .. }) => then(&request),
        other => panic!("{other:?}"),
    }
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
    let mut store = Store::new(HistoryLimits::default());
    let mut put = |index| match store.apply(Index(index), NOW, &CommandRef::from(&set(7))) {
        Ok(Outcome::Event { event, .. }) => event,
        other => panic!("{other:?}"),
    };
    // The second one shows the node before as well.
    put(1);
    let event = put(2);
    criterion.bench_function("encode the body of a PUT's answer", |bench| {
        bench.iter(|| {
            out.clear();
            body::event(black_box(&event), &mut out);
        });
    });
    let Ok(node) = store.get(b"/d7/k7") else { panic!("it was set") };
    criterion.bench_function("encode the body of a GET's answer", |bench| {
        bench.iter(|| {
            out.clear();
            body::file(black_box(&node), b"/d7/k7", NOW, &mut out);
        });
    });
    head(criterion, &out);
}

fn head(criterion: &mut Criterion, body: &[u8]) {
    let (date, mut answer) = (DateStamp::at(NOW / 1_000_000_000), Vec::new());
    with_request(GET, |request| {
        criterion.bench_function("write the head around a body", |bench| {
            bench.iter(|| {
                answer.clear();
                let head = Head::json(Status::Ok).cluster_id("7e27652122e8b2ae").etcd_index(7).raft(9, 2);
                head.write(&mut answer, request.exchange(), &date, black_box(body))
            });
        });
    });
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

/// A disk without files: the log is new.
struct Empty;

impl Disk for Empty {
    fn names(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, _: &Path, _: u64, _: u64) -> io::Result<FileBytes> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// One write of a turn: entries of all groups gathered, sealed sector by sector, and taken for written. What the disk takes is not in it.
fn append(criterion: &mut Criterion) {
    const GROUPS: u16 = 16;
    let identity = LogIdentity { cluster: 1, member: 1 };
    let Ok(recovered) = recover(&Empty, Path::new("/log"), identity, &|_| None) else { panic!("there is no log") };
    let Some(resume) = recovered.resume(1).pop() else { panic!("one core has one log") };
    let mut log = Appender::new(Start { identity, resume, segment_bytes: 64 << 20 });
    let (mut bytes, mut next, payload) = (Vec::new(), 0, [7; 400]);
    criterion.bench_function("append a write of 16 entries of 400 bytes", |bench| {
        bench.iter(|| {
            next += 1;
            let index = RaftIndex::new(next);
            for group in (0..GROUPS).map(GroupId::new) {
                let entry_type = EntryType::Normal;
                log.push(&Record::Entry { group, term: 1, index, entry_type, first: 1, count: 4, payload: &payload });
            }
            while let Some(header) = log.wants_segment() {
                log.prepared(header);
            }
            let Some(ticket) = log.begin_write() else { panic!("nothing is under way") };
            bytes.resize(ticket.length, 0);
            log.encode(&ticket, &mut bytes);
            log.written(ticket.seq);
            if next.is_multiple_of(1000) {
                // As if snapshots covered everything: segments go, and memory is not what is measured.
                log.compact(&(0..GROUPS).map(|group| (GroupId::new(group), index)).collect::<Vec<_>>());
                log.take_retired();
            }
        });
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

criterion_group!(hot_paths, parse, encode, tree, batch, append, order);
criterion_main!(hot_paths);
