//! The label values, one enum for each label, and cells indexed by them.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// The values that one label may have.
pub(crate) trait Label: Copy + 'static {
    /// All of them; the position of each is its [`Label::index`].
    const ALL: &'static [Self];

    /// The place of this value in [`Label::ALL`].
    fn index(self) -> usize;

    /// The text in the exposition.
    fn text(self) -> &'static str;
}

/// Declares a label: each variant with its text.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant),+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn index(self) -> usize {
                self as usize
            }

            fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

label! {
    /// How a request on the key space is counted (etcd 2.3: the HTTP method, with quorum reads apart).
    Method {
        /// A plain read.
        Get = "GET",
        /// A read with `quorum=true`.
        QGet = "QGET",
        /// A read without its body.
        Head = "HEAD",
        /// `PUT` in all its forms.
        Put = "PUT",
        /// An in-order key.
        Post = "POST",
        /// `DELETE` in all its forms.
        Delete = "DELETE",
    }
}

impl Method {
    /// Whether it goes through the log.
    pub(crate) const fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::Post | Self::Delete)
    }
}

label! {
    /// What a read of the store was (etcd 2.3).
    ReadAction {
        /// One level.
        Get = "get",
        /// A whole subtree.
        GetRecursive = "getRecursive",
    }
}

label! {
    /// What a write to the store was (etcd 2.3); failed ones count as well.
    WriteAction {
        /// Unconditional.
        Set = "set",
        /// Only if nothing was there.
        Create = "create",
        /// Only if something was there.
        Update = "update",
        /// Unconditional removal.
        Delete = "delete",
        /// A conditional write.
        CompareAndSwap = "compareAndSwap",
        /// A conditional removal.
        CompareAndDelete = "compareAndDelete",
    }
}

/// One cell for each value of the label `L`.
#[derive(Clone, Debug)]
pub(crate) struct Family<L, T> {
    cells: Vec<T>,
    label: PhantomData<L>,
}

impl<L: Label, T> Family<L, T> {
    /// Every cell as `new` makes it.
    pub(crate) fn new(new: impl Fn() -> T) -> Self {
        Self { cells: L::ALL.iter().map(|_| new()).collect(), label: PhantomData }
    }

    /// Each label value with its cell.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (L, &T)> {
        L::ALL.iter().copied().zip(&self.cells)
    }

    pub(super) fn absorb(&mut self, other: &Self, absorb: impl Fn(&mut T, &T)) {
        for (mine, theirs) in self.cells.iter_mut().zip(&other.cells) {
            absorb(mine, theirs);
        }
    }
}

impl<L: Label, T> Index<L> for Family<L, T> {
    type Output = T;

    fn index(&self, label: L) -> &T {
        &self.cells[label.index()]
    }
}

impl<L: Label, T> IndexMut<L> for Family<L, T> {
    fn index_mut(&mut self, label: L) -> &mut T {
        &mut self.cells[label.index()]
    }
}

/// Failed requests by method and HTTP status. Only statuses that the server itself answers can be in it, so it stays
/// small.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures(BTreeMap<(Method, u16), u64>);

impl Failures {
    /// Counts one.
    pub(crate) fn inc(&mut self, method: Method, status: u16) {
        *self.0.entry((method, status)).or_default() += 1;
    }

    /// Each pair that occurred, with its count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Method, u16, u64)> {
        self.0.iter().map(|((method, status), count)| (*method, *status, *count))
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        for (method, status, count) in other.iter() {
            *self.0.entry((method, status)).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_value_has_its_own_cell() {
        let mut family: Family<WriteAction, u64> = Family::new(|| 0);
        for (at, action) in WriteAction::ALL.iter().enumerate() {
            assert_eq!(action.index(), at);
            family[*action] = at as u64;
        }
        let texts: Vec<&str> = family.iter().map(|(action, _)| action.text()).collect();
        assert_eq!(texts, ["set", "create", "update", "delete", "compareAndSwap", "compareAndDelete"]);
        assert!(family.iter().map(|(_, cell)| *cell).eq(0..6));
    }
}
