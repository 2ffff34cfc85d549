//! Where removed subtrees are taken apart, a little per turn: freeing a million nodes at once would stall the core,
//! and freeing a chain of directories by recursion would overflow the stack.
//!
//! One per thread, because the last reference to a subtree may be held by anyone: the tree, a snapshot that is being
//! written, a listing that is being sent. It holds nothing that can still be seen, so no behaviour depends on it. What
//! is left when a thread ends is freed then.

use super::children::Block;
use super::node::Node;
use std::cell::RefCell;
use std::rc::Rc;

thread_local! {
    static BURIED: RefCell<Vec<Rc<Block>>> = const { RefCell::new(Vec::new()) };
}

/// Takes over a block that may be the last reference to whatever is below it.
pub(super) fn bury(block: Rc<Block>) {
    let mut rest = Vec::new();
    retire(block, &mut rest);
    if rest.is_empty() || BURIED.try_with(|buried| buried.borrow_mut().append(&mut rest)).is_ok() {
        return;
    }
    // The thread is ending, and with it all that the graveyard was to wait for.
    while let Some(block) = rest.pop() {
        dismantle(block, &mut rest);
    }
}

/// Frees about `budget` nodes of this thread's graveyard; true if there are more.
pub(crate) fn drop_some(budget: usize) -> bool {
    let mut rest = BURIED.take();
    let mut freed = 0;
    while freed < budget
        && let Some(block) = rest.pop()
    {
        freed += dismantle(block, &mut rest);
    }
    let more = !rest.is_empty();
    BURIED.with_borrow_mut(|buried| {
        rest.append(buried);
        *buried = rest;
    });
    more
}

/// Gives up one reference; the last one is put aside instead. A reference held back would make the tree copy the block
/// on its next write.
fn retire(block: Rc<Block>, rest: &mut Vec<Rc<Block>>) {
    if Rc::strong_count(&block) == 1 {
        rest.push(block);
    }
}

/// Frees one block and moves the blocks below it to `rest`. Returns the work done, in nodes, at least 1.
fn dismantle(block: Rc<Block>, rest: &mut Vec<Rc<Block>>) -> usize {
    match Rc::into_inner(block) {
        None => 1,
        Some(Block::Branch(children)) => {
            let work = children.len();
            for child in children {
                retire(child.block, rest);
            }
            work
        }
        Some(Block::Leaf(entries)) => {
            let work = entries.len();
            for entry in entries {
                if let Node::Dir(dir) = entry.node
                    && let Some(mut dir) = Rc::into_inner(dir)
                    && let Some(block) = dir.children.take()
                {
                    retire(block, rest);
                }
            }
            work
        }
    }
}
