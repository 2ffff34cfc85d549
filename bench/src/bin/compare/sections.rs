//! What is shown, as tables; how they are written is for `text` and `markdown`.

use crate::goals::Judged;
use crate::growth::directories;
use crate::results::{LoadResult, Memory, Report, Sample};
use crate::stats::{Spread, median};
use crate::who::Who;

/// A table.
#[derive(Debug, PartialEq)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) note: &'static str,
    pub(crate) header: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

const LOADS_NOTE: &str = "Rates are medians (lowest to highest of the rounds), CPU is user + system of the server, in microseconds for \
each request or event. A ratio is the median of the rounds' own ratios. The bare responder answers GETs over as many connections, after a durable \
write of them or without; Redis SETs. \
The disk's own write is that of a thread on the servers' CPU, which sleeps until it is told. Of a fan-out, rate, CPU and latencies are those of the delivered events; \
of compare-and-swap, those of the swaps, successful or too late, with the reads that they need in the CPU time. `client busy` is the load \
generator's share of its CPU: near 100 % the server could do more than is shown. `others` is the largest share of the server's CPU that \
other programs took in a round: with more than a few percent, only the CPU figures are to be trusted.";

const MEMORY_NOTE: &str =
    "Resident memory of a new server, and some seconds after so many keys with values of 64 bytes were written.";

const GROWTH_NOTE: &str = "uetcd alone, 64 connections; three servers in turn, each with its own number of keys.";

const SWEEP_NOTE: &str = "uetcd on the first CPUs, the load generator on the rest. Where it has none left it shares those of the server, \
which then cannot show what it can do: compare the CPU time of a request there.";

const INSTRUCTIONS_NOTE: &str = "From the request's bytes to the answer's, without sockets and disk: parse, route, apply or look up, \
encode, among 10,000 keys. Counted by callgrind, so that noise does not touch them.";

/// All tables that have rows.
pub(crate) fn all(report: &Report) -> Vec<Section> {
    let sections = [goals(report), loads(report), memory(report), growth(report), sweep(report), instructions(report)];
    sections.into_iter().filter(|section| !section.rows.is_empty()).collect()
}

/// A warning, if the servers were not alone on their CPU.
pub(crate) fn disturbed(report: &Report) -> Option<String> {
    /// What the kernel's own work, and ticks that are counted apart, may look like.
    const ALONE: f64 = 5.0;
    let loads = report.loads.iter().flat_map(|load| load.samples.values().flatten()).map(|sample| sample.others);
    let growth = report.growth.iter().flat_map(|growth| growth.others.iter().copied());
    let sweep = report.sweep.iter().filter(|point| !point.shared).flat_map(|point| point.others.iter().copied());
    let most = loads.chain(growth).chain(sweep).fold(0.0, f64::max) * 100.0;
    let others = percent(most);
    let text = format!(
        "Disturbed: other programs took up to {others} of the server's CPU. Measure again when the machine is quiet."
    );
    (most > ALONE).then_some(text)
}

fn goals(report: &Report) -> Section {
    let row = |name: &str, judged: &Judged| {
        let measured = judged.measured.map_or("-".to_owned(), |spread| spread_text(spread, ratio));
        vec![name.to_owned(), judged.goal.clone(), measured, judged.verdict.text().to_owned()]
    };
    let loads = report.loads.iter().flat_map(|load| load.goals.iter().map(|judged| row(&load.name, judged)));
    let memory = report.memory_goals.iter().map(|judged| row("memory", judged));
    let growth = report.growth_goals.iter().map(|judged| row("growth", judged));
    Section {
        title: "Goals",
        note: "The median decides.",
        header: vec!["load", "goal", "measured", "verdict"],
        rows: loads.chain(memory).chain(growth).collect(),
    }
}

