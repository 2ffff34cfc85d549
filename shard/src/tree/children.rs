//! A directory's children: a persistent B+ tree, sorted bytewise by name.
//!
//! Entries are in the leaves; a branch knows a lower bound of each block below it. Blocks are shared between versions
//! of the tree and copied when written while shared. Removal is relaxed: a block that has become small is joined with
//! a neighbour if both fit in one, and an empty one goes; blocks are not topped up from full neighbours. So height
//! stays logarithmic in the most children the directory ever had, and scans stay dense.

use super::node::Node;
use super::sorted::{Name, Named, Sorted, Sought};
use std::rc::Rc;

/// Most entries of a block. Copying a leaf under a snapshot costs this many reference counts, twice; a smaller one
/// would cost more pointers per key.
const FULL: usize = 32;
/// Fewer entries than this look for a neighbour to join.
const SMALL: usize = 8;
/// A joined block leaves room, or the next insert would split it again.
const JOINED_MAX: usize = 24;

/// The children of one directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    root: Option<Rc<Block>>,
    len: usize,
}

/// A node of the B+ tree. Invariants: never empty, sorted, at most [`FULL`] long; all leaves are equally deep.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    Leaf(Sorted<Entry>),
    Branch(Sorted<Child>),
}

/// A child of the directory.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) node: Node,
}

/// A block below a branch. Every name in it is at or after `from`, and before the next child's `from`.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    from: Name,
    pub(crate) block: Rc<Block>,
}

impl Named for Entry {
    fn name(&self) -> &[u8] {
        &self.name
    }
}

impl Named for Child {
    fn name(&self) -> &[u8] {
        &self.from
    }
}

/// What an insert did to a block.
enum Inserted {
    Replaced(Node),
    Fitted,
    /// The block was full: the upper part is now this one, to be put behind it.
    Split(Child),
}

impl Children {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The block to start reading from.
    pub(crate) fn root(&self) -> Option<&Rc<Block>> {
        self.root.as_ref()
    }

    /// Takes the blocks and leaves an empty directory.
    pub(super) fn take(&mut self) -> Option<Rc<Block>> {
        self.len = 0;
        self.root.take()
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&Node> {
        let name = Sought::new(name);
        let mut block = self.root.as_ref()?;
        loop {
            match &**block {
                Block::Leaf(entries) => return entries.find(name).ok().map(|at| &entries[at].node),
                Block::Branch(children) => block = &children[slot(children, name)].block,
            }
        }
    }

    pub(crate) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Node> {
        let name = Sought::new(name);
        let mut block = self.root.as_mut()?;
        loop {
            match Rc::make_mut(block) {
                Block::Leaf(entries) => {
                    return entries.find(name).ok().map(|at| &mut entries[at].node);
                }
                Block::Branch(children) => {
                    let at = slot(children, name);
                    block = &mut children[at].block;
                }
            }
        }
    }

    /// The greatest name.
    pub(crate) fn last_name(&self) -> Option<&[u8]> {
        let mut block = self.root.as_ref()?;
        loop {
            match &**block {
                Block::Leaf(entries) => return entries.last().map(|entry| &*entry.name),
                Block::Branch(children) => block = &children.last()?.block,
            }
        }
    }

    /// Puts `node` at `name` and returns what was there.
    pub(crate) fn insert(&mut self, name: &[u8], node: Node) -> Option<Node> {
        self.put(name, |_| node)
    }

    /// Puts at `name` what `make` makes of what is there, and returns that.
    pub(crate) fn put(&mut self, name: &[u8], make: impl FnOnce(Option<&Node>) -> Node) -> Option<Node> {
        let name = Sought::new(name);
        let Some(root) = self.root.as_mut() else {
            self.root = Some(Rc::new(Block::Leaf(Sorted::of(vec![Entry { name: name.to_name(), node: make(None) }]))));
            self.len = 1;
            return None;
        };
        match put_into(root, name, make, true) {
            Inserted::Replaced(old) => return Some(old),
            Inserted::Fitted => {}
            Inserted::Split(upper) => {
                let lower = Child { from: root.first_name(), block: Rc::clone(root) };
                *root = Rc::new(Block::Branch(Sorted::of(vec![lower, upper])));
            }
        }
        self.len += 1;
        None
    }

    /// Takes away what is at `name`.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Node> {
        let root = self.root.as_mut()?;
        let node = remove_from(root, Sought::new(name))?;
        self.len -= 1;
        while let Block::Branch(children) = &**root
            && let [only] = &**children
        {
            *root = Rc::clone(&only.block);
        }
        if root.len() == 0 {
            self.root = None;
        }
        assert_eq!(self.root.is_none(), self.len == 0, "the count of children is off");
        Some(node)
    }
}

