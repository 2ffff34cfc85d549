//! What a written value says: who wrote it, as which of its writes, and when that was due.

use net::decimal::parse_u64;

use crate::script::push_padded;

/// Digits of each part: decimal, so that they need no escaping in forms and JSON.
const WRITER: usize = 6;
const NUMBER: usize = 12;
const TIME: usize = 18;
const LENGTH: usize = WRITER + NUMBER + TIME;

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) writer: u32,
    /// 1 for its first.
    pub(super) number: u64,
    /// Nanoseconds since the run's epoch.
    pub(super) due_ns: u64,
}

impl Event {
    /// Appends it, padded to `size` bytes.
    pub(super) fn push(self, out: &mut Vec<u8>, size: usize) {
        push_padded(out, self.writer.into(), WRITER);
        push_padded(out, self.number, NUMBER);
        push_padded(out, self.due_ns, TIME);
        out.resize(out.len() + size.saturating_sub(LENGTH), b'x');
    }

    /// Reads a value; `None` if it is none of ours.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let part = |from: usize, digits: usize| parse_u64(value.get(from..from + digits)?);
        Some(Self {
            writer: u32::try_from(part(0, WRITER)?).ok()?,
            number: part(WRITER, NUMBER)?,
            due_ns: part(WRITER + NUMBER, TIME)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_they_were_written() {
        let event = Event { writer: 99_999, number: 123, due_ns: 987_654_321_012_345_678 };
        for size in [0, LENGTH, 64] {
            let mut value = Vec::new();
            event.push(&mut value, size);
            assert_eq!(value.len(), size.max(LENGTH));
            assert_eq!(Event::parse(&value), Some(event));
        }
        assert_eq!(Event::parse(b"123"), None);
        assert_eq!(Event::parse(&[b'x'; LENGTH]), None);
    }
}
