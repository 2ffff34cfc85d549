//! From the values of the flags to a [`Config`]: the checks that need more than one flag, in etcd's order.

use std::path::PathBuf;
use std::time::Duration;

use super::command::{Machine, Values};
use super::flags::{self, Effect, Flag};
use super::urls::Urls;
use super::value::{Cpus, Value, address_url};
use super::{
    Bootstrap, Config, Cors, Discovery, Exit, InitialCluster, Mending, ProxyMode, Proxying, Scrub, Srv, banner, tls,
};
use crate::core::ticket::CORES_MAX as EXECUTORS_MAX;
use crate::logging::{LogLine, Output, Settings, Severity};

/// The longest election timeout that etcd takes, in milliseconds.
const ELECTION_MS_MAX: u64 = 50_000;
/// What `--snapshot-count 0` stands for.
const SNAPSHOT_COUNT: u64 = 10_000;
/// etcd 2.x takes form bodies of up to 10 MiB whatever this flag of 3.4 says (its default there is lower).
const BODY_BYTES_MIN: u64 = 10 << 20;
/// The most shards: each has its own raft group, tree and files.
const SHARDS_MAX: u64 = 1024;
/// The most executors for each CPU that the process may use. One is right; a few are for tests; many only stand in each other's
/// way, until the node is too slow to be a member.
const EXECUTORS_PER_CPU_MAX: u64 = 8;
/// Far more than a write takes a disk for which polling is worth it, and less than what lies between the timers of an idle executor: these must not
/// look like work that comes soon.
const SPIN_US_MAX: u64 = 5_000;
/// More events of one shard than any memory holds.
const HISTORY_EVENTS_MAX: u64 = 1 << 32;
/// A TiB per second: no disk is faster.
const SCRUB_RATE_MAX: u64 = 1 << 20;
/// A proxy asks the members no more often: etcd asks without a pause when told 0.
const REFRESH_MS_MIN: u64 = 100;
/// A year.
const SCRUB_INTERVAL_S_MAX: u64 = 31_536_000;

/// Flags that matter only before there is data, apart from discovery's.
const INITIAL_FLAGS: [&str; 4] =
    ["initial-advertise-peer-urls", "initial-cluster", "initial-cluster-state", "initial-cluster-token"];

/// Checks the values and puts them together. `log` is what was noticed so far.
pub(crate) fn config(values: &Values, machine: &Machine<'_>, mut log: Vec<LogLine>) -> Result<Config, Exit> {
    let checked = build(values, machine, &mut log);
    checked.map(|config| Config { log: std::mem::take(&mut log), ..config }).map_err(|exit| exit.after(&log))
}

fn build(values: &Values, machine: &Machine<'_>, log: &mut Vec<LogLine>) -> Result<Config, Exit> {
    check_bootstrap_flags(values)?;
    let addresses = Addresses::read(values)?;
    check_advertised(values)?;
    check_timing(values)?;
    check_logger(values)?;
    let cores = cores(values, machine)?;
    let logging = logging(values, log)?;
    log.extend(banner::versions(cores.len(), machine.cpus.len()));
    log.extend(effectless(values));
    let name = values.text("name").to_owned();
    let bootstrap = bootstrap(values, &name, &addresses.advertise_peer)?;
    tls::check(values, &addresses.listen_peer, &addresses.listen_client, log)?;
    check_supported(values, &addresses)?;
    check_backups(values, &bootstrap, &name)?;
    Ok(Config {
        data_dir: data_dir(values, &name, log),
        wal_dir: path(values, "wal-dir"),
        snapshot_count: snapshot_count(values, log),
        max_snapshots: Some(values.uint("max-snapshots")).filter(|kept| *kept > 0),
        heartbeat: Duration::from_millis(values.uint("heartbeat-interval")),
        election: Duration::from_millis(values.uint("election-timeout")),
        max_request_bytes: values.uint("max-request-bytes").max(BODY_BYTES_MIN) as usize,
        listen_client: addresses.listen_client,
        listen_peer: addresses.listen_peer,
        listen_metrics: addresses.listen_metrics,
        advertise_client: addresses.advertise_client,
        advertise_peer: addresses.advertise_peer,
        bootstrap,
        cluster_token: values.text("initial-cluster-token").to_owned(),
        join_existing: values.text("initial-cluster-state") == "existing",
        initial_flags: INITIAL_FLAGS.iter().copied().filter(|flag| values.is_set(flag)).collect(),
        force_new_cluster: values.bool("force-new-cluster"),
        restore_backup: path(values, "restore-backup"),
        write_backup: path(values, "write-backup"),
        mending: mending(values),
        proxying: proxying(values),
        cors: cors(values),
        logging,
        cores,
        shards: shards(values)?,
        spin: Duration::from_micros(within(values, "spin-us", 0, SPIN_US_MAX)?),
        history_events: within(values, "history-events", 1, HISTORY_EVENTS_MAX)? as usize,
        history_bytes: values.uint("history-bytes") as usize,
        request_memory: Some(values.uint("request-memory") as usize).filter(|bytes| *bytes > 0),
        strict_reconfig_check: values.bool("strict-reconfig-check"),
        scrub: scrub(values)?,
        max_connections: Some(values.uint("max-connections") as usize).filter(|limit| *limit > 0),
        name,
        log: Vec::new(),
    })
}

