//! Reading a subtree in order, step by step, from a version of it that later writes do not touch.

use super::children::{Block, Entry};
use super::node::{Dir, File, Node};
use crate::path;
use std::rc::Rc;

/// Where a cursor stands.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// A directory; what is below it comes next.
    Enter(At<'a>, &'a Rc<Dir>),
    /// A file.
    File(At<'a>, &'a File),
    /// The end of the directory entered last.
    Leave,
}

/// Full path of a node, and the last component of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) name: &'a [u8],
}

/// Which nodes a cursor visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Go below directories; otherwise they are entered and left at once.
    pub(crate) recursive: bool,
    /// Visit names that listings leave out.
    pub(crate) hidden: bool,
}

impl Scope {
    /// Everything.
    pub(crate) const ALL: Self = Self { recursive: true, hidden: true };
}

#[derive(Clone, Debug)]
enum Frame {
    /// A block, and the next of its items to look at.
    Block(Rc<Block>, usize),
    /// The end of a directory; `path[..n]` is the directory it is in.
    Leave(usize),
}

/// The next place, found but not yet borrowed.
enum Next {
    Enter(Rc<Dir>),
    /// This entry of the leaf on top.
    File(usize),
    Leave,
}

/// Goes through all below one directory, names in bytewise order, on a stack of its own.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    frames: Vec<Frame>,
    path: Vec<u8>,
    /// `path[..base]` is the directory whose children are next.
    base: usize,
    name_at: usize,
    /// The directory shown last, kept while the caller looks at it.
    entered: Option<Rc<Dir>>,
    scope: Scope,
}

impl Cursor {
    /// Starts before the first child of `dir`, which is at `path`.
    pub(crate) fn new(dir: &Dir, path: &[u8], scope: Scope) -> Self {
        let frames = dir.children.root().map(|root| Frame::Block(Rc::clone(root), 0));
        Self {
            frames: Vec::from_iter(frames),
            path: path.to_vec(),
            base: path.len(),
            name_at: path.len(),
            entered: None,
            scope,
        }
    }

    /// The next place, until there is none.
    pub(crate) fn step(&mut self) -> Option<Place<'_>> {
        self.path.truncate(self.base);
        match self.advance()? {
            Next::Leave => Some(Place::Leave),
            Next::Enter(dir) => {
                let dir = self.entered.insert(dir);
                Some(Place::Enter(At { path: &self.path, name: &self.path[self.name_at..] }, dir))
            }
            Next::File(at) => {
                let (name, file) = file_on_top(&self.frames, at);
                path::push(&mut self.path, name);
                self.name_at = self.path.len() - name.len();
                Some(Place::File(At { path: &self.path, name: &self.path[self.name_at..] }, file))
            }
        }
    }

    fn advance(&mut self) -> Option<Next> {
        loop {
            match self.frames.last_mut()? {
                Frame::Leave(base) => {
                    self.base = *base;
                    self.frames.pop();
                    return Some(Next::Leave);
                }
                Frame::Block(block, next) => {
                    let at = *next;
                    *next += 1;
                    match &**block {
                        Block::Branch(children) if at < children.len() => {
                            let below = Frame::Block(Rc::clone(&children[at].block), 0);
                            self.frames.push(below);
                        }
                        Block::Leaf(entries) if at < entries.len() => {
                            let Entry { name, node } = &entries[at];
                            if !self.scope.hidden && path::is_hidden_name(name) {
                                continue;
                            }
                            return Some(match node {
                                Node::File(_) => Next::File(at),
                                Node::Dir(dir) => {
                                    let (name, dir) = (name.clone(), Rc::clone(dir));
                                    self.enter(&name, dir)
                                }
                            });
                        }
                        _ => drop(self.frames.pop()),
                    }
                }
            }
        }
    }

    fn enter(&mut self, name: &[u8], dir: Rc<Dir>) -> Next {
        self.frames.push(Frame::Leave(self.base));
        if self.scope.recursive
            && let Some(root) = dir.children.root()
        {
            self.frames.push(Frame::Block(Rc::clone(root), 0));
        }
        path::push(&mut self.path, name);
        self.base = self.path.len();
        self.name_at = self.base - name.len();
        Next::Enter(dir)
    }
}

fn file_on_top(frames: &[Frame], at: usize) -> (&[u8], &File) {
    if let Some(Frame::Block(block, _)) = frames.last()
        && let Block::Leaf(entries) = &**block
        && let Entry { name, node: Node::File(file) } = &entries[at]
    {
        return (name, file);
    }
    unreachable!("the cursor has just seen a file there")
}