fn loads(report: &Report) -> Section {
    Section {
        title: "Loads",
        note: LOADS_NOTE,
        header: vec!["load", "server", "rate/s", "CPU µs", "p50 µs", "p99 µs", "client busy", "others", "uetcd ÷ this"],
        rows: report.loads.iter().flat_map(load_rows).collect(),
    }
}

fn load_rows(load: &LoadResult) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for &who in load.samples.keys() {
        let figure = |figure: fn(&Sample) -> f64, text: fn(f64) -> String| {
            load.spread(who, figure).map_or("-".to_owned(), |spread| text(spread.median))
        };
        let rate = load.spread(who, Sample::rate).map_or("-".to_owned(), |spread| spread_text(spread, grouped));
        let against = if who == Who::Uetcd { None } else { load.ratio(Who::Uetcd, who) };
        rows.push(vec![
            if rows.is_empty() { load.name.clone() } else { String::new() },
            who.name().to_owned(),
            rate,
            figure(Sample::cpu_us, one_digit),
            figure(Sample::p50_us, grouped),
            figure(Sample::p99_us, grouped),
            figure(Sample::client_percent, percent),
            load.spread(who, Sample::others_percent).map_or("-".to_owned(), |spread| percent(spread.max)),
            against.map_or(String::new(), |spread| spread_text(spread, ratio)),
        ]);
    }
    if let Some(spread) = Spread::of(load.disk_p50_us.values().flatten().copied()) {
        let mut row = vec![String::new(), "the disk's own write".to_owned()];
        row.extend([
            "-".to_owned(),
            "-".to_owned(),
            spread_text(spread, grouped),
            "-".to_owned(),
            "-".to_owned(),
            "-".to_owned(),
            String::new(),
        ]);
        rows.push(row);
    }
    rows
}

fn memory(report: &Report) -> Section {
    let mib = |bytes: u64| one_digit(bytes as f64 / f64::from(1 << 20));
    let row = |memory: &Memory| {
        let each = memory.full_bytes.saturating_sub(memory.empty_bytes) / memory.keys.max(1);
        vec![
            memory.server.clone(),
            grouped(memory.keys as f64),
            mib(memory.empty_bytes),
            mib(memory.full_bytes),
            mib(memory.peak_bytes),
            each.to_string(),
        ]
    };
    Section {
        title: "Memory",
        note: MEMORY_NOTE,
        header: vec!["server", "keys", "empty MiB", "full MiB", "peak MiB", "bytes per key"],
        rows: report.memory.iter().map(row).collect(),
    }
}

fn growth(report: &Report) -> Section {
    let rows = report.growth.iter().map(|growth| {
        vec![
            growth.workload.to_uppercase(),
            format!("{} in {}", grouped(growth.keys as f64), directories(growth.directories)),
            of_values(&growth.rates, grouped),
            median(growth.cpu_us.iter().copied()).map_or("-".to_owned(), one_digit),
        ]
    });
    Section { title: "Growth", note: GROWTH_NOTE, header: vec!["", "keys", "rate/s", "CPU µs"], rows: rows.collect() }
}

fn sweep(report: &Report) -> Section {
    let rows = report.sweep.iter().map(|point| {
        let first = report.sweep.iter().find(|first| first.workload == point.workload);
        let gain = first.and_then(|first| Spread::of_ratios(&point.rates, &first.rates));
        vec![
            point.workload.to_uppercase(),
            point.executors.to_string(),
            point.connections.to_string(),
            of_values(&point.rates, grouped),
            gain.map_or("-".to_owned(), |spread| spread_text(spread, ratio)),
            median(point.cpu_us.iter().copied()).map_or("-".to_owned(), one_digit),
            median(point.client.iter().map(|share| share * 100.0)).map_or("-".to_owned(), percent),
            if point.shared { "shares the server's CPUs" } else { "has its own CPUs" }.to_owned(),
        ]
    });
    Section {
        title: "Executors",
        note: SWEEP_NOTE,
        header: vec!["", "executors", "connections", "rate/s", "÷ first", "CPU µs", "client busy", "load generator"],
        rows: rows.collect(),
    }
}