impl Block {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Branch(children) => children.len(),
        }
    }

    fn first_name(&self) -> Name {
        match self {
            Self::Leaf(entries) => entries[0].name.clone(),
            Self::Branch(children) => children[0].from.clone(),
        }
    }
}

/// Which child of a branch `name` belongs to: the first one takes what is before all bounds.
pub(super) fn slot(children: &Sorted<Child>, name: Sought<'_>) -> usize {
    slot_of(children.find(name))
}

fn slot_of(found: Result<usize, usize>) -> usize {
    found.unwrap_or_else(|next| next.saturating_sub(1))
}

/// `rightmost`: nothing is to the right of this block.
fn put_into(
    block: &mut Rc<Block>,
    name: Sought<'_>,
    make: impl FnOnce(Option<&Node>) -> Node,
    rightmost: bool,
) -> Inserted {
    match Rc::make_mut(block) {
        Block::Leaf(entries) => match entries.find(name) {
            Ok(at) => {
                let node = make(Some(&entries[at].node));
                Inserted::Replaced(std::mem::replace(&mut entries[at].node, node))
            }
            Err(at) => {
                let entry = Entry { name: name.to_name(), node: make(None) };
                make_room(entries, at, entry, rightmost).map_or(Inserted::Fitted, |upper| split_off(Block::Leaf(upper)))
            }
        },
        Block::Branch(children) => {
            let found = children.find(name);
            let at = slot_of(found);
            let last = at + 1 == children.len();
            if found == Err(0) {
                // It is before all of them.
                let block = Rc::clone(&children[at].block);
                children.replace(at, Child { from: name.to_name(), block });
            }
            match put_into(&mut children[at].block, name, make, rightmost && last) {
                Inserted::Split(upper) => make_room(children, at + 1, upper, rightmost)
                    .map_or(Inserted::Fitted, |upper| split_off(Block::Branch(upper))),
                done => done,
            }
        }
    }
}

fn split_off(upper: Block) -> Inserted {
    Inserted::Split(Child { from: upper.first_name(), block: Rc::new(upper) })
}

/// Inserts at `at`, and returns the upper part if that takes a split. A block that grows at its right end is left full:
/// in-order names come in ascending order, and halves would stay half empty for ever.
fn make_room<T: Named>(items: &mut Sorted<T>, at: usize, item: T, rightmost: bool) -> Option<Sorted<T>> {
    if items.len() < FULL {
        items.insert(at, item);
        return None;
    }
    if rightmost && at == items.len() {
        return Some(Sorted::of(vec![item]));
    }
    let mut upper = items.split_off(FULL / 2);
    if at <= items.len() {
        items.insert(at, item);
    } else {
        upper.insert(at - FULL / 2, item);
    }
    Some(upper)
}

fn remove_from(block: &mut Rc<Block>, name: Sought<'_>) -> Option<Node> {
    match Rc::make_mut(block) {
        Block::Leaf(entries) => {
            let at = entries.find(name).ok()?;
            let node = entries.remove(at).node;
            entries.give_back_room();
            Some(node)
        }
        Block::Branch(children) => {
            let at = slot(children, name);
            let node = remove_from(&mut children[at].block, name)?;
            match children[at].block.len() {
                0 => drop(children.remove(at)),
                1..SMALL => join_neighbours(children, at),
                _ => {}
            }
            children.give_back_room();
            Some(node)
        }
    }
}

