//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::keys::Distribution;
use crate::value::Sizes;

/// Kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Set keys.
    Put,
    /// Read keys.
    Get,
    /// Read keys through consensus.
    QuorumGet,
    /// What --mix says; nine reads for each write unless it is given.
    Mixed,
    /// Read a counter and raise it by compare-and-swap; all connections contend for few keys.
    Cas,
    /// Create keys and delete them.
    CreateDelete,
    /// Create in-order keys (POST).
    Post,
    /// Create keys that expire, and look that they do.
    Ttl,
    /// Set and read keys far below the root.
    Deep,
    /// List a directory with many children.
    Wide,
    /// List whole trees.
    List,
    /// Set keys that --watchers watch; the time until they have the events is measured.
    Watch,
    /// Read keys, each over a connection of its own.
    Churn,
}

/// A load generator and latency recorder for etcd v2 servers.
///
/// Without --rate it is a closed loop: every connection has --pipeline requests under way and sends the next one when an
/// answer comes. With --rate it is an open loop: requests are due at fixed times whatever the server does, and latencies
/// count from these times. Every answer is checked; a wrong or a lost one ends the run with status 1.
#[derive(Clone, Debug, Parser)]
#[command(name = "uetcd-loadgen", version, about, max_term_width = 120)]
pub(crate) struct Options {
    /// Client ports of the servers, as host:port or `http://host:port`; connections are dealt out in turn.
    #[arg(long, alias = "endpoint", value_delimiter = ',', default_value = "127.0.0.1:2379", value_name = "LIST")]
    pub(crate) endpoints: Vec<String>,
    /// What to do.
    #[arg(long, short, value_enum, default_value = "put")]
    pub(crate) workload: Workload,
    /// Shares of get, quorum-get, put and delete for --workload mixed, such as get=80,put=15,quorum-get=5.
    #[arg(long, value_name = "SHARES")]
    pub(crate) mix: Option<String>,
    /// Connections that send requests.
    #[arg(long, short, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    pub(crate) connections: u32,
    /// Requests under way per connection.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), value_name = "N")]
    pub(crate) pipeline: u32,
    /// Requests after which a connection is replaced; never unless given, after each with --workload churn.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub(crate) requests_per_connection: Option<u64>,
    /// Threads that drive the connections.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024), value_name = "N")]
    pub(crate) threads: u32,
    /// CPUs that the threads are bound to, in turn, such as 2-3,6; unbound unless given.
    #[arg(long, alias = "cpu", value_name = "LIST")]
    pub(crate) cpus: Option<String>,
    /// Microseconds that a thread polls before it sleeps, while answers mostly come that soon: is not woken up late, and takes a whole CPU.
    #[arg(long, default_value_t = 0, value_name = "US", value_parser = clap::value_parser!(u64).range(..=5000))]
    pub(crate) spin_us: u64,
    /// Open loop: requests per second, over all connections.
    #[arg(long, short, value_name = "PER SECOND")]
    pub(crate) rate: Option<f64>,
    /// Open loop at rising rates, and between the last good and the first bad one, to find the knee.
    #[arg(long, value_name = "FROM-TO", conflicts_with = "rate")]
    pub(crate) sweep: Option<String>,
    /// Rates that a sweep rises over, and tries at most.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=100), value_name = "N")]
    pub(crate) steps: u32,
    /// A sweep's rate is good while its 99th percentile is no higher than this, and 99 % of what is offered is answered.
    #[arg(long, default_value = "10ms", value_parser = duration, value_name = "TIME")]
    pub(crate) limit_p99: Duration,
    /// How long to measure, such as 10, 1.5s or 500ms; at every rate of a sweep.
    #[arg(long, short, default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub(crate) duration: Duration,
    /// How long to run before that.
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "TIME")]
    pub(crate) warm_up: Duration,
    /// Longest wait for an answer, and for an event; what takes longer is lost.
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// Different keys: 10000, of cas 16, of wide and list 1000 in each tree unless given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000), value_name = "N")]
    pub(crate) keys: Option<u64>,
    /// Top-level directories that the keys are spread over: 64, of wide, list and watch 1 unless given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000), value_name = "N")]
    pub(crate) directories: Option<u64>,
    /// Directories between a top-level one and its keys: 0, of deep 16 unless given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=256), value_name = "N")]
    pub(crate) depth: Option<u32>,
    /// What the names of all top-level directories begin with: letters, digits, - and _.
    #[arg(long, default_value = "lg-", value_name = "TEXT")]
    pub(crate) prefix: String,
    /// How requests are spread over the keys.
    #[arg(long, value_enum, default_value = "uniform")]
    pub(crate) distribution: Distribution,
    /// Bytes of a value, or a range such as 16-4096.
    #[arg(long, default_value = "64", value_name = "BYTES")]
    pub(crate) value_size: Sizes,
    /// Seconds that the keys of --workload ttl live.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=86_400), value_name = "SECONDS")]
    pub(crate) ttl: u64,
    /// Watchers of --workload watch.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    pub(crate) watchers: u32,
    /// Watchers ask for one event after the other, instead of for a stream of them.
    #[arg(long)]
    pub(crate) long_poll: bool,
    /// Do not write the keys before they are read; 404 is a right answer then.
    #[arg(long)]
    pub(crate) no_prefill: bool,
    /// Seed of the keys' order.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the latencies' distribution in `HdrHistogram`'s text format.
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Write a report with plots, one file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// A line on standard error that says how the run goes on; by default only on a terminal.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) progress: When,
    /// Reserved: this version speaks plain HTTP only.
    #[arg(long, value_name = "FILE")]
    pub(crate) cert_file: Option<PathBuf>,
    /// Reserved: this version speaks plain HTTP only.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Reserved: this version speaks plain HTTP only.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Reserved: this version does not authenticate.
    #[arg(long, value_name = "NAME:PASSWORD")]
    pub(crate) user: Option<String>,
}

/// Whether something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// If standard error is a terminal.
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

/// Reads `10`, `1.5s`, `500ms`, `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let number = found.and_then(|(number, seconds)| Some(number.parse::<f64>().ok()? * seconds));
    let seconds = number.filter(|seconds| (0.0..=604_800.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "say a time up to a week as 10, 1.5s, 500ms or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, ms) in [("10", 10_000), ("1.5s", 1500), ("500ms", 500), ("2m", 120_000), ("0", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "x", "-1", "1d", "nan", "1e9"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