fn instructions(report: &Report) -> Section {
    let rows = report.instructions.iter().map(|each| vec![each.request.to_owned(), grouped(each.count as f64)]);
    Section {
        title: "Instructions",
        note: INSTRUCTIONS_NOTE,
        header: vec!["one request", "instructions"],
        rows: rows.collect(),
    }
}

fn of_values(values: &[f64], text: fn(f64) -> String) -> String {
    Spread::of(values.iter().copied()).map_or("-".to_owned(), |spread| spread_text(spread, text))
}

/// A median with its ends; alone where there is nothing to spread.
fn spread_text(spread: Spread, text: fn(f64) -> String) -> String {
    let (median, min, max) = (text(spread.median), text(spread.min), text(spread.max));
    if min == max { median } else { format!("{median} ({min} to {max})") }
}

fn one_digit(value: f64) -> String {
    format!("{value:.1}")
}

fn percent(value: f64) -> String {
    format!("{value:.0} %")
}

fn ratio(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

/// Whole, with commas between thousands; small ones with a digit more.
fn grouped(value: f64) -> String {
    if value < 100.0 && value.fract() != 0.0 {
        return one_digit(value);
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::loads::Load;

    /// One load of two servers and two rounds.
    pub(crate) fn report() -> Report {
        let load = Load::parse("get-64").expect("a load");
        let mut result = LoadResult::new(&load);
        let sample = |rate| Sample {
            rate,
            requests: 1,
            seconds: 1.0,
            others: 0.02,
            client: 0.9,
            cpu_us: 8.25,
            p50_us: 900.0,
            p99_us: 1234.0,
            resumed: 0,
        };
        for rate in [60_000.0, 62_000.0] {
            result.add(Who::Uetcd, sample(rate));
            result.add(Who::Etcd, sample(rate / 4.0));
        }
        result.goals = load.goals.iter().map(|goal| goal.judge(&result)).collect();
        Report { rounds: 2, seconds: 1.0, loads: vec![result], ..Report::default() }
    }

    #[test]
    fn numbers_are_grouped() {
        for (value, want) in
            [(0.0, "0"), (7.25, "7.2"), (99.0, "99"), (123.4, "123"), (1000.0, "1,000"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(grouped(value), want);
        }
    }

    #[test]
    fn a_spread_shows_its_ends_if_it_has_any() {
        assert_eq!(spread_text(Spread { median: 2.0, min: 1.0, max: 3.0 }, ratio), "2.00 (1.00 to 3.00)");
        assert_eq!(spread_text(Spread { median: 2.0, min: 2.001, max: 2.0 }, ratio), "2.00");
    }

    #[test]
    fn who_was_not_alone_is_warned() {
        let mut report = report();
        assert_eq!(disturbed(&report), None);
        for sample in report.loads[0].samples.values_mut().flatten().skip(1) {
            sample.others = 0.4;
        }
        assert!(disturbed(&report).is_some_and(|text| text.contains("up to 40 %")));
    }

    #[test]
    fn a_load_has_a_row_for_each_server() {
        let sections = all(&report());
        let titles: Vec<_> = sections.iter().map(|section| section.title).collect();
        assert_eq!(titles, ["Goals", "Loads"]);
        let rows = &sections[1].rows;
        assert_eq!(rows[0], ["get-64", "uetcd", "61,000 (60,000 to 62,000)", "8.2", "900", "1,234", "90 %", "2 %", ""]);
        assert_eq!(rows[1], ["", "etcd", "15,250 (15,000 to 15,500)", "8.2", "900", "1,234", "90 %", "2 %", "4.00"]);
        assert!(sections[0].rows.contains(&["get-64", "≥ 2.7 x etcd", "4.00", "met"].map(str::to_owned).to_vec()));
        assert!(sections[0].rows.iter().any(|row| row[3] == "not measured"), "no responder");
    }
}
