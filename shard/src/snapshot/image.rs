//! The archived form of a snapshot's chunks. Numbers are plain: 0 stands for "none" where that can be.

use crate::event::NodeView;
use crate::history::Record;
use crate::ids::Index;
use crate::tree::{Dir, File};
use crate::ttl::Deadline;
use crate::view::NodeRef;
use rkyv::{Archive, Serialize};
use std::rc::Rc;

#[derive(Archive, Serialize)]
#[allow(clippy::large_enum_variant, reason = "one at a time, and not for long")]
pub(super) enum Chunk {
    Head(HeadImage),
    Nodes(Vec<NodeImage>),
    Events(Vec<EventImage>),
    End(EndImage),
}

#[derive(Archive, Serialize)]
pub(super) struct HeadImage {
    pub(super) format: u32,
    pub(super) applied: u64,
    pub(super) offset_ns: i64,
    pub(super) changed: u64,
    pub(super) cleared: u64,
    pub(super) clock: u64,
    pub(super) voters: Vec<u64>,
    pub(super) learners: Vec<u64>,
    pub(super) stats: [u64; crate::stats::Stats::COUNTERS],
    pub(super) members: Vec<MemberImage>,
    pub(super) removed: Vec<u64>,
    pub(super) version: Option<String>,
}

#[derive(Archive, Serialize)]
pub(super) struct MemberImage {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) peer_urls: Vec<String>,
    pub(super) client_urls: Vec<String>,
}

#[derive(Archive, Serialize)]
pub(super) struct NodeImage {
    /// 1 for the root's children.
    pub(super) depth: u32,
    pub(super) name: Vec<u8>,
    pub(super) created: u64,
    pub(super) modified: u64,
    pub(super) told: u64,
    pub(super) deadline: u64,
    pub(super) kind: KindImage,
}

#[derive(Archive, Serialize)]
pub(super) enum KindImage {
    File { value: Vec<u8> },
    Dir { changed: u64 },
}

#[derive(Archive, Serialize)]
pub(super) struct EventImage {
    pub(super) action: u8,
    pub(super) index: u64,
    pub(super) key: Vec<u8>,
    pub(super) node: ViewImage,
    pub(super) prev: Option<ViewImage>,
    pub(super) refresh: bool,
}

#[derive(Archive, Serialize)]
pub(super) struct ViewImage {
    pub(super) value: Option<Vec<u8>>,
    pub(super) dir: bool,
    pub(super) expiration: Option<u64>,
    pub(super) ttl: i64,
    pub(super) modified: u64,
    pub(super) created: u64,
}

#[derive(Archive, Serialize)]
pub(super) struct EndImage {
    pub(super) nodes: u64,
    pub(super) events: u64,
    pub(super) digest: u64,
}

impl NodeImage {
    pub(super) fn of_dir(depth: u32, name: &[u8], dir: &Dir) -> Self {
        let kind = KindImage::Dir { changed: dir.changed.0 };
        Self::new(depth, name, [dir.created, dir.modified, dir.told], dir.deadline, kind)
    }

    pub(super) fn of_file(depth: u32, name: &[u8], file: &File) -> Self {
        let kind = KindImage::File { value: file.value.to_vec() };
        Self::new(depth, name, [file.created, file.modified, file.told], file.deadline, kind)
    }

    fn new(depth: u32, name: &[u8], indices: [Index; 3], deadline: Option<Deadline>, kind: KindImage) -> Self {
        let [created, modified, told] = indices.map(|index| index.0);
        Self { depth, name: name.to_vec(), created, modified, told, deadline: deadline.map_or(0, Deadline::ns), kind }
    }

    /// Room it takes in a chunk, roughly.
    pub(super) fn size_bytes(&self) -> usize {
        let value = match &self.kind {
            KindImage::File { value } => value.len(),
            KindImage::Dir { .. } => 0,
        };
        size_of::<ArchivedNodeImage>() + self.name.len() + value
    }
}

impl EventImage {
    pub(super) fn of(event: &Record<'_>) -> Self {
        Self {
            action: event.action as u8,
            index: event.index.0,
            key: event.node.key.to_vec(),
            node: ViewImage::of(&event.node),
            prev: event.prev.as_ref().map(ViewImage::of),
            refresh: event.refresh,
        }
    }

    /// Room it takes in a chunk, roughly.
    pub(super) fn size_bytes(&self) -> usize {
        let values = [Some(&self.node), self.prev.as_ref()].into_iter().flatten();
        let values = values.map(|view| view.value.as_ref().map_or(0, Vec::len)).sum::<usize>();
        size_of::<ArchivedEventImage>() + self.key.len() + values
    }
}

impl ViewImage {
    fn of(view: &NodeRef<'_>) -> Self {
        Self {
            value: view.value.map(<[u8]>::to_vec),
            dir: view.dir,
            expiration: view.expiration,
            ttl: view.ttl,
            modified: view.modified.0,
            created: view.created.0,
        }
    }
}

impl ArchivedViewImage {
    pub(super) fn view(&self, key: &Rc<[u8]>) -> NodeView {
        NodeView {
            key: Rc::clone(key),
            value: self.value.as_ref().map(|value| Rc::from(value.as_slice())),
            dir: self.dir,
            expiration: self.expiration.as_ref().map(|ns| ns.to_native()),
            ttl: self.ttl.to_native(),
            modified: Index(self.modified.to_native()),
            created: Index(self.created.to_native()),
        }
    }
}
