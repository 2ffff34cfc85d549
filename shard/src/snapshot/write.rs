//! Making chunks, one at a time.

use super::image::{Chunk, EndImage, EventImage, HeadImage, MemberImage, NodeImage};
use super::{CHUNK_BYTES, FORMAT, Head, digest_dir, digest_file, start_digest};
use crate::hash::Digest;
use crate::history::History;
use crate::ids::{Index, MemberId};
use crate::path::ROOT;
use crate::system::Member;
use crate::tree::{At, Cursor, Place, Scope, Tree};
use crate::ttl::Timeline;
use mutant::Mutant;
use rkyv::rancor::{Panic, ResultExt as _};

/// The chunks of one snapshot. It holds the state of the moment it was made; each call makes one chunk.
#[derive(Debug)]
pub struct SnapshotChunks {
    stage: Stage,
    head: Head,
    cursor: Cursor,
    history: History,
    depth: u32,
    nodes: u64,
    events: u64,
    /// The last event written.
    upto: Index,
    digest: Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Nodes,
    Events,
    End,
    Done,
}

impl SnapshotChunks {
    pub(crate) fn new(head: Head, tree: &Tree, history: History) -> Self {
        let head = match head {
            head if mutant::is(Mutant::SnapshotWithoutTimeline) => Head { timeline: Timeline::default(), ..head },
            head => head,
        };
        let digest = start_digest(head.changed, head.timeline, &head.system);
        let cursor = Cursor::new(tree.root(), ROOT, Scope::ALL);
        let (depth, nodes, events, upto) = (1, 0, 0, Index::ZERO);
        Self { stage: Stage::Head, head, cursor, history, depth, nodes, events, upto, digest }
    }

    /// The last index that the state contains.
    pub fn applied(&self) -> Index {
        self.head.applied
    }

    /// Notes what the primary's clock reads now, if that is later than what the state was told: whoever starts from these
    /// chunks lets time go on from there.
    #[must_use]
    pub fn at_clock(mut self, clock: u64) -> Self {
        self.head.clock = self.head.clock.max(clock);
        self
    }

    fn head(&self) -> HeadImage {
        let system = &self.head.system;
        let members = Some(&self.head.members).filter(|_| !mutant::is(Mutant::SnapshotWithoutMembers));
        HeadImage {
            format: FORMAT,
            applied: self.head.applied.0,
            offset_ns: self.head.timeline.offset_ns(),
            changed: self.head.changed.0,
            cleared: self.history.cleared().0,
            clock: self.head.clock,
            voters: members.iter().flat_map(|members| &members.voters).map(|id| id.0).collect(),
            learners: members.iter().flat_map(|members| &members.learners).map(|id| id.0).collect(),
            stats: self.head.stats.named().map(|(_, count)| count),
            members: system.members().iter().map(member_image).collect(),
            removed: system.removed().iter().map(|id| id.0).collect(),
            version: system.cluster_version().map(str::to_owned),
        }
    }

    /// The next nodes, up to a chunk full; fewer only at the end.
    fn nodes(&mut self) -> Vec<NodeImage> {
        let (mut images, mut room) = (Vec::new(), CHUNK_BYTES);
        while room > 0
            && let Some(place) = self.cursor.step()
        {
            let image = match place {
                Place::Enter(At { name, .. }, dir) => {
                    digest_dir(&mut self.digest, self.depth, name, dir);
                    self.depth += 1;
                    NodeImage::of_dir(self.depth - 1, name, dir)
                }
                Place::File(At { name, .. }, _) if mutant::is(Mutant::SnapshotWithoutHidden) && name[0] == b'_' => {
                    continue;
                }
                Place::File(At { name, .. }, file) => {
                    digest_file(&mut self.digest, self.depth, name, file);
                    NodeImage::of_file(self.depth, name, file)
                }
                Place::Leave => {
                    self.depth -= 1;
                    continue;
                }
            };
            self.nodes += 1;
            room = room.saturating_sub(image.size_bytes());
            images.push(image);
        }
        images
    }

    /// The next events, up to a chunk full; fewer only at the end.
    fn events(&mut self) -> Vec<EventImage> {
        let (mut images, mut room) = (Vec::new(), CHUNK_BYTES);
        let first = if mutant::is(Mutant::SnapshotWithoutHistory) { Index(u64::MAX) } else { self.upto.next() };
        for event in self.history.from(first) {
            let image = EventImage::of(&event);
            self.events += 1;
            self.upto = event.index;
            room = room.saturating_sub(image.size_bytes());
            images.push(image);
            if room == 0 {
                break;
            }
        }
        images
    }
}

impl Iterator for SnapshotChunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let (chunk, next) = match self.stage {
                Stage::Head => (Chunk::Head(self.head()), Stage::Nodes),
                Stage::Nodes => match self.nodes() {
                    nodes if nodes.is_empty() => {
                        self.stage = Stage::Events;
                        continue;
                    }
                    nodes => (Chunk::Nodes(nodes), Stage::Nodes),
                },
                Stage::Events => match self.events() {
                    events if events.is_empty() => {
                        self.stage = Stage::End;
                        continue;
                    }
                    events => (Chunk::Events(events), Stage::Events),
                },
                Stage::End => {
                    let (nodes, events, digest) = (self.nodes, self.events, self.digest.value());
                    (Chunk::End(EndImage { nodes, events, digest }), Stage::Done)
                }
                Stage::Done => return None,
            };
            self.stage = next;
            let room = match chunk {
                Chunk::Nodes(_) | Chunk::Events(_) => 2 * CHUNK_BYTES,
                Chunk::Head(_) | Chunk::End(_) => 0,
            };
            return Some(rkyv::api::high::to_bytes_in::<_, Panic>(&chunk, Vec::with_capacity(room)).always_ok());
        }
    }
}

fn member_image((id, member): (&MemberId, &Member)) -> MemberImage {
    let Member { name, peer_urls, client_urls } = member.clone();
    MemberImage { id: id.0, name, peer_urls, client_urls }
}