fn mending(values: &Values) -> Option<Mending> {
    let dirs = values.text("mend-from").split(',').filter(|dir| !dir.is_empty());
    let from: Vec<PathBuf> = dirs.map(PathBuf::from).collect();
    (!from.is_empty()).then(|| Mending { from, dry_run: values.bool("mend-dry-run") })
}

fn path(values: &Values, flag: &str) -> Option<PathBuf> {
    Some(values.text(flag)).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn proxying(values: &Values) -> Proxying {
    let time = |flag| Some(Duration::from_millis(values.uint(flag))).filter(|time| !time.is_zero());
    Proxying {
        mode: match values.text("proxy") {
            "on" => ProxyMode::On,
            "readonly" => ProxyMode::Readonly,
            _ => ProxyMode::Off,
        },
        failure_wait: Duration::from_millis(values.uint("proxy-failure-wait")),
        refresh_interval: Duration::from_millis(values.uint("proxy-refresh-interval").max(REFRESH_MS_MIN)),
        dial_timeout: time("proxy-dial-timeout"),
        write_timeout: time("proxy-write-timeout"),
        read_timeout: time("proxy-read-timeout"),
    }
}

fn scrub(values: &Values) -> Result<Option<Scrub>, Exit> {
    let bytes_per_second = within(values, "scrub-rate", 0, SCRUB_RATE_MAX)? << 20;
    let interval = Duration::from_secs(within(values, "scrub-interval", 1, SCRUB_INTERVAL_S_MAX)?);
    Ok((bytes_per_second > 0).then_some(Scrub { bytes_per_second, interval }))
}

fn shards(values: &Values) -> Result<Option<u16>, Exit> {
    let shards = within(values, "shards", 1, SHARDS_MAX)? as u16;
    Ok(values.is_set("shards").then_some(shards))
}

fn check_bootstrap_flags(values: &Values) -> Result<(), Exit> {
    let set = ["discovery", "initial-cluster", "discovery-srv"].iter().filter(|flag| values.is_set(flag)).count();
    if set > 1 {
        return Err(Exit::verifying(
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\" or \
             \"discovery-srv\"",
        ));
    }
    Ok(())
}

/// Where this member listens and what it tells others.
struct Addresses {
    listen_peer: Urls,
    listen_client: Urls,
    listen_metrics: Vec<super::Url>,
    advertise_peer: Urls,
    advertise_client: Urls,
}

impl Addresses {
    fn read(values: &Values) -> Result<Self, Exit> {
        let listen_metrics = match values.get("listen-metrics-urls") {
            Value::UrlsOrNone(Some(urls)) => urls.as_slice().to_vec(),
            _ => Vec::new(),
        };
        Ok(Self {
            listen_peer: listen_urls(values, "listen-peer-urls", "peer-bind-addr", "peer-addr")?,
            advertise_peer: urls(values, "initial-advertise-peer-urls", "peer-addr")?,
            listen_client: listen_urls(values, "listen-client-urls", "bind-addr", "addr")?,
            advertise_client: urls(values, "advertise-client-urls", "addr")?,
            listen_metrics,
        })
    }
}

/// The URLs of a flag, or of the flag that etcd 0.4 had for it.
fn urls(values: &Values, flag: &str, old: &str) -> Result<Urls, Exit> {
    if values.is_set(old) {
        if values.is_set(flag) {
            return Err(Exit::verifying(&format!("Set only one of flags -{flag} and -{old}")));
        }
        return from_old(values, old, false);
    }
    let Value::Urls(urls) = values.get(flag) else { panic!("{flag} has no URLs") };
    Ok(urls.clone())
}

/// As [`urls`]; without the old flag for listening, the old flag for advertising means its port on every address.
fn listen_urls(values: &Values, flag: &str, old: &str, old_advertised: &str) -> Result<Urls, Exit> {
    if values.is_set(old) || !values.is_set(old_advertised) {
        return urls(values, flag, old);
    }
    if values.is_set(flag) {
        return Err(Exit::verifying(&format!("Set only one of flags -{flag} and -{old}")));
    }
    from_old(values, old_advertised, true)
}

fn from_old(values: &Values, old: &str, every_host: bool) -> Result<Urls, Exit> {
    let prefix = if old.starts_with("peer-") { "peer-" } else { "" };
    let tls = ["cert-file", "key-file"].iter().any(|file| !values.text(&format!("{prefix}{file}")).is_empty());
    address_url(values.text(old), tls, every_host).map_err(|text| Exit::verifying(&format!("-{old}: {text}")))
}

fn check_advertised(values: &Values) -> Result<(), Exit> {
    let may_fall_back = values.is_set("discovery") && values.text("discovery-fallback") == "proxy";
    let may_be_proxy = values.text("proxy") != "off" || may_fall_back;
    if may_be_proxy || !values.is_set("listen-client-urls") || values.is_set("advertise-client-urls") {
        return Ok(());
    }
    let hint = "When listening on specific address(es), this etcd process must advertise accessible url(s) to each \
                connected client.";
    let mut exit = Exit::verifying("-advertise-client-urls is required when -listen-client-urls is set explicitly");
    exit.log.push(LogLine::new(Severity::Error, "etcdmain", hint.to_owned()));
    Err(exit)
}

/// Either of etcd 3.4's loggers is welcome, and has no effect.
fn check_logger(values: &Values) -> Result<(), Exit> {
    match values.text("logger") {
        "capnslog" | "zap" => Ok(()),
        other => Err(Exit::verifying(&format!("unknown logger option {other:?}"))),
    }
}

fn check_timing(values: &Values) -> Result<(), Exit> {
    let (heartbeat, election) = (values.uint("heartbeat-interval"), values.uint("election-timeout"));
    if heartbeat == 0 {
        return Err(Exit::verifying("-heartbeat-interval must be >0 (set to 0ms)"));
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(Exit::verifying(&format!(
            "-election-timeout[{election}ms] should be at least as 5 times as -heartbeat-interval[{heartbeat}ms]"
        )));
    }
    if election > ELECTION_MS_MAX {
        return Err(Exit::verifying(&format!(
            "-election-timeout[{election}ms] is too long, and should be set less than {ELECTION_MS_MAX}ms"
        )));
    }
    Ok(())
}

fn within(values: &Values, flag: &str, least: u64, most: u64) -> Result<u64, Exit> {
    let value = values.uint(flag);
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Exit::verifying(&format!("-{flag}[{value}] should be from {least} to {most}")))
}

