//! Latencies of one thread, and when they were.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::op::Op;

/// Latencies are kept in microseconds; what takes longer than this counts as this. Runs give answers up long before.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Significant digits of what reports are made of, and of what plots over time are made of.
const DIGITS: u8 = 3;
const DIGITS_OVER_TIME: u8 = 2;

/// A latency histogram in microseconds.
pub(crate) type Latencies = Histogram<u64>;

fn histogram(digits: u8) -> Latencies {
    let Ok(histogram) = Histogram::new_with_max(LATENCY_US_MAX, digits) else { panic!("the bounds are valid") };
    histogram
}

/// When a run happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// The warm-up begins.
    pub(crate) begun: Instant,
    /// What is due from here on counts.
    pub(crate) from: Instant,
    /// Nothing is due any more.
    pub(crate) until: Instant,
    /// Length of one point in time of the plots.
    pub(crate) interval: Duration,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// By kind, from when it was due until it was answered.
    ops: [Option<Box<Latencies>>; Op::ALL.len()],
    /// Of all requests, from when they were sent. In a closed loop that is when they were due.
    pub(crate) service: Latencies,
    /// Watches that ended early and were taken up again.
    pub(crate) resumed: u64,
    /// The last answer that counts.
    pub(crate) last: Option<Instant>,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { ops: Default::default(), service: histogram(DIGITS), resumed: 0, last: None }
    }

    /// The latencies of one kind.
    pub(crate) fn of(&self, op: Op) -> Option<&Latencies> {
        self.ops[op.index()].as_deref()
    }

    fn of_mut(&mut self, op: Op) -> &mut Latencies {
        self.ops[op.index()].get_or_insert_with(|| Box::new(histogram(DIGITS)))
    }

    /// How many latencies of this kind there are.
    pub(crate) fn count(&self, op: Op) -> u64 {
        self.of(op).map_or(0, Latencies::len)
    }

    /// Requests that were answered.
    pub(crate) fn answered(&self) -> u64 {
        Op::ALL.into_iter().filter(|op| op.is_request()).map(|op| self.count(op)).sum()
    }

    /// The latencies of all requests that were due, answered or not sent.
    pub(crate) fn requests(&self) -> Latencies {
        let mut all = histogram(DIGITS);
        for op in Op::ALL.into_iter().filter(|op| op.is_request() || *op == Op::Unsent) {
            self.of(op).into_iter().for_each(|part| merge(&mut all, part));
        }
        all
    }

    /// Takes in what another thread has measured.
    pub(crate) fn add(&mut self, other: &Self) {
        for op in Op::ALL {
            if let Some(part) = other.of(op) {
                merge(self.of_mut(op), part);
            }
        }
        merge(&mut self.service, &other.service);
        self.resumed += other.resumed;
        self.last = self.last.max(other.last);
    }

    /// A request that was due `age` before the end and was not sent: its latency is at least that.
    pub(crate) fn add_unsent(&mut self, age: Duration) {
        self.of_mut(Op::Unsent).saturating_record(micros(age));
    }
}

/// Adds up two histograms of the same bounds.
pub(crate) fn merge(into: &mut Latencies, part: &Latencies) {
    // Only other bounds could be refused.
    let merged = into.add(part);
    assert!(merged.is_ok(), "histograms of one kind have the same bounds");
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(LATENCY_US_MAX)
}

/// The requests of one thread that were answered in one interval.
#[derive(Clone, Debug)]
pub(crate) struct Interval {
    /// 0 for the first of the run.
    pub(crate) number: u32,
    pub(crate) latencies: Latencies,
}

impl Interval {
    /// An empty one.
    pub(crate) fn new(number: u32) -> Self {
        Self { number, latencies: histogram(DIGITS_OVER_TIME) }
    }
}

/// Records what one thread sees.
pub(crate) struct Recorder {
    window: Option<Window>,
    pub(crate) tally: Tally,
    interval: Interval,
    interval_end: Instant,
    /// Takes each interval when it is over.
    intervals: Box<dyn Fn(Interval)>,
}