/// Joins the block at `at` with the one after or before it, if there is one and both fit.
fn join_neighbours(children: &mut Sorted<Child>, at: usize) {
    let fits = |left: usize| {
        left + 1 < children.len() && children[left].block.len() + children[left + 1].block.len() <= JOINED_MAX
    };
    let Some(left) = [Some(at), at.checked_sub(1)].into_iter().flatten().find(|left| fits(*left)) else {
        return;
    };
    let right = children.remove(left + 1);
    match (Rc::make_mut(&mut children[left].block), Rc::unwrap_or_clone(right.block)) {
        (Block::Leaf(entries), Block::Leaf(more)) => entries.extend(more),
        (Block::Branch(below), Block::Branch(more)) => below.extend(more),
        _ => unreachable!("all leaves are equally deep"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Index;
    use crate::tree::{Cursor, Dir, File, Place, Scope};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn file(n: u64) -> Node {
        let index = Index(n);
        Node::File(File { value: Rc::from([]), created: index, modified: index, told: index, deadline: None })
    }

    fn names(children: &Children) -> Vec<(String, u64)> {
        let mut dir = Dir::default();
        dir.children = children.clone();
        let mut cursor = Cursor::new(&dir, b"/", Scope::ALL);
        let mut names = Vec::new();
        while let Some(place) = cursor.step() {
            let Place::File(at, file) = place else { panic!("only files were put in") };
            names.push((String::from_utf8_lossy(at.name).into_owned(), file.created.0));
        }
        names
    }

    /// Checks what is written on [`Block`]; returns the height.
    fn check(block: &Block, root: bool) -> usize {
        assert!((1..=FULL).contains(&block.len()));
        match block {
            Block::Leaf(entries) => {
                assert!(entries.is_sorted_by(|a, b| *a.name < *b.name));
                0
            }
            Block::Branch(children) => {
                assert!(!root || children.len() > 1);
                assert!(children.is_sorted_by(|a, b| *a.from < *b.from));
                assert!(children.iter().all(|child| *child.from <= *child.block.first_name()));
                let heights: Vec<_> = children.iter().map(|child| check(&child.block, false)).collect();
                assert!(heights.iter().all(|height| *height == heights[0]));
                heights[0] + 1
            }
        }
    }

    /// Many more keys than fit in a block, in ranges so that blocks empty and join.
    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Remove(u64),
        InsertRange(u64, u64),
        RemoveRange(u64, u64),
        Snapshot,
    }

    fn op() -> impl Strategy<Value = Op> {
        let key = 0_u64..3000;
        prop_oneof![
            4 => key.clone().prop_map(Op::Insert),
            4 => key.clone().prop_map(Op::Remove),
            2 => (key.clone(), 1_u64..400).prop_map(|(from, n)| Op::InsertRange(from, n)),
            2 => (key, 1_u64..400).prop_map(|(from, n)| Op::RemoveRange(from, n)),
            1 => Just(Op::Snapshot),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn behaves_like_a_sorted_map(ops in proptest::collection::vec(op(), 1..60)) {
            let (mut children, mut model) = (Children::default(), BTreeMap::new());
            let mut snapshots = Vec::new();
            for (n, op) in ops.into_iter().enumerate() {
                let (insert, range) = match op {
                    Op::Insert(key) => (true, key..key + 1),
                    Op::Remove(key) => (false, key..key + 1),
                    Op::InsertRange(from, count) => (true, from..from + count),
                    Op::RemoveRange(from, count) => (false, from..from + count),
                    Op::Snapshot => {
                        snapshots.push((children.clone(), names(&children)));
                        continue;
                    }
                };
                for key in range {
                    let name = format!("{key:05}");
                    let (was, had) = if insert {
                        let node = file(n as u64);
                        (children.insert(name.as_bytes(), node), model.insert(name, n as u64))
                    } else if children.get(name.as_bytes()).is_some() {
                        (children.remove(name.as_bytes()), model.remove(&name))
                    } else {
                        (None, model.remove(&name))
                    };
                    prop_assert_eq!(was.map(|node| node.created().0), had);
                }
                if let Some(root) = children.root() {
                    check(root, true);
                }
                prop_assert_eq!(children.last_name().map(<[u8]>::to_vec), model.keys().last().map(|k| k.clone().into_bytes()));
                prop_assert_eq!(names(&children), Vec::from_iter(model.clone()));
            }
            for (snapshot, then) in snapshots {
                prop_assert_eq!(names(&snapshot), then);
            }
        }
    }

    #[test]
    fn ascending_names_leave_full_blocks() {
        let mut children = Children::default();
        for n in 0..10_000_u64 {
            children.insert(format!("{n:020}").as_bytes(), file(n));
        }
        let mut blocks = vec![Rc::clone(children.root().expect("not empty"))];
        let mut leaves = 0;
        while let Some(block) = blocks.pop() {
            match &*block {
                Block::Leaf(_) => leaves += 1,
                Block::Branch(below) => blocks.extend(below.iter().map(|child| Rc::clone(&child.block))),
            }
        }
        assert_eq!(leaves, 10_000_usize.div_ceil(FULL));
    }
}
