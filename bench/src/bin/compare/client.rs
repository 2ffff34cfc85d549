//! The clients: one run of a load generator, and what it says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::loads::{Counted, Load};
use crate::process::{Output, Process};
use crate::results::Sample;
use crate::server::Server;
use crate::stop::Stop;
use crate::usage::{Usage, Watch};
use crate::who::Who;

/// What every run of a client may take beyond the time it measures: connecting, and last answers.
const SLACK: Duration = Duration::from_secs(90);
/// What writing the keys that a load reads may take: a million of them at a rate that any server reaches.
const PREFILL_WITHIN: Duration = Duration::from_mins(10);

/// Where the clients are, and what they share.
pub(crate) struct Clients<'a> {
    pub(crate) loadgen: PathBuf,
    pub(crate) redis_benchmark: Option<PathBuf>,
    pub(crate) cpus: Vec<usize>,
    pub(crate) threads: usize,
    pub(crate) seconds: f64,
    /// For their output.
    pub(crate) dir: &'a Path,
    pub(crate) stop: &'a Stop,
}

/// What `uetcd-loadgen --json` prints, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Document {
    requests: u64,
    seconds: f64,
    latency_us: Latencies,
    kinds: BTreeMap<String, Kind>,
    watches_resumed: u64,
}

#[derive(Debug, Deserialize)]
struct Kind {
    count: u64,
    latency_us: Latencies,
}

#[derive(Debug, Deserialize)]
struct Latencies {
    p50: f64,
    p99: f64,
}

impl Clients<'_> {
    /// Writes what the load reads, and checks that it can be read.
    pub(crate) fn prefill(&self, load: &Load, server: &Server) -> Result<(), String> {
        if !load.reads() || server.who.is_bare() {
            return Ok(());
        }
        let mut arguments = asked(load, server.port);
        arguments.extend(words("--duration 100ms --warm-up 0 --timeout 60s"));
        self.loadgen(arguments, PREFILL_WITHIN).map(drop)
    }

    /// Writes `keys` keys and nothing else.
    pub(crate) fn fill(&self, keys: u64, directories: u64, server: &Server) -> Result<(), String> {
        // Reading begins when all is written; a moment of it shows that the values are there.
        let load =
            Load::parse("get-64x16").map(|load| Load { keys: Some(keys), directories: Some(directories), ..load })?;
        self.prefill(&load, server)
    }

    /// Puts the load on the server. The keys that it reads must be there.
    pub(crate) fn measure(&self, load: &Load, server: &Server) -> Result<Sample, String> {
        if server.who == Who::Redis {
            return self.redis(load, server);
        }
        let mut arguments = if server.who.is_bare() {
            asked(&Load { workload: "get", keys: Some(1), ..load.clone() }, server.port)
        } else {
            asked(load, server.port)
        };
        // No warm-up, nothing written before: so all CPU time that the server takes is for requests that count.
        arguments.extend(words("--no-prefill --warm-up 0 --timeout 30s --duration"));
        arguments.push(format!("{}ms", (self.seconds * 1e3).round()));
        let watch = Watch::begin(server)?;
        let (document, client_us) = self.loadgen(arguments, Duration::from_secs_f64(self.seconds) + SLACK)?;
        let figures = figures(&document, load)?;
        Ok(self.sample(figures, watch.end()?, client_us))
    }

    fn sample(&self, figures: Figures, usage: Usage, client_us: f64) -> Sample {
        let Figures { rate, requests, seconds, p50_us, p99_us, resumed } = figures;
        let client = client_us / usage.wall_us / self.cpus.len() as f64;
        let cpu_us = usage.server_us / requests as f64;
        Sample { rate, requests, seconds, cpu_us, p50_us, p99_us, others: usage.others, client, resumed }
    }

    fn loadgen(&self, mut arguments: Vec<String>, limit: Duration) -> Result<(Document, f64), String> {
        let list = self.cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        arguments.extend(["--json".into(), "--progress=never".into(), "--cpus".into(), list]);
        arguments.extend(["--threads".into(), self.threads.to_string()]);
        let (text, cpu_us) = self.output(&self.loadgen, &arguments, limit)?;
        let document = serde_json::from_str(&text).map_err(|error| format!("uetcd-loadgen's JSON: {error}"))?;
        Ok((document, cpu_us))
    }

    /// What a client prints, and the CPU time that it takes.
    fn output(&self, program: &Path, arguments: &[String], limit: Duration) -> Result<(String, f64), String> {
        let path = self.dir.join("client.out");
        let process = Process::start(program, arguments, &self.cpus, self.dir, &Output::File(path.clone()))?;
        let cpu_us = process.finish(limit, self.stop)?;
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok((text, cpu_us))
    }

    /// `redis-benchmark` counts requests and knows no time: a short run tells how many fill it.
    fn redis(&self, load: &Load, server: &Server) -> Result<Sample, String> {
        const TRIAL: u64 = 20_000;
        let (trial, _) = self.redis_benchmark(load, server, TRIAL)?;
        let requests = (trial.rate * self.seconds).max(1e3) as u64;
        let watch = Watch::begin(server)?;
        let (figures, client_us) = self.redis_benchmark(load, server, requests)?;
        Ok(self.sample(figures, watch.end()?, client_us))
    }

    fn redis_benchmark(&self, load: &Load, server: &Server, requests: u64) -> Result<(Figures, f64), String> {
        let program = self.redis_benchmark.as_deref().ok_or("redis-benchmark is missing")?;
        let arguments = words(&format!(
            "-h 127.0.0.1 -p {} -t set -d 64 -r 10000 -c {} -P {} -n {requests} --csv",
            server.port, load.connections, load.pipeline
        ));
        let (text, cpu_us) = self.output(program, &arguments, Duration::from_secs_f64(self.seconds * 4.0) + SLACK)?;
        let figures = redis_figures(&text, requests);
        Ok((figures.ok_or("redis-benchmark's output is not as expected")?, cpu_us))
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// What to ask the load generator for.
fn asked(load: &Load, port: u16) -> Vec<String> {
    let mut all = words(&format!(
        "--endpoints 127.0.0.1:{port} --workload {} --connections {} --pipeline {}",
        load.workload, load.connections, load.pipeline
    ));
    let sizes = [("--keys", load.keys), ("--directories", load.directories)];
    let watchers = ("--watchers", Some(u64::from(load.watchers)).filter(|&watchers| watchers > 0));
    for (flag, value) in sizes.into_iter().chain([watchers]) {
        all.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value.to_string()]));
    }
    all
}

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    rate: f64,
    requests: u64,
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
    resumed: u64,
}

