//! Every flag: its kind, its default, whether it does something here, and what `--help` says about it.

use super::exit::PLAIN_TEXT;
use super::value::Kind;

/// One flag. Its variable in the environment is `ETCD_` and the name in upper case, with `_` for `-`.
#[derive(Debug)]
pub(crate) struct Flag {
    /// The name without dashes.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// The value when nobody sets it.
    pub(crate) default: &'static str,
    /// What setting it does here.
    pub(crate) effect: Effect,
    /// The sentence in `--help`.
    pub(crate) help: &'static str,
}

/// What setting a flag does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// What its help says.
    Works,
    /// Nothing, which is logged: it belongs to a part of etcd that does not exist here.
    Nothing,
    /// Nothing, and nothing is lost by it: not worth a line in the log.
    Implied,
    /// The process refuses to start with anything but the default: silence would promise what is not done. The text says
    /// what it does instead.
    Refused(&'static str),
    /// Nothing any more, since etcd 2.0.
    Withdrawn,
}

/// A heading of `--help` with its flags.
#[derive(Debug)]
pub(crate) struct Group {
    /// The heading.
    pub(crate) title: &'static str,
    /// Its flags in the order shown.
    pub(crate) flags: &'static [Flag],
}

/// The flags in the order of `--help`.
pub(crate) fn all() -> impl Iterator<Item = &'static Flag> {
    GROUPS.iter().flat_map(|group| group.flags)
}

/// The flag of this name.
pub(crate) fn find(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name)
}

const fn works(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Works, help }
}

const fn nothing(name: &'static str, kind: Kind, default: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Nothing, help: "accepted, no effect here." }
}

const fn refused(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Refused(PLAIN_TEXT), help }
}

const fn withdrawn(name: &'static str) -> Flag {
    Flag { name, kind: Kind::Ignored, default: "", effect: Effect::Withdrawn, help: "ignored since etcd 2.0." }
}

const fn gone(name: &'static str) -> Flag {
    Flag { name, kind: Kind::Withdrawn, default: "", effect: Effect::Withdrawn, help: "not supported since etcd 2.0." }
}

/// The values of `--discovery-fallback`.
const FALLBACKS: Kind = Kind::Choice(&["proxy", "exit"]);
/// The values of `--initial-cluster-state`.
const STATES: Kind = Kind::Choice(&["new", "existing"]);
/// The values of `--proxy`.
const PROXIES: Kind = Kind::Choice(&["off", "readonly", "on"]);

/// All flags. Defaults are those of etcd 2.3 but where [`super`] says otherwise.
pub(crate) const GROUPS: &[Group] = &[
    Group { title: "member", flags: MEMBER },
    Group { title: "clustering", flags: CLUSTERING },
    Group { title: "proxy", flags: PROXY },
    Group { title: "security", flags: SECURITY },
    Group { title: "logging and monitoring", flags: LOGGING },
    Group { title: "unsafe", flags: UNSAFE },
    Group { title: "uetcd", flags: OWN },
    Group { title: "without effect", flags: WITHOUT_EFFECT },
    Group { title: "etcd 0.4", flags: OLD },
];

const MEMBER: &[Flag] = &[
    works("name", Kind::Text, "default", "human-readable name for this member."),
    works("data-dir", Kind::Text, "", "path to the data directory; '${name}.etcd' if empty."),
    works("wal-dir", Kind::Text, "", "path to the dedicated log directory."),
    works("snapshot-count", Kind::Uint, "10000", "number of committed transactions to trigger a snapshot to disk."),
    works("heartbeat-interval", Kind::Uint, "100", "time (in milliseconds) of a heartbeat interval."),
    works("election-timeout", Kind::Uint, "1000", "time (in milliseconds) for an election to timeout."),
    works("listen-peer-urls", Kind::Urls, "http://localhost:2380", "list of URLs to listen on for peer traffic."),
    works("listen-client-urls", Kind::Urls, "http://localhost:2379", "list of URLs to listen on for client traffic."),
    works("max-snapshots", Kind::Uint, "5", "maximum number of snapshot files to retain (0 is unlimited)."),
    works("max-request-bytes", Kind::Uint, "10485760", "longest body of a request, if more than 10 MiB."),
    works("cors", Kind::Cors, "", "comma-separated whitelist of origins for cross-origin resource sharing."),
    works("config-file", Kind::Text, "", "path to a YAML file; all other flags and variables are then ignored."),
];

