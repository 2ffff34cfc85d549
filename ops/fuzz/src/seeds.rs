//! Inputs that are good, made by the code that writes them: what mutations begin with.

use bytes::Bytes;
use log::batch::{BatchBuilder, BatchPlace};
use log::sector::BLOCK;
use log::segment::format_block;
use log::{BatchSeq, EntryType, GroupId, HardState, Position, RaftIndex, Record, SegmentSeq};
use log::{SNAPSHOT_CHUNK_MAX, SnapshotEncoder, SnapshotHead};
use net::peer::{
    Address, Confirm, ConfirmOutcome, Confirmed, Entry, EntryKind, Forward, Frame, Frontier, MessageKind, RaftBatch,
    RaftMessage, SnapshotAck, SnapshotBegin, SnapshotChunk, SnapshotOutcome,
};
use shard::command::{Batch, Command, CommandRef, Numbered};
use shard::history::HistoryLimits;
use shard::store::Store;

use crate::segment::header;

const NOW: u64 = 1_700_000_000_000_000_000;

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn requests() -> Vec<Vec<u8>> {
    texts(&[
        "GET /v2/keys/a?recursive=true HTTP/1.1\r\nHost: h\r\nX-A: b\r\n\r\n",
        "PUT /v2/keys/a HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\nvalue=1GET / HTTP/1.0\r\n\r\n",
        "POST /v2/keys/q HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n\
         5;x=y\r\nvalue\r\n2\r\n=1\r\n0\r\nTrailer: t\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\nGET /b HTTP/1.0\r\nHost: h\r\nAccept: */*\r\n\r\n\
         PUT /c HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\nPUT /c HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nContent-Length: 1\r\n\r\nx",
        "\r\nOPTIONS * HTTP/1.1\r\nHost: [::1]:4001\r\nConnection: keep-alive, close\r\n\r\n",
        "GET http://user@h:1/p%20q?x#y HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nCONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
    ])
}

pub(crate) fn keys() -> Vec<Vec<u8>> {
    texts(&[
        "\u{0}/v2/keys/a/b\u{0}recursive=true&sorted=true&quorum=false\u{0}\u{0}",
        "\u{1}/v2/keys/a\u{0}prevExist=false\u{0}application/x-www-form-urlencoded; charset=\"utf-8\"\u{0}value=a+b%20c&ttl=5&dir=false",
        "\u{1}/v2/keys/a\u{0}prevValue=x&prevIndex=7&refresh=true\u{0}application/x-www-form-urlencoded\u{0}value=&noValueOnSuccess=1",
        "\u{0}/v2//keys/%2e%2e/x\u{0}wait=true&waitIndex=18446744073709551615&stream=true\u{0}\u{0}",
        "\u{2}/v2/members\u{0}\u{0}application/json\u{0}{\"peerURLs\":[\"http://10.0.0.1:2380\",\"\\u00e9\\ud83d\\ude00\"],\"x\":[1.5e3,null,{}]}",
        "\u{3}/v2/keys/d\u{0}dir=true&recursive=true&prevIndex=1;2\u{0}\u{0}",
    ])
}

