//! The items of one block, sorted bytewise by name, with the first bytes of all names side by side.
//!
//! A search goes through those numbers, of which a cache line holds eight, and looks at an item only when its number is the one that is
//! sought: of a large tree hardly anything is in a cache, and every line that a search touches is a wait for memory.

use crate::memory::ask;
use std::cmp::Ordering;
use std::ops::{Deref, Index, IndexMut};
use std::rc::Rc;

/// Bytes of a name in its number.
const START: usize = size_of::<u64>();

/// The name of a child.
pub(crate) type Name = Rc<[u8]>;

/// What has a name that does not change while it is in a block.
pub(crate) trait Named {
    fn name(&self) -> &[u8];
}

/// See above. At most one item has a name.
#[derive(Clone, Debug)]
pub(crate) struct Sorted<T> {
    starts: Vec<u64>,
    items: Vec<T>,
}

/// A name that is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought<'a> {
    start: u64,
    bytes: &'a [u8],
}

impl<'a> Sought<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { start: start(bytes), bytes }
    }

    pub(super) fn to_name(self) -> Name {
        Rc::from(self.bytes)
    }

    /// How a name with the same number compares to this one. Two short ones differ in their lengths at most.
    fn compare_rest(self, name: &[u8]) -> Ordering {
        match (name.get(START..), self.bytes.get(START..)) {
            (Some(rest), Some(sought)) => rest.cmp(sought),
            _ => name.len().cmp(&self.bytes.len()),
        }
    }
}

impl<T: Named> Sorted<T> {
    pub(super) fn of(items: Vec<T>) -> Self {
        Self { starts: items.iter().map(|item| start(item.name())).collect(), items }
    }

    /// Where the item of this name is, or where it would have to be.
    pub(super) fn find(&self, name: Sought<'_>) -> Result<usize, usize> {
        let from = self.before(name);
        let same = self.starts[from..].iter().take_while(|start| **start == name.start).count();
        let found = self.items[from..from + same].binary_search_by(|item| name.compare_rest(item.name()));
        found.map(|at| from + at).map_err(|at| from + at)
    }

    /// Asks for the memory that a search goes through first.
    pub(super) fn ask_starts(&self) {
        ask(&self.starts[..]);
    }

    /// Asks for the items that a search looks at; where the first of them is that is not before the name.
    pub(super) fn ask_items(&self, name: Sought<'_>) -> usize {
        let at = self.before(name);
        ask(&self.items[at.saturating_sub(1)..self.items.len().min(at + 1)]);
        at
    }

    /// How many of the items at `at` and behind it have names that begin like this one: none, one, or more.
    pub(super) fn begin_like(&self, name: Sought<'_>, at: usize) -> usize {
        self.starts[at..].iter().take(2).take_while(|start| **start == name.start).count()
    }

    /// The item at `at`, if its name begins like this one and that of the next one does not.
    pub(super) fn only_at(&self, name: Sought<'_>, at: usize) -> Option<&T> {
        (self.begin_like(name, at) == 1).then(|| &self.items[at])
    }

    /// How many items are before all whose names begin like this one.
    fn before(&self, name: Sought<'_>) -> usize {
        // All are compared, which takes less time than a binary search: nothing is guessed wrongly, and no line is waited for before the next
        // one is asked for.
        self.starts.iter().map(|start| usize::from(*start < name.start)).sum()
    }

    pub(super) fn insert(&mut self, at: usize, item: T) {
        self.starts.insert(at, start(item.name()));
        self.items.insert(at, item);
    }

    pub(super) fn remove(&mut self, at: usize) -> T {
        self.starts.remove(at);
        self.items.remove(at)
    }

    /// Puts another item in the place of one.
    pub(super) fn replace(&mut self, at: usize, item: T) {
        self.starts[at] = start(item.name());
        self.items[at] = item;
    }

    /// Keeps the first `at` items, in no more room than they need.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let upper = Self { starts: self.starts.split_off(at), items: self.items.split_off(at) };
        self.starts.shrink_to_fit();
        self.items.shrink_to_fit();
        upper
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.starts.extend(more.starts);
        self.items.extend(more.items);
    }

    /// After removals: does not hold on to room for many more than there are.
    pub(super) fn give_back_room(&mut self) {
        let len = self.items.len();
        if self.items.capacity() >= 4 * len.max(2) {
            self.starts.shrink_to(2 * len);
            self.items.shrink_to(2 * len);
        }
    }
}

impl<T> Deref for Sorted<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> Index<usize> for Sorted<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.items[at]
    }
}

/// For what is no name.
impl<T> IndexMut<usize> for Sorted<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.items[at]
    }
}

impl<T> IntoIterator for Sorted<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

/// The first bytes as a number that is ordered as they are. What a short name lacks counts as 0: where that makes numbers
/// equal, the whole names decide; where they differ, they differ at a byte that the shorter one has, or it is a prefix of
/// the other and before it.
fn start(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => bytes.iter().enumerate().fold(0, |start, (at, byte)| start | u64::from(*byte) << (56 - 8 * at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug)]
    struct Item(Vec<u8>);

    impl Named for Item {
        fn name(&self) -> &[u8] {
            &self.0
        }
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![4 => Just(0), 4 => Just(1), 2 => Just(255), 1 => any::<u8>()];
        proptest::collection::vec(byte, 0..12)
    }

    proptest! {
        #[test]
        fn names_are_found_where_bytewise_order_has_them(
            names in proptest::collection::btree_set(bytes(), 1..40),
            others in proptest::collection::vec(bytes(), 40),
        ) {
            let names = Vec::from_iter(names);
            let sorted = Sorted::of(names.iter().cloned().map(Item).collect());
            for name in names.iter().chain(&others) {
                prop_assert_eq!(sorted.find(Sought::new(name)), names.binary_search(name));
            }
        }

        #[test]
        fn numbers_follow_their_names(names in proptest::collection::btree_set(bytes(), 4..40)) {
            let all = Vec::from_iter(names);
            let mut sorted = Sorted::of(Vec::new());
            // The middle half comes first.
            let (low, high) = (all.len() / 4, all.len() * 3 / 4);
            for name in all[low..high].iter().chain(&all[..low]).chain(&all[high..]) {
                let Err(at) = sorted.find(Sought::new(name)) else { panic!("it is not there yet") };
                sorted.insert(at, Item(name.clone()));
            }
            let upper = sorted.split_off(low);
            sorted.extend(upper);
            sorted.replace(0, Item(Vec::new()));
            prop_assert_eq!(sorted.find(Sought::new(b"")), Ok(0));
            for name in &all[1..] {
                let Ok(at) = sorted.find(Sought::new(name)) else { panic!("it was put there") };
                prop_assert_eq!(&sorted.remove(at).0, name);
                sorted.give_back_room();
            }
            prop_assert_eq!(sorted.len(), 1);
        }
    }
}