/// The CPU of each executor. More executors than CPUs go round.
fn cores(values: &Values, machine: &Machine<'_>) -> Result<Vec<usize>, Exit> {
    let Value::Cpus(wanted) = values.get("cores") else { panic!("cores is not a choice of CPUs") };
    let most = (EXECUTORS_PER_CPU_MAX * machine.cpus.len() as u64).min(EXECUTORS_MAX as u64);
    match wanted {
        Cpus::Count(0) => Ok(machine.cpus.iter().copied().take(EXECUTORS_MAX).collect()),
        Cpus::Count(count) if *count > most => {
            let each = format!("{EXECUTORS_PER_CPU_MAX} for each CPU that this process may use");
            Err(Exit::verifying(&format!("-cores[{count}] should be from 0 to {most}, {each}")))
        }
        Cpus::Count(count) => Ok(machine.cpus.iter().copied().cycle().take(*count as usize).collect()),
        Cpus::List(list) => match list.iter().find(|cpu| !machine.cpus.contains(cpu)) {
            None => Ok(list.clone()),
            Some(cpu) => {
                let usable: Vec<String> = machine.cpus.iter().map(usize::to_string).collect();
                let usable = usable.join(",");
                let text = format!("-cores names CPU {cpu}, but this process may only use {usable}");
                Err(Exit::verifying(&text))
            }
        },
    }
}