const CLUSTERING: &[Flag] = &[
    works(
        "initial-advertise-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "list of this member's peer URLs to advertise to the rest of the cluster.",
    ),
    works(
        "initial-cluster",
        Kind::Text,
        "",
        "initial cluster configuration for bootstrapping; this member alone if empty.",
    ),
    works("initial-cluster-state", STATES, "new", "initial cluster state ('new' or 'existing')."),
    works("strict-reconfig-check", Kind::Bool, "false", "refuse changes of the members that could cost the quorum."),
    works("initial-cluster-token", Kind::Text, "etcd-cluster", "initial cluster token during bootstrap."),
    works(
        "advertise-client-urls",
        Kind::Urls,
        "http://localhost:2379",
        "list of this member's client URLs to advertise to the public.",
    ),
    works("discovery", Kind::Text, "", "discovery URL used to bootstrap the cluster."),
    works("discovery-fallback", FALLBACKS, "proxy", "expected behavior ('exit' or 'proxy') when discovery is full."),
    works("discovery-proxy", Kind::Text, "", "HTTP proxy to use for traffic to the discovery service."),
    works("discovery-srv", Kind::Text, "", "DNS SRV domain used to bootstrap the cluster."),
    works("discovery-srv-name", Kind::Text, "", "suffix of the service's name in DNS SRV records."),
];

const PROXY: &[Flag] = &[
    works("proxy", PROXIES, "off", "proxy mode setting ('off', 'readonly' or 'on')."),
    works("proxy-failure-wait", Kind::Uint, "5000", "time (in milliseconds) a failed endpoint is left alone."),
    works("proxy-refresh-interval", Kind::Uint, "30000", "time (in milliseconds) between refreshes of the endpoints."),
    works("proxy-dial-timeout", Kind::Uint, "1000", "time (in milliseconds) for a dial to timeout, 0 to disable."),
    works("proxy-write-timeout", Kind::Uint, "5000", "time (in milliseconds) for a write to timeout, 0 to disable."),
    works("proxy-read-timeout", Kind::Uint, "0", "time (in milliseconds) for a read to timeout, 0 to disable."),
];

const SECURITY: &[Flag] = &[
    works("cert-file", Kind::Text, "", "path to the client server TLS cert file."),
    works("key-file", Kind::Text, "", "path to the client server TLS key file."),
    works("client-cert-auth", Kind::Bool, "false", "enable client cert authentication."),
    works("trusted-ca-file", Kind::Text, "", "path to the client server TLS trusted CA file."),
    works("ca-file", Kind::Text, "", "deprecated: trusted CA file, with client cert authentication."),
    works("peer-cert-file", Kind::Text, "", "path to the peer server TLS cert file."),
    works("peer-key-file", Kind::Text, "", "path to the peer server TLS key file."),
    works("peer-client-cert-auth", Kind::Bool, "false", "enable peer client cert authentication."),
    works("peer-trusted-ca-file", Kind::Text, "", "path to the peer server TLS trusted CA file."),
    works("peer-ca-file", Kind::Text, "", "deprecated: trusted peer CA file, with client cert authentication."),
    refused("auto-tls", Kind::Bool, "false", "client TLS using generated certificates."),
    refused("peer-auto-tls", Kind::Bool, "false", "peer TLS using generated certificates."),
    refused("client-crl-file", Kind::Text, "", "path to the client certificate revocation list file."),
    refused("peer-crl-file", Kind::Text, "", "path to the peer certificate revocation list file."),
    refused("client-cert-allowed-hostname", Kind::Text, "", "allowed TLS hostname for client cert authentication."),
    refused("peer-cert-allowed-hostname", Kind::Text, "", "allowed TLS hostname for peer cert authentication."),
    refused("peer-cert-allowed-cn", Kind::Text, "", "required CN for client certs connecting to the peer endpoint."),
    refused("cipher-suites", Kind::Text, "", "comma-separated list of supported TLS cipher suites."),
    refused("tls-min-version", Kind::Text, "", "minimum TLS version."),
    refused("tls-max-version", Kind::Text, "", "maximum TLS version."),
    Flag {
        effect: Effect::Refused("answers requests whatever host they are for"),
        ..refused("host-whitelist", Kind::Text, "*", "acceptable hostnames from HTTP client requests (* means all).")
    },
];

