//! What a command does once nothing speaks against it.

use super::recent::{Recent, Spot};
use super::{Outcome, Store};
use crate::command::CommandRef;
use crate::event::{Action, Event, NodeView};
use crate::ids::Index;
use crate::path;
use crate::tree::{Cursor, Dir, File, Node, Scope};
use crate::ttl::{Deadline, Due};
use crate::view::{Lens, NodeHandle};
use mutant::Mutant;
use std::rc::Rc;

/// The place and time of a change, and what is to come of it.
struct Change<'a> {
    action: Action,
    index: Index,
    lens: Lens,
    path: &'a [u8],
    /// Where the file of this path may be remembered.
    spot: Option<Spot>,
    value: &'a [u8],
    dir: bool,
    ttl: Option<u64>,
    /// Keeps the value, and is told to nobody.
    refresh: bool,
}

impl Store {
    /// Carries out a client's command that [`check`](Self::check) has just passed.
    pub(super) fn write(&mut self, index: Index, now: u64, command: &CommandRef<'_>, spot: Option<Spot>) -> Outcome {
        let lens = Lens { timeline: self.timeline, now };
        let change = |action, path| Change { spot, ..Change::at(action, index, lens, path) };
        match *command {
            CommandRef::Set { path, value, dir, ttl, refresh } => {
                self.put(&Change { value, dir, ttl, refresh, ..change(Action::Set, path) })
            }
            CommandRef::Create { path, value, dir, ttl, .. } => {
                self.put(&Change { value, dir, ttl, ..change(Action::Create, path) })
            }
            CommandRef::Update { path, value, ttl, refresh } => {
                self.alter(&Change { value, ttl, refresh, ..change(Action::Update, path) })
            }
            CommandRef::CompareAndSwap { path, value, ttl, refresh, .. } => {
                self.alter(&Change { value, ttl, refresh, ..change(Action::CompareAndSwap, path) })
            }
            CommandRef::Delete { path, .. } => self.remove(&change(Action::Delete, path)),
            CommandRef::CompareAndDelete { path, .. } => self.remove(&change(Action::CompareAndDelete, path)),
            CommandRef::Expire { .. } | CommandRef::Rebase { .. } | CommandRef::System(_) => {
                unreachable!("carried out before")
            }
        }
    }

    /// Removes the node if it is the one whose time was up when the command was made, and its time is up: it may have been
    /// written since, or the timeline shifted.
    pub(super) fn expire(&mut self, index: Index, now: u64, path: &[u8], deadline: u64, created: u64) -> Outcome {
        let due = Deadline::from_ns(deadline)
            .filter(|deadline| self.timeline.is_due(*deadline, now))
            .map(|deadline| Due { deadline, path: path.into(), created: Index(created) });
        let anything = mutant::is(Mutant::ExpiresTheNewer) && self.get(path).is_ok();
        if !due.is_some_and(|due| self.is_current(&due)) && !anything {
            return Outcome::Nothing;
        }
        self.stats.count_expired();
        let lens = Lens { timeline: self.timeline, now };
        let spot = self.recent.spot_to_renew(path);
        self.remove(&Change { spot, ..Change::at(Action::Expire, index, lens, path) })
    }

    /// Puts a new node where nothing or a file is. Missing directories above it are made.
    fn put(&mut self, change: &Change<'_>) -> Outcome {
        let (key, deadline) = (Rc::<[u8]>::from(change.path), change.deadline());
        let (dir, name) = path::split_last(change.path).unwrap_or_else(|| unreachable!("checked before: not the root"));
        let siblings = &mut self.tree.dir_mut(dir, change.index, !change.refresh).children;
        let mut event = None;
        let old = siblings.put(name, |old| {
            let node = change.new_node(deadline, old);
            change.renew(&mut self.recent, node.file());
            event = Some(change.event(&key, &node));
            node
        });
        if let Some(old) = &old {
            self.forget_deadline(&key, old.deadline(), old.created());
        }
        self.note_deadline(&key, deadline, change.index);
        let prev = old.map(|old| change.lens.prev(&key, &old));
        let Some(event) = event else { unreachable!("something was put there") };
        changed(Event { prev, ..event })
    }

