//! Whether an executor that has nothing to do looks for completions for a while before it sleeps.
//!
//! To be woken up takes tens of microseconds, more on a virtual machine: whoever waits for one request at a time waits for that at
//! each of them, for the request and for the disk. But an executor that looks has its CPU busy. So it looks only while most of what
//! it waits for comes that soon, as Linux' `haltpoll` and the host's halt polling decide it; an idle one, woken by its timers, sleeps at once.

use std::time::Duration;

/// What a wait adds that was short enough, ...
const SHORT: i32 = 1;
/// ... and one takes away that was not: in the long run more than three of four have to be short.
const LONG: i32 = -3;
/// Looks from here on ...
const ENOUGH: i32 = 16;
/// ... and remembers no more than this: after six long waits it does not look any more.
const MOST: i32 = 32;

/// What the waits of an executor were like.
#[derive(Debug)]
pub(super) struct Patience {
    /// For how long it looks at most; also the wait that is worth it.
    limit: Duration,
    score: i32,
}

impl Patience {
    /// Looks for so long at most. Zero: never.
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, score: 0 }
    }

    /// For how long to look before sleeping.
    pub(super) fn now(&self) -> Option<Duration> {
        (self.score >= ENOUGH && !self.limit.is_zero()).then_some(self.limit)
    }

    /// A wait is over, however it was spent.
    pub(super) fn waited(&mut self, took: Duration) {
        let change = if took <= self.limit { SHORT } else { LONG };
        self.score = (self.score + change).clamp(0, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(200);
    const LONGER: Duration = Duration::from_micros(201);

    /// How many of so many rounds of these waits it has looked in at the end of.
    fn looks(patience: &mut Patience, rounds: usize, waits: &[Duration]) -> usize {
        let round = |_: &usize| {
            for took in waits {
                patience.waited(*took);
            }
            patience.now().is_some()
        };
        (0..rounds).filter(round).count()
    }

    #[test]
    fn looks_while_waits_are_short() {
        let mut patience = Patience::new(LIMIT);
        assert_eq!(patience.now(), None, "it knows nothing yet");
        assert_eq!(looks(&mut patience, 15, &[LIMIT]), 0);
        assert_eq!(looks(&mut patience, 1000, &[LIMIT]), 1000);
        assert_eq!(patience.now(), Some(LIMIT));
        assert_eq!(looks(&mut patience, 5, &[LONGER]), 5, "a few that are late are no reason to sleep");
        assert_eq!(looks(&mut patience, 1000, &[LONGER]), 0);
        assert_eq!(looks(&mut patience, 15, &[LIMIT]), 0);
        assert_eq!(looks(&mut patience, 1, &[LIMIT]), 1);
    }

    #[test]
    fn three_of_four_are_not_enough_to_begin() {
        let mut patience = Patience::new(LIMIT);
        assert_eq!(looks(&mut patience, 1000, &[LIMIT, LONGER]), 0);
        assert_eq!(looks(&mut patience, 1000, &[LIMIT, LIMIT, LIMIT, LONGER]), 0);
        assert!(looks(&mut patience, 1000, &[LIMIT, LIMIT, LIMIT, LIMIT, LONGER]) > 900);
    }

    #[test]
    fn without_a_limit_it_never_looks() {
        let mut patience = Patience::new(Duration::ZERO);
        assert_eq!(looks(&mut patience, 100, &[Duration::ZERO]), 0);
    }
}