pub(crate) fn replies() -> Vec<Vec<u8>> {
    let body = r#"{"action":"get","node":{"key":"/_etcd/registry/x","dir":true,"nodes":[{"key":"/_etcd/registry/x/a1","value":"m=http://m:2380","modifiedIndex":9,"createdIndex":9}],"modifiedIndex":3,"createdIndex":3}}"#;
    let refusal = r#"{"errorCode":105,"message":"Key already exists","cause":"/x","index":12}"#;
    let sized = format!("HTTP/1.1 200 OK\r\nX-Etcd-Index: 9\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (first, second) = body.split_at(20);
    let chunked = format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    let until_close = format!("HTTP/1.0 412 Precondition Failed\r\n\r\n{refusal}");
    texts(&[&sized, &chunked, &until_close, body, refusal])
}

pub(crate) fn frames() -> Vec<Vec<u8>> {
    let entry = |index| Entry {
        index,
        term: 3,
        kind: EntryKind::Normal,
        data: batch().encode().into_bytes(),
        context: Bytes::new(),
    };
    let message =
        RaftMessage { entries: vec![entry(7), entry(8)], ..RaftMessage::new(2, MessageKind::Append, 1, 2, 3) };
    let frames: Vec<Frame> = vec![
        RaftBatch { messages: vec![message, RaftMessage::new(3, MessageKind::RequestVote, 1, 2, 4)] }.into(),
        Frontier { term: 3, visible: 40, clock: NOW, positions: vec![7, 8, 9] }.into(),
        Forward { ticket: 1, process: 2, term: 3, shard: 1, command: batch().encode().into_bytes() }.into(),
        Confirm { ticket: 9 }.into(),
        Confirmed { ticket: 9, outcome: ConfirmOutcome::Refused("why".to_owned()) }.into(),
        Address { urls: vec!["http://a:2380".to_owned()] }.into(),
        SnapshotBegin { transfer: 1, group: 2, index: 3, term: 4 }.into(),
        SnapshotChunk::new(1, 2, 0, Bytes::from_static(b"a piece of a state")).into(),
        SnapshotAck { transfer: 1, group: 2, next: 1, outcome: SnapshotOutcome::Going }.into(),
        Frame::Alive,
    ];
    let encoded = |frames: &[Frame]| {
        let mut out = Vec::new();
        for frame in frames {
            frame.encode(&mut out).expect("within the limits");
        }
        out
    };
    let mut inputs: Vec<Vec<u8>> = frames.chunks(1).map(encoded).collect();
    inputs.push(encoded(&frames));
    inputs
}

fn commands() -> Vec<Command> {
    let path = |name: &str| format!("/d/{name}").into_bytes();
    let set = |name, ttl| Command::Set { path: path(name), value: b"value".to_vec(), dir: false, ttl, refresh: false };
    vec![
        set("a", None),
        set("b", Some(5)),
        Command::Create { path: path("q"), value: b"1".to_vec(), dir: false, ttl: None, in_order: true },
        Command::CompareAndSwap {
            path: path("a"),
            value: b"2".to_vec(),
            ttl: None,
            refresh: false,
            prev_value: Some(b"value".to_vec()),
            prev_index: 0,
        },
        Command::Delete { path: path("b"), dir: false, recursive: false },
        Command::Rebase { by_ns: -5 },
    ]
}

fn batch() -> Batch {
    let numbered = |(offset, command)| Numbered { offset, command, origin: 4, process: 9 };
    Batch { first: 11, now: NOW, commands: (0..).zip(commands()).map(numbered).collect() }
}

pub(crate) fn batches() -> Vec<Vec<u8>> {
    let one =
        |command| Batch { first: 1, now: NOW, commands: vec![Numbered { offset: 3, command, origin: 0, process: 0 }] };
    let all = commands().into_iter().map(one).chain([batch()]);
    all.map(|batch| batch.encode().as_bytes().to_vec()).collect()
}

/// What follows the header's block: formatted blocks with a few batches.
pub(crate) fn segments() -> Vec<Vec<u8>> {
    let group = GroupId::new(1);
    let payload = batch().encode();
    let entry = |index, payload| Record::Entry {
        group,
        term: 2,
        index: RaftIndex::new(index),
        entry_type: EntryType::Normal,
        first: index,
        count: 1,
        payload,
    };
    let position = Position { index: RaftIndex::new(1), term: 1 };
    let state = HardState { term: 2, vote: 7, commit: RaftIndex::new(2) };
    let long = [7; 5000];
    let batches: [&[Record<'_>]; 4] = [
        &[Record::SnapshotMark { group, position }, Record::LogEnd { group, last: position }],
        &[entry(2, payload.as_bytes()), Record::HardState { group, state }],
        &[entry(3, &long), Record::Frontier { group, visible: 3, clock: NOW }],
        &[entry(3, b"again"), Record::SnapshotReceived { group: GroupId::new(2), position }],
    ];
    (0..=batches.len()).map(|count| segment(&batches[..count])).collect()
}

fn segment(batches: &[&[Record<'_>]]) -> Vec<u8> {
    const BLOCKS: u32 = 8;
    let header = header(BLOCKS);
    let mut bytes = vec![0; header.size_bytes() as usize];
    for (block, number) in bytes.chunks_exact_mut(BLOCK).zip(0..) {
        format_block(block, header.seed(), number, header.birth);
    }
    let mut block = 1;
    for (records, seq) in batches.iter().zip(header.first_batch.get()..) {
        let mut builder = BatchBuilder::default();
        records.iter().for_each(|record| _ = builder.push(record));
        let blocks = builder.blocks();
        let (life, seq) = (SegmentSeq::new(header.seq.get()), BatchSeq::new(seq));
        let place = BatchPlace { seed: header.seed(), life, block, seq, synced_upto: seq.previous() };
        let begin = block as usize * BLOCK;
        builder.finish(&place, &mut bytes[begin..begin + blocks * BLOCK]);
        block += blocks as u32;
    }
    bytes.split_off(BLOCK)
}

pub(crate) fn flags() -> Vec<Vec<u8>> {
    let parts = |args: &[&str], env: &[&str], file: &str| {
        [args.join("\0").as_bytes(), env.join("\0").as_bytes(), file.as_bytes()].join(&0xff)
    };
    vec![
        parts(
            &[
                "-name",
                "m1",
                "--listen-client-urls=http://127.0.0.1:2379,unix://localhost:4001",
                "--advertise-client-urls=http://m1:2379",
                "--initial-cluster=m1=http://m1:2380,m2=http://[::1]:2380",
                "--initial-advertise-peer-urls=http://m1:2380",
                "--heartbeat-interval=0x64",
                "-election-timeout",
                "1_000",
                "--cores=0,2-3",
                "--shards=8",
                "--cors=*,http://a.b",
                "--debug=T",
                "--log-package-levels=a=DEBUG,*=INFO",
            ],
            &["ETCD_SNAPSHOT_COUNT=5", "ETCD_NAME=x", "ETCD_UNKNOWN=1", "PATH=/bin"],
            "",
        ),
        parts(&["--discovery=https://d/t", "--discovery-fallback=exit", "--auto-compaction-retention=1h"], &[], ""),
        parts(&["-addr=10.0.0.1:4001", "-peer-bind-addr=10.0.0.1:7001", "-snapshot", "-proxy", "readonly"], &[], ""),
        parts(&["--mend-from=a,b", "--mend-dry-run", "--scrub-rate=0", "--spin-us=7"], &["ETCD_CORES=2"], ""),
        parts(&["--version"], &[], ""),
        parts(&["--name=a", "-h"], &[], ""),
        parts(
            &[],
            &["ETCD_CONFIG_FILE=c.yml"],
            "# a comment\nname: 'm'\nshards: 0x10\ndebug: yes\ncors:\n  - http://a\n  - http://b\npeer-transport-security: {auto-tls: off}\n\
             client-transport-security:\n  cert-file: |\n    c\ninitial-cluster: &c m=http://m:2380\ninitial-cluster-token: *c\n",
        ),
        parts(&["--config-file=c"], &[], include_str!("../../uetcd.yml")),
    ]
}

/// Whole files, and the chunks of their states alone.
pub(crate) fn snapshots() -> Vec<Vec<u8>> {
    let mut store = Store::new(HistoryLimits::default());
    for command in commands() {
        // Some are refused: that changes nothing, and is a state like any other.
        let _ = store.apply(store.applied().next(), NOW, &CommandRef::from(&command));
    }
    let framed = |store: &Store| -> Vec<u8> {
        store.snapshot().flat_map(|chunk| [&(chunk.len() as u64).to_le_bytes()[..], &chunk].concat()).collect()
    };
    let chunks = [framed(&Store::new(HistoryLimits::default())), framed(&store)];
    let file = |chunks: &Vec<u8>| {
        let position = Position { index: RaftIndex::new(9), term: 2 };
        let mut out = Vec::new();
        let mut encoder = SnapshotEncoder::new(SnapshotHead { group: GroupId::new(1), position }, &mut out);
        chunks.chunks(SNAPSHOT_CHUNK_MAX.min(300)).for_each(|piece| encoder.chunk(piece, &mut out));
        encoder.finish(&mut out);
        out
    };
    let files: Vec<Vec<u8>> = chunks.iter().map(file).collect();
    chunks.into_iter().chain(files).collect()
}
