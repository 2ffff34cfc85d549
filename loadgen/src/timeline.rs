//! How a run went over time: the threads' intervals, put together.

use crate::record::{Interval, Latencies, merge};

/// One point in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row {
    /// Seconds since the measurement began, at the end of the interval.
    pub(crate) end_s: f64,
    pub(crate) requests: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

/// Intervals as they come in; several threads hand on the same one at about the same time.
pub(crate) struct Timeline {
    interval_s: f64,
    threads: u32,
    open: Vec<(Interval, u32)>,
    rows: Vec<Row>,
}

impl Timeline {
    /// Before the first interval.
    pub(crate) fn new(interval_s: f64, threads: u32) -> Self {
        Self { interval_s, threads, open: Vec::new(), rows: Vec::new() }
    }

    /// A thread's interval is over. The row, if that was the last thread's.
    pub(crate) fn add(&mut self, interval: Interval) -> Option<Row> {
        let number = interval.number;
        match self.open.iter_mut().find(|(open, _)| open.number == number) {
            Some((open, parts)) => {
                merge(&mut open.latencies, &interval.latencies);
                *parts += 1;
            }
            None => self.open.push((interval, 1)),
        }
        let at = self.open.iter().position(|(open, parts)| open.number == number && *parts >= self.threads)?;
        let (whole, _) = self.open.swap_remove(at);
        Some(self.close(&whole))
    }

    fn close(&mut self, whole: &Interval) -> Row {
        let of = |latencies: &Latencies, quantile| latencies.value_at_quantile(quantile);
        let latencies = &whole.latencies;
        let row = Row {
            end_s: f64::from(whole.number + 1) * self.interval_s,
            requests: latencies.len(),
            p50_us: of(latencies, 0.5),
            p99_us: of(latencies, 0.99),
            max_us: latencies.max(),
        };
        self.rows.push(row);
        row
    }

    /// All rows in the order of time. The last ones, which may not be whole intervals, are left out after `end_s`.
    pub(crate) fn end(mut self, end_s: f64) -> Vec<Row> {
        for (whole, _) in std::mem::take(&mut self.open) {
            self.close(&whole);
        }
        // A little more than the end: threads do not notice it at the same time.
        let end_s = end_s + self.interval_s / 10.0;
        self.rows.retain(|row| row.end_s <= end_s);
        self.rows.sort_by(|a, b| a.end_s.total_cmp(&b.end_s));
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_put_together() {
        let interval = |number, us| {
            let mut interval = Interval::new(number);
            interval.latencies.saturating_record(us);
            interval
        };
        let mut timeline = Timeline::new(0.5, 2);
        assert_eq!(timeline.add(interval(0, 10)), None);
        assert_eq!(timeline.add(interval(1, 10)), None);
        let row = timeline.add(interval(0, 100)).expect("both are there");
        assert_eq!((row.requests, row.max_us), (2, 100));
        timeline.add(interval(2, 10));
        let rows = timeline.end(1.0);
        assert_eq!(rows.iter().map(|row| (row.end_s, row.requests)).collect::<Vec<_>>(), [(0.5, 2), (1.0, 1)]);
    }
}
