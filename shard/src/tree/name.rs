//! Names of children, made to be compared fast.

use std::cmp::Ordering;
use std::ops::Deref;
use std::rc::Rc;

/// The name of a child. Its first bytes stand beside the pointer: a search through a block hardly ever has to follow one,
/// and a block's entries are neighbours in memory where their names are not.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    start: u64,
    bytes: Rc<[u8]>,
}

/// A name that is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sought<'a> {
    start: u64,
    bytes: &'a [u8],
}

impl Name {
    pub(super) fn cmp(&self, sought: Sought<'_>) -> Ordering {
        self.start.cmp(&sought.start).then_with(|| (*self.bytes).cmp(sought.bytes))
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<'a> Sought<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { start: start(bytes), bytes }
    }

    pub(super) fn to_name(self) -> Name {
        Name { start: self.start, bytes: Rc::from(self.bytes) }
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

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![4 => Just(0), 4 => Just(1), 2 => Just(255), 1 => any::<u8>()];
        proptest::collection::vec(byte, 0..12)
    }

    proptest! {
        #[test]
        fn names_are_ordered_bytewise(a in bytes(), b in bytes()) {
            let order = Sought::new(&a).to_name().cmp(Sought::new(&b));
            prop_assert_eq!(order, a.cmp(&b));
        }
    }
}