    /// Changes a node that exists: a file's value and TTL, or a directory's TTL.
    fn alter(&mut self, change: &Change<'_>) -> Outcome {
        let (key, deadline) = (Rc::<[u8]>::from(change.path), change.deadline());
        let node = self.tree.node_mut(change.path, change.index, !change.refresh);
        let prev = change.lens.prev(&key, node);
        let (old, created) = (node.deadline(), node.created());
        match node {
            Node::File(file) => *file = File { created, ..change.new_file(deadline, Some(file)) },
            // As in etcd 2.3, the directory's own `modified` stays.
            Node::Dir(dir) => {
                let dir = Rc::make_mut(dir);
                dir.deadline = deadline;
                dir.note(change.index, !change.refresh);
                dir.told = if change.refresh { dir.told } else { change.index };
            }
        }
        change.renew(&mut self.recent, node.file());
        let event = Event { prev: Some(prev), ..change.event(&key, node) };
        self.forget_deadline(&key, old, created);
        self.note_deadline(&key, deadline, created);
        changed(event)
    }

    /// Takes a node away, with all below it.
    fn remove(&mut self, change: &Change<'_>) -> Outcome {
        let key = Rc::<[u8]>::from(change.path);
        let node = self.tree.remove(change.path, change.index);
        match &node {
            Node::File(_) if mutant::is(Mutant::RemembersTheRemoved) => {}
            Node::File(_) => change.renew(&mut self.recent, None),
            Node::Dir(dir) if dir.children.is_empty() => {}
            Node::Dir(_) if mutant::is(Mutant::RemembersWhatWasBelow) => {}
            Node::Dir(_) => self.recent.forget_all(),
        }
        self.forget_deadline(&key, node.deadline(), node.created());
        if let Node::Dir(dir) = &node
            && !dir.children.is_empty()
            && !self.deadlines.is_empty()
        {
            self.purges.push_back(Cursor::new(dir, &key, Scope::ALL));
        }
        let prev = change.lens.prev(&key, &node);
        let shown = NodeView {
            key,
            value: None,
            dir: prev.dir,
            expiration: None,
            ttl: 0,
            modified: change.index,
            created: prev.created,
        };
        let event = Event { action: change.action, index: change.index, node: shown, prev: Some(prev), refresh: false };
        let removed = event.node.dir.then(|| NodeHandle::new(node, self.timeline));
        Outcome::Event { event: Rc::new(event), removed }
    }

    fn note_deadline(&mut self, key: &Rc<[u8]>, deadline: Option<Deadline>, created: Index) {
        if let Some(deadline) = deadline {
            self.deadlines.insert(Due { deadline, path: Rc::clone(key), created });
        }
    }

    fn forget_deadline(&mut self, key: &Rc<[u8]>, deadline: Option<Deadline>, created: Index) {
        if let Some(deadline) = deadline {
            self.deadlines.remove(&Due { deadline, path: Rc::clone(key), created });
        }
    }
}

impl<'a> Change<'a> {
    fn at(action: Action, index: Index, lens: Lens, path: &'a [u8]) -> Self {
        Self { action, index, lens, path, spot: None, value: &[], dir: false, ttl: None, refresh: false }
    }

    /// What is remembered of the path is this from now on: the file, or nothing.
    fn renew(&self, recent: &mut Recent, file: Option<&File>) {
        match self.spot {
            Some(spot) if path::is_clean(self.path) => recent.renew(spot, file),
            // It may have been read under another name.
            Some(_) => recent.forget_all(),
            None => {}
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        self.ttl.map(|ttl| self.lens.timeline.deadline(self.lens.now, ttl))
    }

    fn new_node(&self, deadline: Option<Deadline>, old: Option<&Node>) -> Node {
        match old {
            _ if self.dir => Node::Dir(Rc::new(Dir::new(self.index, deadline))),
            Some(Node::File(old)) => Node::File(self.new_file(deadline, Some(old))),
            _ => Node::File(self.new_file(deadline, None)),
        }
    }

    /// A file as it is after this change; a refresh keeps the value and what watchers know.
    fn new_file(&self, deadline: Option<Deadline>, old: Option<&File>) -> File {
        let (value, told) = match old {
            Some(old) if self.refresh => (Rc::clone(&old.value), old.told),
            _ => (Rc::from(self.value), self.index),
        };
        File { value, created: self.index, modified: self.index, told, deadline }
    }

    /// The event of a write that left `node`, without what was before.
    fn event(&self, key: &Rc<[u8]>, node: &Node) -> Event {
        let shown = NodeView { modified: self.index, ..self.lens.prev(key, node) };
        Event { action: self.action, index: self.index, node: shown, prev: None, refresh: self.refresh }
    }
}

fn changed(event: Event) -> Outcome {
    Outcome::Event { event: Rc::new(event), removed: None }
}