const LOGGING: &[Flag] = &[
    works("debug", Kind::Bool, "false", "enable debug-level logging."),
    works("log-level", Kind::Text, "info", "log level: debug, info, warn, error, panic or fatal."),
    works(
        "log-package-levels",
        Kind::Text,
        "",
        "log level of each package (eg: 'etcdmain=CRITICAL,etcdserver=DEBUG').",
    ),
    works("log-outputs", Kind::Text, "default", "'stdout' or 'stderr' to skip journald logging under systemd."),
    works("log-output", Kind::Text, "default", "deprecated: as log-outputs."),
    nothing("logger", Kind::Text, "capnslog"),
    works(
        "listen-metrics-urls",
        Kind::UrlsOrNone,
        "",
        "list of URLs to listen on for the metrics and health endpoints.",
    ),
    nothing("metrics", Kind::Text, "basic"),
    works("version", Kind::Bool, "false", "print the version and exit."),
];

const UNSAFE: &[Flag] = &[works("force-new-cluster", Kind::Bool, "false", "force to create a new one-member cluster.")];

const OWN: &[Flag] = &[
    works("cores", Kind::Cpus, "0", "number of executors, or a list of CPUs like '0,2-3'; 0 for every usable CPU."),
    works("shards", Kind::Uint, "16", "number of shards (1 to 1024); fixed when the cluster is born."),
    works(
        "spin-us",
        Kind::Uint,
        "0",
        "microseconds an idle executor polls before it sleeps, while waits are mostly that short.",
    ),
    works("history-events", Kind::Uint, "100000", "events kept of each shard for watches that look back."),
    works("history-bytes", Kind::Uint, "8388608", "bytes of events kept of each shard."),
    works(
        "scrub-rate",
        Kind::Uint,
        "8",
        "MiB per second at which log and snapshots are read again for rot (0: not after a start).",
    ),
    works(
        "scrub-interval",
        Kind::Uint,
        "86400",
        "time (in seconds) from the begin of such a round to that of the next.",
    ),
    works(
        "restore-backup",
        Kind::Text,
        "",
        "backup to start from, as the only member of a new cluster; the data directory must be empty.",
    ),
    works(
        "write-backup",
        Kind::Text,
        "",
        "file for a backup of the data directory of a member that does not run; nothing is served.",
    ),
    works(
        "mend-from",
        Kind::Text,
        "",
        "data directories of all other members, comma-separated, none of which runs: this member's damaged log is put together \
         from what they hold, damaged ones as well; nothing is served.",
    ),
    works("mend-dry-run", Kind::Bool, "false", "only say whether -mend-from can do that."),
    works(
        "request-memory",
        Kind::Uint,
        "0",
        "bytes of memory that requests under way may take, beyond which some are refused (0: three eighths of what the process may have).",
    ),
    works("max-connections", Kind::Uint, "0", "client connections (0: what the file descriptor limit leaves)."),
];