fn logging(values: &Values, log: &mut Vec<LogLine>) -> Result<Settings, Exit> {
    let output = ["log-outputs", "log-output"].iter().find(|flag| values.is_set(flag)).unwrap_or(&"log-outputs");
    let output = match values.text(output) {
        "default" => Output::Default,
        "stderr" => Output::Stderr,
        "stdout" => Output::Stdout,
        other => {
            let known = "(only supports \"default\", \"stderr\", \"stdout\")";
            return Err(Exit::verifying(&format!("unknown log-output \"{other}\" {known}")));
        }
    };
    let level = match values.text("log-level") {
        _ if values.bool("debug") => Severity::Debug,
        "debug" => Severity::Debug,
        "info" => Severity::Info,
        "warn" => Severity::Warning,
        "error" => Severity::Error,
        "panic" | "fatal" => Severity::Critical,
        other => {
            let known = "(only supports debug, info, warn, error, panic, or fatal)";
            return Err(Exit::verifying(&format!("unknown log-level \"{other}\" {known}")));
        }
    };
    let packages = package_levels(values.text("log-package-levels")).unwrap_or_else(|text| {
        let text = format!("couldn't parse log level string: {text}, continuing with default levels");
        log.push(LogLine::new(Severity::Warning, "etcdmain", text));
        Vec::new()
    });
    Ok(Settings { output, level, packages })
}

/// `package=LEVEL,...`. Source: capnslog, its texts included.
fn package_levels(text: &str) -> Result<Vec<(String, Severity)>, String> {
    let pieces = text.split(',').filter(|_| !text.is_empty());
    pieces
        .map(|piece| match piece.split('=').collect::<Vec<_>>()[..] {
            [package, level] => Severity::parse(level)
                .map(|level| (package.to_owned(), level))
                .ok_or_else(|| format!("couldn't parse log level {level}")),
            _ => Err(format!("oddly structured `pkg=level` option: {piece}")),
        })
        .collect()
}

/// One line for each flag that someone set in vain.
fn effectless(values: &Values) -> impl Iterator<Item = LogLine> {
    flags::all()
        .filter(|flag| flag.effect == Effect::Nothing && values.is_set(flag.name))
        .map(|flag| LogLine::new(Severity::Info, "etcdmain", format!("-{} is accepted, has no effect here", flag.name)))
}

