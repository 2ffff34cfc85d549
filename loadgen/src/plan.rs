//! What a run does: the command line, checked and completed.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;

use crate::cli::{Options, Workload};
use crate::keys::Distribution;
use crate::mix::Mix;
use crate::random::mix;
use crate::value::Sizes;

/// Counters of `--workload cas`: every connection remembers all of them.
const COUNTERS_MAX: u64 = 10_000;

/// Levels of `--workload deep`.
const DEEP: u32 = 16;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As `Host` names it.
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
}

/// Rising rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sweep {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) steps: u32,
    pub(crate) limit_p99: Duration,
}

/// Everything that is known before the first connection is opened.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) workload: Workload,
    pub(crate) mix: Mix,
    pub(crate) connections: u32,
    pub(crate) pipeline: usize,
    pub(crate) requests_per_connection: Option<u64>,
    pub(crate) threads: u32,
    /// Of thread n: the n-th, from the start again after the last.
    pub(crate) cpus: Vec<usize>,
    pub(crate) spin: Duration,
    /// Requests per second of an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) sweep: Option<Sweep>,
    pub(crate) duration: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) timeout: Duration,
    pub(crate) keys: u64,
    pub(crate) directories: u64,
    pub(crate) depth: u32,
    pub(crate) prefix: String,
    pub(crate) distribution: Distribution,
    pub(crate) sizes: Sizes,
    pub(crate) ttl_s: u64,
    /// 0 unless the workload is `watch`.
    pub(crate) watchers: u32,
    pub(crate) long_poll: bool,
    /// Keys are written before they are read.
    pub(crate) prefill: bool,
    pub(crate) seed: u64,
    /// Part of the names that must be this run's own.
    pub(crate) run: String,
}

impl Plan {
    /// Checks the command line. The error is one line for the user.
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        refuse_reserved(options)?;
        let workload = options.workload;
        let defaults = Defaults::of(workload);
        let threads = options.threads.min(options.connections.max(watchers(options)));
        let plan = Self {
            endpoints: options.endpoints.iter().map(|text| endpoint(text)).collect::<Result<_, _>>()?,
            workload,
            mix: Mix::new(workload, options.mix.as_deref())?,
            connections: options.connections,
            pipeline: options.pipeline as usize,
            requests_per_connection: options.requests_per_connection.or(defaults.requests_per_connection),
            threads,
            cpus: options.cpus.as_deref().map_or_else(|| Ok(Vec::new()), cpus)?,
            spin: Duration::from_micros(options.spin_us),
            rate: options.rate.map(|rate| check_rate(rate, "--rate")).transpose()?,
            sweep: sweep(options)?,
            duration: options.duration,
            warm_up: options.warm_up,
            timeout: options.timeout,
            keys: options.keys.unwrap_or(defaults.keys),
            directories: options.directories.unwrap_or(defaults.directories),
            depth: options.depth.unwrap_or(defaults.depth),
            prefix: prefix(&options.prefix)?,
            distribution: options.distribution,
            sizes: options.value_size,
            ttl_s: options.ttl,
            watchers: watchers(options),
            long_poll: options.long_poll,
            prefill: !options.no_prefill,
            seed: options.seed,
            run: run_name(),
        };
        if plan.duration.is_zero() || plan.timeout.is_zero() {
            return Err("--duration and --timeout must be above 0".to_owned());
        }
        if workload == Workload::Cas && plan.keys > COUNTERS_MAX {
            return Err(format!("--keys: cas has {COUNTERS_MAX} counters at most"));
        }
        Ok(plan)
    }

    /// The same with names of its own, for another run.
    pub(crate) fn renamed(self) -> Self {
        Self { run: run_name(), ..self }
    }

    /// The endpoint of a connection or watcher.
    pub(crate) fn endpoint(&self, number: u32) -> &Endpoint {
        &self.endpoints[number as usize % self.endpoints.len()]
    }

    /// One line for reports.
    pub(crate) fn describe(&self) -> String {
        let hosts: Vec<_> = self.endpoints.iter().map(|endpoint| endpoint.host.as_str()).collect();
        let mut text = format!(
            "{}: {} connections, {} under way each, {} threads, {} keys in {} directories ({}), values of {} bytes",
            name(&self.workload),
            self.connections,
            self.pipeline,
            self.threads,
            self.keys,
            self.directories,
            name(&self.distribution),
            self.sizes
        );
        if self.watchers > 0 {
            text = format!("{text}, {} watchers", self.watchers);
        }
        let pace = match (self.sweep, self.rate) {
            (Some(sweep), _) => format!("open loop at {} to {} per second", sweep.from, sweep.to),
            (None, Some(rate)) => format!("open loop at {rate} per second"),
            (None, None) => "closed loop".to_owned(),
        };
        format!("{text}, {pace}, on {}", hosts.join(", "))
    }
}

