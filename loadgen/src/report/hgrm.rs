//! `HdrHistogram`'s text format, which its plotters read. Values are milliseconds, as they expect.

use std::fmt::Write as _;

use crate::record::Latencies;

/// Lines between two halvings of the distance to 100 %.
const TICKS: u32 = 5;

/// The whole distribution.
pub(super) fn text(latencies: &Latencies) -> String {
    let ms = |us: u64| us as f64 / 1e3;
    let mut out = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut count = 0;
    // Writing to a string cannot fail: the results are dropped.
    for step in latencies.iter_quantiles(TICKS) {
        count += step.count_since_last_iteration();
        let quantile = step.quantile_iterated_to();
        let _ = write!(out, "{:>12.3} {quantile:>2.12} {count:>10}", ms(step.value_iterated_to()));
        let _ = if quantile < 1.0 { writeln!(out, " {:>14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(out) };
    }
    let (mean, deviation) = (latencies.mean() / 1e3, latencies.stdev() / 1e3);
    let _ = writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]");
    let _ = writeln!(out, "#[Max     = {:>12.3}, Total count    = {:>12}]", ms(latencies.max()), latencies.len());
    let _ = writeln!(out, "#[Buckets = {:>12}, SubBuckets     = {:>12}]", latencies.buckets(), 2048);
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::report;
    use super::*;

    #[test]
    fn lines_have_the_columns_of_the_format() {
        let text = text(&report(false).main_run().tally.requests());
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|cell| cell.parse().expect("a number")).collect())
            .collect();
        assert!(rows.len() > 10 && rows[..rows.len() - 1].iter().all(|row| row.len() == 4));
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]));
        let last = &rows[rows.len() - 1];
        assert!((last[0] - 1.0).abs() < 0.001 && last[1..] == [1.0, 1000.0], "{last:?}");
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
