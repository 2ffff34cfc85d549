//! What one request takes beside its I/O, over and over: parse, route, apply or look up, encode. For counting instructions under
//! valgrind, which cannot run the server itself because it knows no `io_uring`.
//!
//!     pure-path get|put TIMES

#[path = "../../../server/src/body.rs"]
#[allow(dead_code, reason = "the server's own encoding; only single keys are asked for here")]
mod body;

use std::process::ExitCode;

use net::http::date::DateStamp;
use net::http::request::{Decoder, Limits, Method, Progress, Request};
use net::http::response::{Head, Next};
use net::http::status::Status;
use net::keys_request::{self, KeysRequest};
use net::router;
use net::target::{self, Target};
use shard::command::{Batch, Command, Numbered};
use shard::history::HistoryLimits;
use shard::ids::Index;
use shard::route::{Route, route};
use shard::store::{Outcome, RecentRoom, Store};

// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 10_000;
const SHARDS: u16 = 16;
/// Unix nanoseconds; any time will do.
const NOW: u64 = 1_790_000_000_000_000_000;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (kind, times) = (arguments.next(), arguments.next().and_then(|text| text.parse::<u64>().ok()));
    let (Some("get" | "put"), Some(times)) = (kind.as_deref(), times) else {
        eprintln!("usage: pure-path get|put TIMES");
        return ExitCode::from(2);
    };
    let mut node = Node::with_keys();
    let is_put = kind.as_deref() == Some("put");
    let requests: Vec<Vec<u8>> = (0..KEYS).map(|key| if is_put { put(key) } else { get(key) }).collect();
    for request in requests.iter().cycle().take(times as usize) {
        node.serve(request);
    }
    // What was answered last, so that none of it can be left out.
    println!("{}", String::from_utf8_lossy(&node.out));
    ExitCode::SUCCESS
}

fn path_of(key: u64) -> String {
    format!("/lg-d{}/k{key}", key % 64)
}

fn get(key: u64) -> Vec<u8> {
    format!("GET /v2/keys{} HTTP/1.1\r\nHost: 127.0.0.1:2379\r\n\r\n", path_of(key)).into_bytes()
}

fn put(key: u64) -> Vec<u8> {
    let (path, form) = (path_of(key), format!("value={}", "0123456789abcdef".repeat(4)));
    format!(
        "PUT /v2/keys{path} HTTP/1.1\r\nHost: 127.0.0.1:2379\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}

/// A server without sockets, log and raft.
struct Node {
    decoder: Decoder,
    store: Store,
    index: u64,
    date: DateStamp,
    body: Vec<u8>,
    out: Vec<u8>,
}

impl Node {
    fn with_keys() -> Self {
        let mut node = Self {
            decoder: Decoder::new(Limits::default()),
            store: Store::new(HistoryLimits::default()),
            index: 0,
            date: DateStamp::at(NOW / 1_000_000_000),
            body: Vec::new(),
            out: Vec::new(),
        };
        node.store.remember_reads(RecentRoom::new(1 << 16), (1, 2));
        (0..KEYS).for_each(|key| node.serve(&put(key)));
        node
    }

    /// From the request's bytes to the answer's.
    fn serve(&mut self, bytes: &[u8]) {
        self.body.clear();
        self.out.clear();
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Limits::default()));
        match decoder.decode(bytes) {
            Ok(Progress::Complete { request, .. }) => self.answer(&request),
            other => panic!("{other:?}"),
        }
        self.decoder = decoder;
    }

    fn answer(&mut self, request: &Request<'_>) {
        let Target::Clean(path) = target::resolve(request.method, request.path, request.query) else {
            panic!("the paths are clean")
        };
        let router::Route::Keys(key) = router::client(request.method, &path) else { panic!("keys are asked for") };
        assert!(matches!(route(key, SHARDS), Route::Shard(_)));
        match keys_request::decode(request).map(|decoded| decoded.request) {
            Ok(KeysRequest::Get { .. }) => self.read(key),
            Ok(KeysRequest::Set { value, dir, ttl, refresh }) => {
                self.change(Command::Set { path: key.to_vec(), value: value.into_owned(), dir, ttl, refresh });
            }
            other => panic!("{other:?}"),
        }
        let status = if request.method == Method::Put { Status::Created } else { Status::Ok };
        let head = Head::json(status).cluster_id("7e27652122e8b2ae").etcd_index(self.index).raft(self.index, 2);
        let next = head.write(&mut self.out, request.exchange(), &self.date, &self.body);
        assert_eq!(next, Next::KeepAlive);
    }

    fn read(&mut self, key: &[u8]) {
        let Ok(found) = self.store.read(key) else { panic!("the key was written") };
        body::file(&found, key, NOW, &mut self.body);
    }

    /// As a batch of one, encoded for the log and read in place: the most that a change can cost.
    fn change(&mut self, command: Command) {
        self.index += 1;
        let commands = vec![Numbered { offset: 0, command, origin: 1, process: 1 }];
        let bytes = Batch { first: self.index, now: NOW, commands }.encode();
        for entry in bytes.batch().iter() {
            match self.store.apply(Index(self.index), NOW, &entry.command) {
                Ok(Outcome::Event { event, .. }) => body::event(&event, &mut self.body),
                other => panic!("{other:?}"),
            }
        }
    }
}
