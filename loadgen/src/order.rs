//! Indices only grow: what one connection is told must never go back.

use crate::http::Answer;

/// The indices that one connection has seen.
#[derive(Debug, Default)]
pub(crate) struct Order {
    seen: u64,
    written: u64,
}

impl Order {
    /// An answer came, to a change of index `written` or to something else. The error says what is wrong.
    pub(crate) fn check(&mut self, answer: &Answer<'_>, written: Option<u64>) -> Result<(), String> {
        let index = answer.index.ok_or_else(|| "no X-Etcd-Index".to_owned())?;
        if index < self.seen {
            return Err(format!("X-Etcd-Index went back from {} to {index}", self.seen));
        }
        self.seen = index;
        let Some(written) = written else { return Ok(()) };
        if written <= self.written {
            return Err(format!("a change of index {written} after one of index {}", self.written));
        }
        if written > index {
            return Err(format!("X-Etcd-Index {index} is below the index of the change, {written}"));
        }
        self.written = written;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_grow() {
        let mut order = Order::default();
        let mut check = |index, written| order.check(&Answer { status: 200, index, closes: false, body: b"" }, written);
        assert_eq!(check(Some(5), None), Ok(()));
        assert_eq!(check(Some(5), Some(5)), Ok(()));
        assert!(check(Some(5), Some(5)).is_err(), "the same change twice");
        assert!(check(Some(6), Some(7)).is_err(), "a change that is not seen");
        assert_eq!(check(Some(9), Some(8)), Ok(()));
        assert!(check(Some(8), None).is_err(), "going back");
        assert!(check(None, None).is_err());
    }
}
