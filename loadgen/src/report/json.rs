//! The report as one JSON document.

use serde_json::{Map, Value, json};

use super::{PERCENTILES, Report, ops};
use crate::op::Op;
use crate::record::Latencies;
use crate::run::Measured;

/// The document. Of a sweep: `runs` and `knee`; else the run itself.
pub(super) fn document(report: &Report) -> Value {
    let mut document = if report.is_sweep {
        let runs: Vec<_> = report.runs.iter().map(run).collect();
        json!({ "knee_requests_per_second": report.knee, "runs": runs })
    } else {
        run(report.main_run())
    };
    document["workload"] = report.what.as_str().into();
    document
}

fn run(run: &Measured) -> Value {
    let all = run.tally.requests();
    let kinds: Map<String, Value> =
        ops(run).filter_map(|op| Some((op.name().to_owned(), latencies(run.tally.of(op)?)))).collect();
    let rows: Vec<_> = run
        .timeline
        .iter()
        .map(|row| {
            json!({ "end_s": row.end_s, "requests": row.requests, "p50_us": row.p50_us, "p99_us": row.p99_us,
                    "max_us": row.max_us })
        })
        .collect();
    json!({
        "seconds": run.seconds,
        "interrupted": run.is_interrupted,
        "requests": run.tally.answered(),
        "requests_per_second": run.rate(),
        "offered_per_second": run.offered,
        "unsent": run.tally.count(Op::Unsent),
        "watches_resumed": run.tally.resumed,
        "latency_us": percentiles(&all),
        "latency_us_max": all.max(),
        "latency_us_mean": all.mean(),
        "since_sent": latencies(&run.tally.service),
        "kinds": kinds,
        "over_time": rows,
    })
}

fn percentiles(latencies: &Latencies) -> Value {
    let each = PERCENTILES.iter().map(|p| (format!("p{p}"), json!(latencies.value_at_percentile(*p))));
    Value::Object(each.collect())
}

fn latencies(latencies: &Latencies) -> Value {
    json!({
        "count": latencies.len(),
        "latency_us": percentiles(latencies),
        "latency_us_max": latencies.max(),
        "latency_us_mean": latencies.mean(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::report;
    use super::*;

    #[test]
    fn a_run_is_an_object_and_a_sweep_a_list_of_them() {
        let run = document(&report(false));
        assert_eq!((&run["requests"], &run["requests_per_second"]), (&json!(1000), &json!(500.0)));
        assert_eq!((&run["latency_us"]["p50"], &run["kinds"]["put"]["count"]), (&json!(500), &json!(1000)));
        let sweep = document(&report(true));
        assert_eq!(sweep["knee_requests_per_second"], json!(500.0));
        assert_eq!(sweep["runs"].as_array().map(Vec::len), Some(2));
    }
}
