//! Reading chunks, which may come from a damaged disk or a confused peer: nothing in them is taken on trust.

use super::image::{
    ArchivedChunk, ArchivedEndImage, ArchivedEventImage, ArchivedHeadImage, ArchivedKindImage, ArchivedMemberImage,
    ArchivedNodeImage,
};
use super::{FORMAT, digest_dir, digest_file, start_digest};
use crate::error::Error;
use crate::event::{Action, Event};
use crate::group::Members;
use crate::hash::Digest;
use crate::history::{History, HistoryLimits};
use crate::ids::{Index, MemberId};
use crate::path;
use crate::stats::Stats;
use crate::store::{Parts, Store};
use crate::system::{Member, System};
use crate::tree::{Children, Dir, File, Node, Tree};
use crate::ttl::{Deadline, Deadlines, Due, Timeline};
use rkyv::rend::unaligned::u64_ule;
use rkyv::string::ArchivedString;
use rkyv::vec::ArchivedVec;
use std::rc::Rc;

/// A store in the making: feed it every chunk in order, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct Restore {
    limits: HistoryLimits,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Empty,
    Filling(Box<Filling>),
    Whole(Box<Parts>),
}

#[derive(Debug)]
struct Filling {
    applied: Index,
    timeline: Timeline,
    system: System,
    stats: Stats,
    members: Members,
    clock: u64,
    history: History,
    deadlines: Deadlines,
    /// The root, and the directories being filled below it, with their names.
    open: Vec<(Box<[u8]>, Dir)>,
    /// Of the innermost open directory.
    path: Vec<u8>,
    nodes: u64,
    events: u64,
    digest: Digest,
}

impl Restore {
    /// Expects a head.
    pub fn new(limits: HistoryLimits) -> Self {
        Self { limits, stage: Stage::Empty }
    }

    /// Takes the next chunk. After an error the whole attempt is to be given up.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let chunk = rkyv::access::<ArchivedChunk, rkyv::rancor::Error>(chunk).map_err(|e| damaged(&e.to_string()))?;
        match (&mut self.stage, chunk) {
            (Stage::Empty, ArchivedChunk::Head(head)) => {
                self.stage = Stage::Filling(Box::new(Filling::new(head, self.limits)?));
            }
            (Stage::Filling(filling), ArchivedChunk::Nodes(nodes)) => {
                nodes.iter().try_for_each(|node| filling.node(node))?;
            }
            (Stage::Filling(filling), ArchivedChunk::Events(events)) => {
                events.iter().try_for_each(|event| filling.event(event))?;
            }
            (Stage::Filling(_), ArchivedChunk::End(end)) => {
                if let Stage::Filling(filling) = std::mem::replace(&mut self.stage, Stage::Empty) {
                    self.stage = Stage::Whole(Box::new(filling.close(end)?));
                }
            }
            _ => return Err(damaged("a chunk out of place")),
        }
        Ok(())
    }

    /// The store, if the snapshot was whole.
    pub fn finish(self) -> Result<Store, Error> {
        match self.stage {
            Stage::Whole(parts) => Ok(Store::from_parts(*parts)),
            Stage::Empty | Stage::Filling(_) => Err(damaged("it ends too early")),
        }
    }
}

impl Filling {
    fn new(head: &ArchivedHeadImage, limits: HistoryLimits) -> Result<Self, Error> {
        if head.format != FORMAT {
            return Err(damaged(&format!("format {}, known is {FORMAT}", head.format)));
        }
        let system = System::from_parts(
            head.members.iter().map(member).collect(),
            head.removed.iter().map(|id| MemberId(id.to_native())).collect(),
            head.version.as_ref().map(ToString::to_string),
        );
        let system = system.ok_or_else(|| damaged("a member is also removed"))?;
        let timeline = Timeline::new(head.offset_ns.to_native());
        let changed = Index(head.changed.to_native());
        let mut root = Dir::default();
        root.changed = changed;
        Ok(Self {
            applied: Index(head.applied.to_native()),
            timeline,
            stats: Stats::from_counts(std::array::from_fn(|n| head.stats[n].to_native())),
            members: Members::from_ids(ids(&head.voters), ids(&head.learners)),
            clock: head.clock.to_native(),
            history: History::new(limits, Index(head.cleared.to_native())),
            deadlines: Deadlines::default(),
            open: vec![(Box::from(path::ROOT), root)],
            path: path::ROOT.to_vec(),
            nodes: 0,
            events: 0,
            digest: start_digest(changed, timeline, &system),
            system,
        })
    }

