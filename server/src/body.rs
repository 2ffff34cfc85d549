//! JSON bodies of the key space: events, nodes, listings, errors. Members and their order are etcd 2.3's to the byte.

use net::json;
use shard::event::{Event, NodeView};
use shard::ids::Index;
use shard::path::ROOT;
use shard::refusal::Refusal;
use shard::view::{NodeHandle, NodeRef, Step};

/// Nodes encoded between two yields of a listing, and bytes: some tens of microseconds.
const NODES_PER_SLICE: usize = 256;
const BYTES_PER_SLICE: usize = 128 << 10;

/// How a listing goes on while it is put into words.
pub(crate) trait Pace {
    /// Gives others their turn, with so many bytes in memory so far. False: there is no room for more.
    async fn goes_on(&mut self, bytes: usize) -> bool;
}

/// What is encoded of a listing until others have their turn.
struct Slice {
    nodes: usize,
    upto: usize,
}

impl Slice {
    /// One that begins with so many bytes.
    fn from(bytes: usize) -> Self {
        Self { nodes: 0, upto: bytes + BYTES_PER_SLICE }
    }

    /// Whether the next node, with which there are so many bytes, belongs to another one; if so, this is that.
    fn ends(&mut self, bytes: usize) -> bool {
        self.nodes += 1;
        let ends = self.nodes == NODES_PER_SLICE || bytes >= self.upto;
        if ends {
            *self = Self::from(bytes);
        }
        ends
    }
}

/// Appends an event: what the writer is answered, and what watchers get.
pub(crate) fn event(event: &Event, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"action\":\"");
    out.extend_from_slice(event.action.name().as_bytes());
    out.extend_from_slice(b"\",\"node\":");
    view(&event.node, out);
    if let Some(prev) = &event.prev {
        out.extend_from_slice(b",\"prevNode\":");
        view(prev, out);
    }
    out.extend_from_slice(b"}\n");
}

/// About how long the event's body will be.
pub(crate) fn event_size_hint(event: &Event) -> usize {
    let node = |view: &NodeView| 128 + view.key.len() + view.value.as_ref().map_or(0, |value| value.len());
    node(&event.node) + event.prev.as_ref().map_or(0, node)
}

/// Appends the answer to a read of a file.
pub(crate) fn file(node: &NodeHandle, path: &[u8], now: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"action\":\"get\",\"node\":");
    whole(&node.view(path, now), out);
    out.extend_from_slice(b"}\n");
}

/// The answer to a read of a directory. Encoded in slices: however large it is, the executor goes on with other work. None: there was no room
/// for it.
pub(crate) async fn directory(
    node: &NodeHandle,
    path: &[u8],
    now: u64,
    recursive: bool,
    pace: &mut impl Pace,
) -> Option<Vec<u8>> {
    let mut listing = Listing::default();
    listing.out.extend_from_slice(b"{\"action\":\"get\",\"node\":");
    listing.enter(&node.view(path, now));
    let mut walk = node.walk(path, now, recursive);
    let mut slice = Slice::from(0);
    while let Some(step) = walk.step() {
        let with_it = listing.out.len() + value_bytes(&step);
        if slice.ends(with_it) && !pace.goes_on(with_it).await {
            return None;
        }
        listing.step(&step);
    }
    listing.leave();
    listing.out.extend_from_slice(b"}\n");
    Some(listing.out)
}

