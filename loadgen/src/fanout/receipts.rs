//! What one watcher has got: every write of its writers once, in the order of the indices.

use super::Fanout;
use super::event::Event;

/// Receipts of one watcher.
#[derive(Debug)]
pub(super) struct Receipts {
    directory: u32,
    /// The number of the last write that came, of each writer of the directory.
    last: Vec<u64>,
    /// The index of the last event, or that at which the watch began.
    pub(super) index: u64,
}

impl Receipts {
    /// The watch of `directory` began at `index`, before the first write.
    pub(super) fn new(fanout: &Fanout, directory: u32, index: u64) -> Self {
        Self { directory, last: vec![0; fanout.writers(directory).count()], index }
    }

    /// An event came; the error says what is wrong with that.
    pub(super) fn take(&mut self, fanout: &Fanout, event: Event, index: u64) -> Result<(), String> {
        if index <= self.index {
            return Err(format!("an event of index {index} came after one of index {}", self.index));
        }
        self.index = index;
        let place = event.writer.checked_sub(self.directory).map(|above| (above / fanout.directories) as usize);
        let last = place.and_then(|place| self.last.get_mut(place));
        let Some(last) = last.filter(|_| fanout.directory(event.writer) == self.directory) else {
            return Err(format!("an event of writer {}, who writes elsewhere", event.writer));
        };
        if event.number != *last + 1 {
            let (writer, number) = (event.writer, event.number);
            return Err(format!(
                "lost events: after write {last} of writer {writer} came write {number}, at index {index}"
            ));
        }
        *last = event.number;
        Ok(())
    }

    /// The first writer of which an acknowledged write has not come, and how many have.
    pub(super) fn missing(&self, fanout: &Fanout) -> Option<String> {
        let mut writers = fanout.writers(self.directory).zip(&self.last);
        let (writer, last) = writers.find(|(writer, last)| fanout.acknowledged(*writer) > **last)?;
        Some(format!("{} writes of writer {writer} were acknowledged, {last} came", fanout.acknowledged(writer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::stage;

    #[test]
    fn every_write_must_come_once_and_in_order() {
        let stage = stage(&["-w", "watch", "-c", "4", "--directories", "2"]);
        let fanout = &stage.fanout;
        let event = |writer, number| Event { writer, number, due_ns: 0 };
        let mut receipts = Receipts::new(fanout, 1, 5);
        assert_eq!(receipts.take(fanout, event(1, 1), 6), Ok(()));
        assert_eq!(receipts.take(fanout, event(3, 1), 7), Ok(()));
        for (what, event, index) in [
            ("twice", event(1, 1), 8),
            ("a gap", event(3, 3), 9),
            ("backwards", event(1, 2), 9),
            ("elsewhere", event(2, 1), 10),
            ("nobody", event(9, 1), 11),
        ] {
            assert!(receipts.take(fanout, event, index).is_err(), "{what}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let stage = stage(&["-w", "watch", "-c", "2"]);
        let fanout = &stage.fanout;
        let mut receipts = Receipts::new(fanout, 0, 5);
        assert_eq!(receipts.missing(fanout), None);
        fanout.acknowledge(1);
        assert!(receipts.missing(fanout).is_some_and(|text| text.contains("writer 1")));
        assert_eq!(receipts.take(fanout, Event { writer: 1, number: 1, due_ns: 0 }, 6), Ok(()));
        assert_eq!(receipts.missing(fanout), None);
    }
}
