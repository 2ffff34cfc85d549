//! What a key of which there is one writer may hold, when some writes end nobody knows how.

/// Index and value that a key has; `None` when there is none.
pub(super) type Known = Option<(u64, String)>;

/// One key, as its only writer knows it. A value is written once.
#[derive(Debug)]
pub(super) struct Held {
    key: String,
    /// What it held at last, and since which index. That of a delete nobody knows the end of is unknown: then it is an earlier one.
    index: u64,
    value: Option<String>,
    /// Writes that nobody knows the end of, and the round of each. They may be done already, or later, or never.
    maybe: Vec<(Option<String>, u64)>,
}

impl Held {
    /// After so many rounds nothing of a request can be under way any more: all members have taken other writes since.
    pub(super) const SETTLED: u64 = 3;

    pub(super) fn new(key: String) -> Self {
        Self { key, index: 0, value: None, maybe: Vec::new() }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// A write was acknowledged.
    pub(super) fn wrote(&mut self, index: u64, value: Option<String>) {
        assert!(self.index < index, "{index} is no later than {self:?}");
        (self.index, self.value) = (index, value);
    }

    /// A write ended nobody knows how.
    pub(super) fn may_be(&mut self, value: Option<String>, round: u64) {
        self.maybe.push((value, round));
    }

    /// A request that was sent in this round shows that it holds this. Fails if that can not be.
    pub(super) fn shown(&mut self, found: &Known, round: u64) {
        assert!(self.explain(found), "{found:?} was found, that can not be: {self:?}");
        // What has not shown by now never will.
        self.maybe.retain(|(_, begun)| begun + Self::SETTLED > round);
    }

    /// It holds this; `false` if that can not be.
    fn explain(&mut self, found: &Known) -> bool {
        let (index, value) = match found {
            Some((index, value)) => (*index, Some(value.clone())),
            None => (self.index, None),
        };
        if value == self.value {
            return index == self.index;
        }
        let possible = self.maybe.iter().position(|(maybe, _)| *maybe == value);
        let Some(possible) = possible.filter(|_| value.is_none() || index > self.index) else { return false };
        self.maybe.swap_remove(possible);
        (self.index, self.value) = (index, value);
        true
    }

    /// A swap was refused: that can only be for a write that nobody knows the end of.
    pub(super) fn assert_in_doubt(&self) {
        assert!(!self.maybe.is_empty(), "a swap was refused, that can not be: {self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Held {
        let mut held = Held::new("k".into());
        held.wrote(5, Some("a".into()));
        held
    }

    fn fits(mut held: Held, found: Option<(u64, &str)>) -> bool {
        held.explain(&found.map(|(index, value)| (index, value.to_owned())))
    }

    #[test]
    fn what_was_acknowledged_must_be_shown() {
        assert!(fits(written(), Some((5, "a"))));
        for lost in [None, Some((4, "z")), Some((6, "a")), Some((6, "b"))] {
            assert!(!fits(written(), lost), "{lost:?}");
        }
    }

    #[test]
    fn a_write_nobody_knows_the_end_of_may_show_once_until_it_is_settled() {
        let doubtful = |value: Option<&str>| {
            let mut held = written();
            held.may_be(value.map(str::to_owned), 1);
            held
        };
        assert!(fits(doubtful(Some("b")), Some((6, "b"))) && fits(doubtful(Some("b")), Some((5, "a"))));
        assert!(!fits(doubtful(Some("b")), None) && !fits(doubtful(Some("b")), Some((4, "b"))));
        assert!(fits(doubtful(None), None));
        let mut held = doubtful(None);
        held.shown(&None, 1);
        held.wrote(8, Some("c".into()));
        assert!(!fits(held, None), "the delete was done already");
        for (round, may_still_come) in [(Held::SETTLED, true), (1 + Held::SETTLED, false)] {
            let mut held = doubtful(Some("b"));
            held.shown(&Some((5, "a".into())), round);
            assert_eq!(fits(held, Some((6, "b"))), may_still_come, "round {round}");
        }
    }
}