    fn node(&mut self, image: &ArchivedNodeImage) -> Result<(), Error> {
        let depth = image.depth.to_native();
        if depth == 0 || self.open.len() < depth as usize {
            return Err(damaged("a node in no directory"));
        }
        while self.open.len() > depth as usize {
            self.close_dir();
        }
        let name = image.name.as_slice();
        self.check_name(name)?;
        let [created, modified, told] = [image.created, image.modified, image.told].map(|n| Index(n.to_native()));
        if created.max(modified).max(told) > self.applied {
            return Err(damaged("a node from the future"));
        }
        let deadline = Deadline::from_ns(image.deadline.to_native());
        if let Some(deadline) = deadline {
            let path = Rc::from(path::join(&self.path, name));
            self.deadlines.insert(Due { deadline, path, created });
        }
        self.nodes += 1;
        match &image.kind {
            ArchivedKindImage::File { value } => {
                let file = File { value: Rc::from(value.as_slice()), created, modified, told, deadline };
                digest_file(&mut self.digest, depth, name, &file);
                self.siblings().insert(name, Node::File(file));
            }
            ArchivedKindImage::Dir { changed } => {
                let mut dir = Dir::new(created, deadline);
                (dir.modified, dir.told, dir.changed) = (modified, told, Index(changed.to_native()));
                digest_dir(&mut self.digest, depth, name, &dir);
                self.open.push((Box::from(name), dir));
                path::push(&mut self.path, name);
            }
        }
        Ok(())
    }

    fn event(&mut self, image: &ArchivedEventImage) -> Result<(), Error> {
        let index = Index(image.index.to_native());
        let newest = self.history.newest();
        let action = Action::ALL.get(usize::from(image.action));
        let (Some(action), true) = (action, newest < index && index <= self.applied) else {
            return Err(damaged("an event out of order"));
        };
        let key = Rc::from(image.key.as_slice());
        let prev = image.prev.as_ref().map(|prev| prev.view(&key));
        let node = image.node.view(&key);
        self.events += 1;
        self.history.push(&Event { action: *action, index, node, prev, refresh: image.refresh });
        Ok(())
    }

    fn close(mut self, end: &ArchivedEndImage) -> Result<Parts, Error> {
        while self.open.len() > 1 {
            self.close_dir();
        }
        let Some((_, root)) = self.open.pop() else { unreachable!("the root is never closed") };
        if end.nodes != self.nodes || end.events != self.events || end.digest != self.digest.value() {
            return Err(damaged("it does not add up to its own digest"));
        }
        let Self { applied, timeline, system, stats, members, clock, history, deadlines, .. } = self;
        Ok(Parts { tree: Tree::new(root), timeline, deadlines, history, system, stats, members, clock, applied })
    }

    /// Names within a directory must be names, and grow.
    fn check_name(&mut self, name: &[u8]) -> Result<(), Error> {
        let grows = self.siblings().last_name().is_none_or(|last| last < name);
        if name.is_empty() || name.contains(&b'/') || !grows {
            return Err(damaged("a directory out of order"));
        }
        Ok(())
    }

    fn siblings(&mut self) -> &mut Children {
        let Some((_, dir)) = self.open.last_mut() else { unreachable!("the root is never closed") };
        &mut dir.children
    }

    fn close_dir(&mut self) {
        let Some((name, dir)) = self.open.pop() else { unreachable!("the root is never closed") };
        let up = path::split_last(&self.path).map_or(path::ROOT, |(up, _)| up).len();
        self.path.truncate(up);
        self.siblings().insert(&name, Node::Dir(Rc::new(dir)));
    }
}

fn ids(image: &ArchivedVec<u64_ule>) -> impl Iterator<Item = MemberId> {
    image.iter().map(|id| MemberId(id.to_native()))
}

fn member(image: &ArchivedMemberImage) -> (MemberId, Member) {
    let strings = |urls: &[_]| urls.iter().map(ArchivedString::to_string).collect();
    let (peer_urls, client_urls) = (strings(&image.peer_urls), strings(&image.client_urls));
    (MemberId(image.id.to_native()), Member { name: image.name.to_string(), peer_urls, client_urls })
}

fn damaged(what: &str) -> Error {
    Error::Snapshot(what.into())
}