/// A choice as the command line spells it.
fn name(choice: &impl ValueEnum) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What depends on the workload unless it is given.
struct Defaults {
    keys: u64,
    directories: u64,
    depth: u32,
    requests_per_connection: Option<u64>,
}

impl Defaults {
    fn of(workload: Workload) -> Self {
        let (keys, directories) = match workload {
            Workload::Cas => (16, 64),
            Workload::Wide | Workload::List => (1000, 1),
            Workload::Watch => (10_000, 1),
            _ => (10_000, 64),
        };
        let depth = if workload == Workload::Deep { DEEP } else { 0 };
        Self { keys, directories, depth, requests_per_connection: (workload == Workload::Churn).then_some(1) }
    }
}

fn watchers(options: &Options) -> u32 {
    if options.workload == Workload::Watch { options.watchers } else { 0 }
}

fn refuse_reserved(options: &Options) -> Result<(), String> {
    let tls = [&options.cert_file, &options.key_file, &options.ca_file].iter().any(|file| file.is_some());
    if tls || options.endpoints.iter().any(|endpoint| endpoint.starts_with("https:")) {
        return Err(
            "TLS is not there yet: give http:// endpoints, and no --cert-file, --key-file or --ca-file".to_owned()
        );
    }
    if options.user.is_some() {
        return Err("authentication is not there yet: --user is reserved for it".to_owned());
    }
    Ok(())
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let host = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let addresses = host.to_socket_addrs().map_err(|error| format!("endpoint {text:?}: {error}; say host:port"));
    let address = addresses?.next().ok_or_else(|| format!("endpoint {text:?} has no address"))?;
    Ok(Endpoint { host: host.to_owned(), address })
}

fn cpus(text: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("--cpus {text:?}: say numbers and ranges such as 2-3,6");
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
        if first > last || last > 4096 {
            return Err(wrong());
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

fn check_rate(rate: f64, flag: &str) -> Result<f64, String> {
    if (0.01..=100_000_000.0).contains(&rate) { Ok(rate) } else { Err(format!("{flag}: {rate} is no rate per second")) }
}

fn sweep(options: &Options) -> Result<Option<Sweep>, String> {
    let Some(text) = &options.sweep else { return Ok(None) };
    let wrong = || format!("--sweep {text:?}: say two rates per second such as 1000-64000");
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let rate = |text: &str| check_rate(text.parse().map_err(|_| wrong())?, "--sweep");
    let (from, to) = (rate(from)?, rate(to)?);
    if from >= to {
        return Err(wrong());
    }
    Ok(Some(Sweep { from, to, steps: options.steps, limit_p99: options.limit_p99 }))
}

fn prefix(text: &str) -> Result<String, String> {
    // A leading underscore would hide the keys from listings.
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if plain && !text.starts_with('_') {
        Ok(text.to_owned())
    } else {
        Err(format!("--prefix {text:?}: letters, digits, - and _ only, no _ in front"))
    }
}

fn run_name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    format!("{:010x}", mix(since ^ u64::from(std::process::id()) << 40) >> 24)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        let all = std::iter::once("loadgen").chain(arguments.iter().copied());
        Plan::new(&Options::try_parse_from(all).expect("flags that exist"))
    }

    #[test]
    fn what_is_not_said_depends_on_the_workload() {
        let cas = plan(&["-w", "cas"]).expect("valid");
        assert_eq!((cas.keys, cas.watchers, cas.requests_per_connection), (16, 0, None));
        let churn = plan(&["-w", "churn", "--keys", "5"]).expect("valid");
        assert_eq!((churn.keys, churn.requests_per_connection), (5, Some(1)));
        assert_eq!(plan(&["-w", "watch"]).expect("valid").watchers, 16);
        assert_eq!(plan(&["-c", "2", "-t", "8"]).expect("valid").threads, 2);
    }

    #[test]
    fn nonsense_is_refused_in_one_line() {
        for arguments in [
            &["--endpoints", "https://localhost:1"][..],
            &["--user", "a:b"],
            &["--ca-file", "x"],
            &["--endpoints", "nowhere"],
            &["--cpus", "3-1"],
            &["--rate", "0"],
            &["--sweep", "5-1"],
            &["--sweep", "5"],
            &["--prefix", "a/b"],
            &["--prefix", "_a"],
            &["--duration", "0"],
            &["-w", "cas", "--keys", "10001"],
            &["-w", "mixed", "--mix", "get=x"],
            &["-w", "put", "--mix", "get=1"],
        ] {
            let error = plan(arguments).expect_err(&format!("{arguments:?}"));
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn lists_are_lists() {
        let plan = plan(&["--endpoints", "127.0.0.1:1,http://127.0.0.1:2/", "--cpus", "2-3,6"]).expect("valid");
        assert_eq!(plan.cpus, [2, 3, 6]);
        assert_eq!((plan.endpoint(0).host.as_str(), plan.endpoint(3).host.as_str()), ("127.0.0.1:1", "127.0.0.1:2"));
    }
}
