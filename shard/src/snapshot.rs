//! A shard's state as bytes, and back.
//!
//! A snapshot is a sequence of chunks, each an rkyv archive of its own:
//!
//! ```text
//! head | nodes ... | events ... | end
//! ```
//!
//! `nodes` are the tree in order, a directory before what is in it, each with its depth instead of its full path;
//! `events` are the history, oldest first; `end` carries the counts and the digest of the state, so that a sequence
//! that is cut, reordered or mixed with another one is noticed whatever the transport. Checksums of the bytes are the
//! business of whoever stores or sends them. The same state gives the same bytes.

mod image;
mod restore;
mod write;

pub use restore::Restore;
pub use write::SnapshotChunks;

use crate::group::Members;
use crate::hash::Digest;
use crate::ids::Index;
use crate::path;
use crate::stats::Stats;
use crate::system::System;
use crate::tree::{At, Cursor, Dir, File, Place, Scope, Tree};
use crate::ttl::{Deadline, Timeline};

/// Version of the chunks' layout. A reader refuses any other.
pub const FORMAT: u32 = 2;

/// Chunks are closed at this size, in bytes: large enough for few calls, small enough that making one is a slice of a
/// turn. Only a chunk with a single node or event of nearly this size or more is larger.
pub const CHUNK_BYTES: usize = 256 << 10;

/// What a snapshot says before the nodes.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) applied: Index,
    pub(crate) timeline: Timeline,
    pub(crate) system: System,
    pub(crate) stats: Stats,
    /// Of the shard's group.
    pub(crate) members: Members,
    /// The greatest clock of the batches in it.
    pub(crate) clock: u64,
    /// Of the root.
    pub(crate) changed: Index,
}

/// See [`crate::store::Store::digest`].
pub(crate) fn digest(tree: &Tree, timeline: Timeline, system: &System) -> u64 {
    let mut digest = start_digest(tree.root().changed, timeline, system);
    let mut cursor = Cursor::new(tree.root(), path::ROOT, Scope::ALL);
    let mut depth = 1;
    while let Some(place) = cursor.step() {
        match place {
            Place::Enter(At { name, .. }, dir) => {
                digest_dir(&mut digest, depth, name, dir);
                depth += 1;
            }
            Place::File(At { name, .. }, file) => digest_file(&mut digest, depth, name, file),
            Place::Leave => depth -= 1,
        }
    }
    digest.value()
}

/// The digest of all but the nodes.
fn start_digest(changed: Index, timeline: Timeline, system: &System) -> Digest {
    let mut digest = Digest::default();
    digest.number(changed.0);
    digest.number(timeline.offset_ns() as u64);
    digest.number(system.members().len() as u64);
    for (id, member) in system.members() {
        digest.number(id.0);
        digest.bytes(member.name.as_bytes());
        for urls in [&member.peer_urls, &member.client_urls] {
            digest.number(urls.len() as u64);
            for url in urls {
                digest.bytes(url.as_bytes());
            }
        }
    }
    digest.number(system.removed().len() as u64);
    for id in system.removed() {
        digest.number(id.0);
    }
    digest.bytes(system.cluster_version().unwrap_or_default().as_bytes());
    digest
}

fn digest_dir(digest: &mut Digest, depth: u32, name: &[u8], dir: &Dir) {
    digest_node(digest, (depth, true), name, [dir.created, dir.modified, dir.told], dir.deadline);
    digest.number(dir.changed.0);
}

fn digest_file(digest: &mut Digest, depth: u32, name: &[u8], file: &File) {
    digest_node(digest, (depth, false), name, [file.created, file.modified, file.told], file.deadline);
    digest.bytes(&file.value);
}

fn digest_node(
    digest: &mut Digest,
    (depth, dir): (u32, bool),
    name: &[u8],
    indices: [Index; 3],
    deadline: Option<Deadline>,
) {
    digest.number(u64::from(depth) << 1 | u64::from(dir));
    digest.bytes(name);
    for index in indices {
        digest.number(index.0);
    }
    digest.number(deadline.map_or(0, Deadline::ns));
}