const WITHOUT_EFFECT: &[Flag] = &[
    Flag { effect: Effect::Implied, ..nothing("enable-v2", Kind::Bool, "true") },
    Flag { effect: Effect::Implied, ..nothing("pre-vote", Kind::Bool, "true") },
    // Log files are kept as long as a snapshot needs them, and recycled then.
    nothing("max-wals", Kind::Uint, "5"),
    // Durable before acknowledged, always.
    nothing("unsafe-no-fsync", Kind::Bool, "false"),
    // There is no Go runtime to profile.
    nothing("enable-pprof", Kind::Bool, "false"),
    nothing("quota-backend-bytes", Kind::Int, "0"),
    nothing("max-txn-ops", Kind::Uint, "128"),
    nothing("auto-compaction-mode", Kind::Text, "periodic"),
    nothing("auto-compaction-retention", Kind::Text, "0"),
    nothing("backend-batch-interval", Kind::Duration, "0s"),
    nothing("backend-batch-limit", Kind::Int, "0"),
    nothing("grpc-keepalive-min-time", Kind::Duration, "5s"),
    nothing("grpc-keepalive-interval", Kind::Duration, "2h"),
    nothing("grpc-keepalive-timeout", Kind::Duration, "20s"),
    nothing("max-concurrent-streams", Kind::Uint, "4294967295"),
    nothing("enable-grpc-gateway", Kind::Bool, "true"),
    nothing("listen-client-http-urls", Kind::UrlsOrNone, ""),
    nothing("auth-token", Kind::Text, "simple"),
    nothing("auth-token-ttl", Kind::Uint, "300"),
    nothing("bcrypt-cost", Kind::Uint, "10"),
    nothing("initial-election-tick-advance", Kind::Bool, "true"),
    nothing("experimental-initial-corrupt-check", Kind::Bool, "false"),
    nothing("experimental-corrupt-check-time", Kind::Duration, "0s"),
    nothing("experimental-enable-v2v3", Kind::Text, ""),
    nothing("experimental-backend-bbolt-freelist-type", Kind::Text, "array"),
    nothing("experimental-enable-lease-checkpoint", Kind::Bool, "false"),
    nothing("experimental-compaction-batch-limit", Kind::Int, "1000"),
    nothing("experimental-peer-skip-client-san-verification", Kind::Bool, "false"),
    nothing("experimental-watch-progress-notify-interval", Kind::Duration, "10m"),
    nothing("experimental-warning-apply-duration", Kind::Duration, "100ms"),
    nothing("experimental-v3demo", Kind::Bool, "false"),
    nothing("experimental-gRPC-addr", Kind::Text, "127.0.0.1:2378"),
    nothing("experimental-auto-compaction-retention", Kind::Uint, "0"),
];

const OLD: &[Flag] = &[
    works("addr", Kind::Address, "127.0.0.1:4001", "deprecated: as advertise-client-urls."),
    works("bind-addr", Kind::Address, "127.0.0.1:4001", "deprecated: as listen-client-urls."),
    works("peer-addr", Kind::Address, "127.0.0.1:7001", "deprecated: as initial-advertise-peer-urls."),
    works("peer-bind-addr", Kind::Address, "127.0.0.1:7001", "deprecated: as listen-peer-urls."),
    gone("peers"),
    gone("peers-file"),
    withdrawn("cluster-active-size"),
    withdrawn("cluster-remove-delay"),
    withdrawn("cluster-sync-interval"),
    withdrawn("config"),
    withdrawn("force"),
    withdrawn("max-result-buffer"),
    withdrawn("max-retry-attempts"),
    withdrawn("peer-heartbeat-interval"),
    withdrawn("peer-election-timeout"),
    withdrawn("retry-interval"),
    withdrawn("snapshot"),
    withdrawn("v"),
    withdrawn("vv"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_flag_stands_once() {
        let names: BTreeSet<&str> = all().map(|flag| flag.name).collect();
        assert_eq!(names.len(), all().count());
    }

    #[test]
    fn every_default_is_a_valid_value() {
        for flag in all().filter(|flag| flag.effect != Effect::Withdrawn) {
            assert!(flag.kind.parse(flag.name, flag.default).is_ok(), "{}", flag.name);
        }
    }
}