impl Recorder {
    /// Records nothing before [`Recorder::begin`].
    pub(crate) fn new<T: From<Interval> + 'static>(intervals: Sender<T>) -> Self {
        // Nobody listens any more when the run has failed elsewhere.
        let send = move |interval: Interval| drop(intervals.send(interval.into()));
        let (tally, interval) = (Tally::new(), Interval::new(0));
        Self { window: None, tally, interval, interval_end: Instant::now(), intervals: Box::new(send) }
    }

    /// The run begins.
    pub(crate) fn begin(&mut self, window: Window) {
        self.interval_end = window.from + window.interval;
        self.window = Some(window);
    }

    /// What was due at `due` and sent at `sent` was answered at `now`.
    pub(crate) fn record(&mut self, op: Op, due: Instant, sent: Instant, now: Instant) {
        if self.window.is_none_or(|window| due < window.from) {
            return;
        }
        self.roll(now);
        let latency_us = micros(now.saturating_duration_since(due));
        self.tally.of_mut(op).saturating_record(latency_us);
        if op.is_request() {
            self.tally.service.saturating_record(micros(now.saturating_duration_since(sent)));
            self.interval.latencies.saturating_record(latency_us);
            self.tally.last = Some(now);
        }
    }

    /// Hands on the intervals that are over.
    pub(crate) fn roll(&mut self, now: Instant) {
        let Some(window) = self.window else { return };
        while now >= self.interval_end {
            self.interval_end += window.interval;
            let next = Interval::new(self.interval.number + 1);
            (self.intervals)(std::mem::replace(&mut self.interval, next));
        }
    }

    /// Hands on the last interval; everything that was measured.
    pub(crate) fn end(&mut self) -> Tally {
        self.window = None;
        (self.intervals)(std::mem::replace(&mut self.interval, Interval::new(0)));
        std::mem::replace(&mut self.tally, Tally::new())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn recorder() -> (Recorder, Window, Receiver<Interval>) {
        let (sender, receiver) = channel::<Interval>();
        let begun = Instant::now();
        let window = Window { begun, from: begun + 10 * MS, until: begun + 100 * MS, interval: 20 * MS };
        let mut recorder = Recorder::new(sender);
        recorder.begin(window);
        (recorder, window, receiver)
    }

    #[test]
    fn only_what_was_due_after_the_warm_up_counts() {
        let (mut recorder, window, _receiver) = recorder();
        recorder.record(Op::Put, window.begun, window.begun, window.from + MS);
        assert!(recorder.tally.of(Op::Put).is_none());
        recorder.record(Op::Put, window.from, window.from + MS, window.from + 3 * MS);
        let put = recorder.tally.of(Op::Put).expect("recorded");
        assert_eq!((put.len(), put.max() / 1000, recorder.tally.service.max() / 1000), (1, 3, 2));
    }

    #[test]
    fn intervals_without_answers_are_handed_on_too() {
        let (mut recorder, window, receiver) = recorder();
        recorder.record(Op::Get, window.from, window.from, window.from + MS);
        recorder.record(Op::Get, window.from, window.from, window.from + 50 * MS);
        recorder.end();
        let got: Vec<_> = receiver.try_iter().map(|interval| (interval.number, interval.latencies.len())).collect();
        assert_eq!(got, [(0, 1), (1, 0), (2, 1)]);
    }

    #[test]
    fn deliveries_are_no_requests() {
        let (mut recorder, window, _receiver) = recorder();
        recorder.record(Op::Delivery, window.from, window.from, window.from + MS);
        recorder.record(Op::Put, window.from, window.from, window.from + MS);
        let mut sum = Tally::new();
        sum.add(&recorder.tally);
        sum.add(&recorder.tally);
        sum.add_unsent(5 * MS);
        assert_eq!((sum.requests().len(), sum.answered(), sum.service.len()), (3, 2, 2));
        assert_eq!(sum.of(Op::Delivery).map(Latencies::len), Some(2));
    }
}
