//! How long to wait before dialling again.

use std::time::Duration;

use shard::random::SplitMix;

/// The first pause after a stream was lost.
const FIRST: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses that double, each drawn from its upper half, so that members do not dial in step.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    random: SplitMix,
}

impl Backoff {
    /// `seed`: two links with different seeds draw different pauses.
    pub(super) const fn new(seed: u64) -> Self {
        Self { next: FIRST, random: SplitMix::new(seed) }
    }

    /// The pause after one more failure.
    pub(super) fn pause(&mut self) -> Duration {
        let longest = self.next;
        self.next = (self.next * 2).min(LONGEST);
        let half = longest.as_micros() as u64 / 2;
        Duration::from_micros(half + self.random.draw() % (half + 1))
    }

    /// The stream was good: the next failure is a first one.
    pub(super) const fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_differ_between_links() {
        let (mut one, mut other) = (Backoff::new(1), Backoff::new(2));
        let mut same = 0;
        for longest_ms in [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000] {
            let (a, b) = (one.pause(), other.pause());
            for pause in [a, b] {
                let longest = Duration::from_millis(longest_ms);
                assert!(longest / 2 <= pause && pause <= longest, "{pause:?} of {longest:?}");
            }
            same += usize::from(a == b);
        }
        assert_eq!(same, 0);
        one.reset();
        assert!(one.pause() <= FIRST);
    }
}
