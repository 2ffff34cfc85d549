//! The things that are counted: plain cells of one core, without atomics. A core bumps its own; a scrape adds up
//! copies.

use std::time::Duration;

use hdrhistogram::Histogram as Recorder;

/// A number that only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counter(u64);

impl Counter {
    /// Counts one.
    pub(crate) fn inc(&mut self) {
        self.0 += 1;
    }

    /// Counts `n` at once.
    pub(crate) fn add(&mut self, n: u64) {
        self.0 += n;
    }

    /// The count so far.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    pub(super) fn absorb(&mut self, other: Self) {
        self.0 += other.0;
    }
}

/// A number that goes up and down. One core's part may be negative (a thing opened here and closed elsewhere); the sum
/// over all cores is what is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauge(i64);

impl Gauge {
    /// One more.
    pub(crate) fn inc(&mut self) {
        self.0 += 1;
    }

    /// One less.
    pub(crate) fn dec(&mut self) {
        self.0 -= 1;
    }

    /// Replaces the value; past `i64::MAX` it saturates.
    pub(crate) fn set(&mut self, value: u64) {
        self.0 = i64::try_from(value).unwrap_or(i64::MAX);
    }

    /// The current value.
    pub(crate) const fn get(self) -> i64 {
        self.0
    }

    pub(super) fn absorb(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    /// For what only grows and is seen by all cores: the largest is the newest.
    pub(super) fn raise(&mut self, other: Self) {
        self.0 = self.0.max(other.0);
    }
}

/// The most upper bounds that one histogram may have: etcd's longest list.
const BOUNDS_MAX: usize = 14;

/// Upper bounds of `etcd_http_successful_duration_second`, in seconds (etcd 2.3: 0.0005 · 2^k, k = 0..=12).
pub(crate) const HTTP_BOUNDS: &[f64] = &doubling::<13>(0.0005);

/// Upper bounds of proposals, fsyncs and snapshots, in seconds (etcd 2.3: 0.001 · 2^k, k = 0..=13).
pub(crate) const DISK_BOUNDS: &[f64] = &doubling::<14>(0.001);

/// Upper bounds of the number of commands in one log write: 1 to 4096.
pub(crate) const BATCH_BOUNDS: &[f64] = &doubling::<13>(1.0);

const fn doubling<const N: usize>(first: f64) -> [f64; N] {
    assert!(N <= BOUNDS_MAX);
    let mut bounds = [first; N];
    let mut at = 1;
    while at < N {
        bounds[at] = bounds[at - 1] * 2.0;
        at += 1;
    }
    bounds
}

/// A Prometheus histogram with fixed buckets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One count for each bound, then one for everything above the last; not cumulative.
    counts: [u64; BOUNDS_MAX + 1],
    sum: f64,
}

impl Histogram {
    /// An empty one. `bounds` are the inclusive upper limits, growing, at most 14 of them.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        assert!(bounds.len() <= BOUNDS_MAX);
        Self { bounds, counts: [0; BOUNDS_MAX + 1], sum: 0.0 }
    }

    /// Counts one value, in the unit of the bounds.
    pub(crate) fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// How many values were counted.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    pub(crate) const fn sum(&self) -> f64 {
        self.sum
    }

    /// Each upper bound with the number of values at or below it.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        self.bounds.iter().zip(&self.counts).scan(0, |total, (bound, count)| {
            *total += count;
            Some((*bound, *total))
        })
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        assert_eq!(self.bounds, other.bounds, "histograms of different metrics were added up");
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.sum += other.sum;
    }
}

/// Durations: etcd's fixed buckets for the dashboards that exist, and beside them a recorder fine enough for true
/// tail quantiles (within 1 %, from 1 µs to 60 s; longer ones count as 60 s). One takes about 20 KiB.
#[derive(Clone, Debug)]
pub(crate) struct Timer {
    buckets: Histogram,
    recorder: Recorder<u64>,
}

/// The longest duration that a [`Timer`] tells apart, in microseconds. A minute is far beyond every server timeout.
const RECORDED_US_MAX: u64 = 60_000_000;

impl Timer {
    /// An empty one; `bounds` in seconds.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        let recorder = Recorder::new_with_bounds(1, RECORDED_US_MAX, 2).expect("the bounds are constant and valid");
        Self { buckets: Histogram::new(bounds), recorder }
    }

    /// Counts one duration.
    pub(crate) fn observe(&mut self, took: Duration) {
        self.buckets.observe(took.as_secs_f64());
        self.recorder.saturating_record(u64::try_from(took.as_micros()).unwrap_or(RECORDED_US_MAX).max(1));
    }

    /// The fixed buckets, in seconds.
    pub(crate) const fn buckets(&self) -> &Histogram {
        &self.buckets
    }

    /// The duration that the share `quantile` (0.0 to 1.0) of all observations did not exceed; `None` before the first.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<Duration> {
        (!self.recorder.is_empty()).then(|| Duration::from_micros(self.recorder.value_at_quantile(quantile)))
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.buckets.absorb(&other.buckets);
        self.recorder.add(&other.recorder).expect("all recorders have the same bounds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::new(BATCH_BOUNDS);
        for value in [1.0, 2.0, 2.5, 4096.0, 4097.0] {
            histogram.observe(value);
        }
        let cumulative: Vec<(f64, u64)> = histogram.cumulative().collect();
        assert_eq!(cumulative[..3], [(1.0, 1), (2.0, 2), (4.0, 3)]);
        assert_eq!(cumulative.last(), Some(&(4096.0, 4)));
        assert_eq!(histogram.count(), 5);
        assert!((histogram.sum() - 8198.5).abs() < f64::EPSILON);
    }

    #[test]
    fn the_bounds_are_those_of_etcd() {
        assert_eq!((HTTP_BOUNDS.first(), HTTP_BOUNDS.last()), (Some(&0.0005), Some(&2.048)));
        assert_eq!((DISK_BOUNDS.first(), DISK_BOUNDS.last()), (Some(&0.001), Some(&8.192)));
        assert_eq!((HTTP_BOUNDS.len(), DISK_BOUNDS.len()), (13, 14));
    }

    #[test]
    fn a_timer_knows_its_tail_and_takes_any_duration() {
        let mut timer = Timer::new(HTTP_BOUNDS);
        assert_eq!(timer.quantile(0.5), None);
        for ms in 1..=100 {
            timer.observe(Duration::from_millis(ms));
        }
        let p50 = timer.quantile(0.5).expect("not empty").as_secs_f64();
        assert!((0.049..0.052).contains(&p50), "{p50}");
        timer.observe(Duration::ZERO);
        timer.observe(Duration::MAX);
        assert_eq!(timer.buckets().count(), 102);
        assert!(timer.quantile(1.0).expect("not empty") >= Duration::from_secs(59));
    }

    #[test]
    fn copies_of_several_cores_add_up() {
        let (mut one, mut two) = (Timer::new(DISK_BOUNDS), Timer::new(DISK_BOUNDS));
        one.observe(Duration::from_millis(1));
        two.observe(Duration::from_secs(9));
        one.absorb(&two);
        assert_eq!(one.buckets().count(), 2);
        assert_eq!(one.buckets().cumulative().last(), Some((8.192, 1)));

        let (mut opened, mut closed) = (Gauge::default(), Gauge::default());
        opened.inc();
        closed.dec();
        opened.absorb(closed);
        assert_eq!(opened.get(), 0);
    }
}