fn figures(document: &Document, load: &Load) -> Result<Figures, String> {
    let Document { seconds, watches_resumed: resumed, .. } = *document;
    let count = |kind: &str| document.kinds.get(kind).map_or(0, |kind| kind.count);
    let latencies = |kind: &str| document.kinds.get(kind).map(|kind| &kind.latency_us);
    let (requests, latencies) = match load.counted() {
        Counted::Requests => (document.requests, Some(&document.latency_us)),
        Counted::Events => (count("delivery"), latencies("delivery")),
        // One that came too late was compared as well.
        Counted::Swaps => (count("cas") + count("cas-refused"), latencies("cas")),
    };
    let latencies = latencies.filter(|_| requests > 0).ok_or("nothing was answered")?;
    let rate = requests as f64 / seconds;
    Ok(Figures { rate, requests, seconds, p50_us: latencies.p50, p99_us: latencies.p99, resumed })
}

/// `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"`
fn redis_figures(csv: &str, requests: u64) -> Option<Figures> {
    let line = csv.lines().find(|line| line.starts_with("\"SET\""))?;
    let fields: Vec<f64> = line.split(',').skip(1).map_while(|field| field.trim_matches('"').parse().ok()).collect();
    let &[rate, _, _, p50, _, p99, _] = fields.as_slice() else { return None };
    Some(Figures { rate, requests, seconds: requests as f64 / rate, p50_us: p50 * 1e3, p99_us: p99 * 1e3, resumed: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"requests":10,"seconds":2.0,"watches_resumed":1,"more":null,"latency_us":{"p50":100,"p99":300},
        "kinds":{"delivery":{"count":40,"latency_us":{"p50":7,"p99":9}},"cas-refused":{"count":5,"latency_us":{"p50":8,"p99":8}},
        "cas":{"count":1,"latency_us":{"p50":6,"p99":6}}}}"#;

    #[test]
    fn what_counts_depends_on_the_load() {
        let document: Document = serde_json::from_str(JSON).expect("JSON");
        for (load, rate, requests, p50) in
            [("get-64", 5.0, 10, 100.0), ("watch-10", 20.0, 40, 7.0), ("cas-64", 3.0, 6, 6.0)]
        {
            let figures = figures(&document, &Load::parse(load).expect("a load")).expect("figures");
            assert_eq!((figures.rate, figures.requests, figures.p50_us), (rate, requests, p50), "{load}");
        }
        let nothing: Document = serde_json::from_str(&JSON.replace("delivery", "else")).expect("JSON");
        assert!(figures(&nothing, &Load::parse("watch-10").expect("a load")).is_err());
    }

    #[test]
    fn redis_counts_in_milliseconds() {
        let csv = "\"test\",\"rps\",\"avg\"\n\"SET\",\"40000.00\",\"1.5\",\"0.2\",\"1.4\",\"2.0\",\"3.0\",\"9.0\"\n";
        let figures = redis_figures(csv, 80_000).expect("figures");
        assert_eq!((figures.rate, figures.seconds, figures.p50_us, figures.p99_us), (40_000.0, 2.0, 1400.0, 3000.0));
        assert_eq!(redis_figures("\"SET\",\"nan?\"", 1), None);
    }

    #[test]
    fn a_load_becomes_arguments() {
        let load = Load::parse("watch-1000").expect("a load");
        assert_eq!(
            asked(&load, 7).join(" "),
            "--endpoints 127.0.0.1:7 --workload watch --connections 1 --pipeline 1 --watchers 1000"
        );
        let load = Load::parse("list-10").expect("a load");
        assert!(
            asked(&load, 7)
                .join(" ")
                .ends_with("--workload list --connections 8 --pipeline 1 --keys 10 --directories 1")
        );
    }
}