fn bootstrap(values: &Values, name: &str, advertise_peer: &Urls) -> Result<Bootstrap, Exit> {
    let (discovery, srv) = (values.text("discovery"), values.text("discovery-srv"));
    if !discovery.is_empty() {
        return Ok(Bootstrap::Discovery(Discovery {
            url: discovery.to_owned(),
            proxy: Some(values.text("discovery-proxy").to_owned()).filter(|proxy| !proxy.is_empty()),
            falls_back: values.text("discovery-fallback") == "proxy",
        }));
    }
    if !srv.is_empty() {
        let suffix = values.text("discovery-srv-name").to_owned();
        return Ok(Bootstrap::Srv(Srv { domain: srv.to_owned(), suffix }));
    }
    if !values.is_set("initial-cluster") {
        return Ok(Bootstrap::Static(InitialCluster::of_one(name, advertise_peer.clone())));
    }
    let parsed = InitialCluster::parse(values.text("initial-cluster"));
    let fatal = |text| Exit::critical("etcdmain", format!("error setting up initial cluster: {text}"));
    parsed.map(Bootstrap::Static).map_err(fatal)
}

/// What would be silently weaker than asked for is refused.
fn check_supported(values: &Values, addresses: &Addresses) -> Result<(), Exit> {
    let refusal = |flag: &'static Flag| match flag.effect {
        Effect::Refused(reason) => Some((flag, reason)),
        _ => None,
    };
    let mut refused = flags::all().filter_map(refusal).filter(|(flag, _)| values.is_set(flag.name));
    // A default is no wish, not even when it is spelled out; an empty list of hosts means all of them in etcd.
    let is_wish = |(flag, _): &(&Flag, _)| {
        let default = flag.kind.parse(flag.name, flag.default);
        default.as_ref() != Ok(values.get(flag.name)) && *values.get(flag.name) != Value::Text(String::new())
    };
    if let Some((flag, reason)) = refused.find(is_wish) {
        return Err(Exit::unsupported_for(&format!("-{}", flag.name), reason));
    }
    if let Some(url) = addresses.listen_metrics.iter().find(|url| url.scheme().is_tls()) {
        return Err(Exit::unsupported(&format!("-listen-metrics-urls with TLS ({url})")));
    }
    Ok(())
}

/// A backup begins a cluster of one, and what is written is the state that is there.
fn check_backups(values: &Values, bootstrap: &Bootstrap, name: &str) -> Result<(), Exit> {
    let given = |flag: &str| !values.text(flag).is_empty();
    if given("restore-backup") && given("write-backup") {
        return Err(Exit::verifying("Set only one of flags -restore-backup and -write-backup"));
    }
    let mends = values.is_set("mend-from");
    if mends && mending(values).is_none() {
        return Err(Exit::verifying("-mend-from names no directory"));
    }
    if mends && (given("restore-backup") || given("write-backup") || values.bool("force-new-cluster")) {
        return Err(Exit::verifying(
            "-mend-from can not be given with -restore-backup, -write-backup or -force-new-cluster",
        ));
    }
    if values.bool("mend-dry-run") && !mends {
        return Err(Exit::verifying("-mend-dry-run goes with -mend-from"));
    }
    let alone = matches!(bootstrap, Bootstrap::Static(initial) if initial.members().all(|(member, _)| member == name));
    if given("restore-backup") && (!alone || values.text("initial-cluster-state") == "existing") {
        return Err(Exit::verifying(
            "-restore-backup begins a cluster of one: leave the others out of -initial-cluster, and add them when it runs",
        ));
    }
    Ok(())
}

fn data_dir(values: &Values, name: &str, log: &mut Vec<LogLine>) -> PathBuf {
    let given = values.text("data-dir");
    if !given.is_empty() {
        return PathBuf::from(given);
    }
    let dir = format!("{name}.etcd");
    let text = format!("no data-dir provided, using default data-dir ./{dir}");
    log.push(LogLine::new(Severity::Warning, "etcdmain", text));
    PathBuf::from(dir)
}

fn snapshot_count(values: &Values, log: &mut Vec<LogLine>) -> u64 {
    let count = values.uint("snapshot-count");
    if count > 0 {
        return count;
    }
    let text = format!("set snapshot count to default {SNAPSHOT_COUNT}");
    log.push(LogLine::new(Severity::Info, "etcdserver", text));
    SNAPSHOT_COUNT
}

fn cors(values: &Values) -> Cors {
    let Value::Cors(cors) = values.get("cors") else { panic!("cors has no origins") };
    cors.clone()
}