/// Children of the root: key and JSON of each.
#[derive(Debug, Default)]
pub(crate) struct Children {
    pub(crate) all: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

/// Appends the children of one shard's part of the root. False: there was no room for them.
pub(crate) async fn children_of_root(
    root: &NodeHandle,
    now: u64,
    recursive: bool,
    children: &mut Children,
    pace: &mut impl Pace,
) -> bool {
    let mut walk = root.walk(ROOT, now, recursive);
    let mut listing = Listing::default();
    let mut key = Vec::new();
    let mut slice = Slice::from(children.bytes);
    while let Some(step) = walk.step() {
        if let (true, Step::Enter(node) | Step::File(node)) = (listing.levels.is_empty(), &step) {
            key = node.key.to_vec();
        }
        let with_it = children.bytes + listing.out.len() + value_bytes(&step);
        if slice.ends(with_it) && !pace.goes_on(with_it).await {
            return false;
        }
        listing.step(&step);
        if listing.levels.is_empty() {
            children.bytes += key.len() + listing.out.len();
            children.all.push((std::mem::take(&mut key), std::mem::take(&mut listing.out)));
        }
    }
    true
}

/// Bytes of the value that a step of a listing adds.
fn value_bytes(step: &Step<'_>) -> usize {
    match step {
        Step::File(node) => node.value.map_or(0, <[u8]>::len),
        Step::Enter(_) | Step::Leave => 0,
    }
}

/// The answer to a read of the root, from the parts of all shards in the order of their keys.
pub(crate) fn root(parts: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    let size: usize = parts.iter().map(|(_, json)| json.len() + 1).sum();
    let mut out = Vec::with_capacity(size + 64);
    out.extend_from_slice(b"{\"action\":\"get\",\"node\":{\"dir\":true");
    let is_empty = parts.is_empty();
    for (at, (_, json)) in parts.into_iter().enumerate() {
        out.extend_from_slice(if at == 0 { b",\"nodes\":[" } else { b"," });
        out.extend_from_slice(&json);
    }
    out.extend_from_slice(if is_empty { b"}}\n" } else { b"]}}\n" });
    out
}

/// Appends an error of the key space.
pub(crate) fn refusal(refusal: &Refusal, index: Index, out: &mut Vec<u8>) {
    error(refusal.code.number(), refusal.code.message(), &refusal.cause, index, out);
}

/// Appends an error of the key space from its parts.
pub(crate) fn error(code: u16, message: &str, cause: &[u8], index: Index, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"errorCode\":");
    json::push_u64(out, u64::from(code));
    out.extend_from_slice(b",\"message\":");
    json::push_string(out, message.as_bytes());
    if !cause.is_empty() {
        out.extend_from_slice(b",\"cause\":");
        json::push_string(out, cause);
    }
    out.extend_from_slice(b",\"index\":");
    json::push_u64(out, index.0);
    out.extend_from_slice(b"}\n");
}

fn view(node: &NodeView, out: &mut Vec<u8>) {
    let node = NodeRef {
        key: &node.key,
        value: node.value.as_deref(),
        dir: node.dir,
        expiration: node.expiration,
        ttl: node.ttl,
        modified: node.modified,
        created: node.created,
    };
    whole(&node, out);
}

fn whole(node: &NodeRef<'_>, out: &mut Vec<u8>) {
    begin(node, out);
    end((node.modified, node.created), out);
}

/// Everything up to where `nodes` stands.
fn begin(node: &NodeRef<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'{');
    if node.key != ROOT {
        out.extend_from_slice(b"\"key\":");
        json::push_string(out, node.key);
    }
    if let Some(value) = node.value {
        out.extend_from_slice(b",\"value\":");
        json::push_string(out, value);
    }
    if node.dir {
        // Only the root has no key before it.
        out.extend_from_slice(if out.len() == start + 1 { b"\"dir\":true" } else { b",\"dir\":true" });
    }
    if let Some(expiration) = node.expiration {
        out.extend_from_slice(b",\"expiration\":\"");
        json::push_time(out, expiration as i64);
        out.push(b'"');
        if node.ttl != 0 {
            out.extend_from_slice(b",\"ttl\":");
            json::push_i64(out, node.ttl);
        }
    }
}

/// Everything from behind where `nodes` stands.
fn end((modified, created): (Index, Index), out: &mut Vec<u8>) {
    if modified != Index::ZERO {
        out.extend_from_slice(b",\"modifiedIndex\":");
        json::push_u64(out, modified.0);
    }
    if created != Index::ZERO {
        out.extend_from_slice(b",\"createdIndex\":");
        json::push_u64(out, created.0);
    }
    out.push(b'}');
}

/// Encodes the steps of a walk.
#[derive(Default)]
struct Listing {
    out: Vec<u8>,
    levels: Vec<Level>,
}

/// A directory that has been begun.
struct Level {
    indices: (Index, Index),
    /// A child was written, so the list is open.
    children: bool,
}

impl Listing {
    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Enter(node) => self.enter(node),
            Step::File(node) => {
                self.child();
                whole(node, &mut self.out);
            }
            Step::Leave => self.leave(),
        }
    }

    fn enter(&mut self, node: &NodeRef<'_>) {
        self.child();
        begin(node, &mut self.out);
        self.levels.push(Level { indices: (node.modified, node.created), children: false });
    }

    fn leave(&mut self) {
        let Some(level) = self.levels.pop() else { panic!("a walk left a directory that it had not entered") };
        if level.children {
            self.out.push(b']');
        }
        end(level.indices, &mut self.out);
    }

    fn child(&mut self) {
        if let Some(parent) = self.levels.last_mut() {
            let first = !std::mem::replace(&mut parent.children, true);
            self.out.extend_from_slice(if first { b",\"nodes\":[" } else { b"," });
        }
    }
}
