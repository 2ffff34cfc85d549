//! The configuration: etcd 2.3's command line, environment and (from 3.4) configuration file, read with etcd's rules
//! and refused with etcd's words.
//!
//! [`load`] is a pure function of the arguments, the environment and what it may ask of the machine ([`Machine`]); what
//! it wants logged comes back as values, because logging is configured by its result. What needs the real machine (data
//! directory, limits, ports, `io_uring`) is checked afterwards by [`prepare`].
//!
//! Where 2.3 and 3.4 differ: messages, defaults and forms are 2.3's, except that only the ports 2379 and 2380 are
//! opened (the two legacy ports of 2.3 are not) and `--initial-cluster` defaults to the advertised peer URLs, both as in
//! 3.4. Flags of 3.4 that cannot matter here are taken and named in the log.

mod argv;
mod banner;
mod blocking;
pub(crate) mod bootstrap;
mod command;
mod discovery;
mod environment;
mod exit;
mod file;
mod flags;
mod gather;
mod join;
pub(crate) mod prepare;
mod remote;
mod resolve;
mod srv;
mod tls;
pub(crate) mod urls;
mod usage;
mod value;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use banner::settings;
pub(crate) use bootstrap::{Founder, InitialCluster, found};
pub(crate) use command::{Machine, load};
pub(crate) use discovery::Discovery;
pub(crate) use discovery::note::{abandon, forget};
pub(crate) use exit::Exit;
pub(crate) use gather::{Gathered, gather, look};
pub(crate) use join::{promised_to, running};
pub(crate) use remote::fetch;
pub(crate) use srv::Srv;
pub(crate) use urls::{Endpoint, Url, Urls};

use crate::logging::{LogLine, Settings};

/// The version of etcd whose behaviour this server has; scripts compare it, so it is printed where etcd prints its own.
pub(crate) const ETCD_VERSION: &str = "2.3.8";

/// Shards of a new cluster when `--shards` is not given: more than most machines have cores, few enough for raft's
/// ticks.
pub(crate) const SHARDS: u16 = 16;

/// What the command line asked for.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Start the server.
    Run(Box<Config>),
    /// Print this and end.
    Exit(Exit),
}

/// `--mend-from`: from what a damaged log is put together anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mending {
    /// The data directories of the other members.
    pub(crate) from: Vec<PathBuf>,
    /// `--mend-dry-run`: only say whether it can be done.
    pub(crate) dry_run: bool,
}

/// Everything that can be configured, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// `--name`: label of this member.
    pub(crate) name: String,
    /// `--data-dir`, by default `NAME.etcd` in the working directory.
    pub(crate) data_dir: PathBuf,
    /// `--wal-dir`: where the log is kept if not below the data directory.
    pub(crate) wal_dir: Option<PathBuf>,
    /// `--snapshot-count`: applied entries of one shard between two snapshots; at least 1.
    pub(crate) snapshot_count: u64,
    /// `--max-snapshots`: snapshots kept of each shard; `None` keeps all.
    pub(crate) max_snapshots: Option<u64>,
    /// `--heartbeat-interval`, one tick; at least 1 ms.
    pub(crate) heartbeat: Duration,
    /// `--election-timeout`: at least 5 heartbeats, at most 50 s.
    pub(crate) election: Duration,
    /// `--max-request-bytes`: the longest request body; not below etcd's own limit for bodies, 10 MiB.
    pub(crate) max_request_bytes: usize,

    /// `--listen-client-urls`.
    pub(crate) listen_client: Urls,
    /// `--listen-peer-urls`.
    pub(crate) listen_peer: Urls,
    /// `--listen-metrics-urls`: where only `/metrics` and `/health` are served; may be empty.
    pub(crate) listen_metrics: Vec<Url>,
    /// `--advertise-client-urls`.
    pub(crate) advertise_client: Urls,
    /// `--initial-advertise-peer-urls`.
    pub(crate) advertise_peer: Urls,

    /// How a new cluster is found; without effect once there is data.
    pub(crate) bootstrap: Bootstrap,
    /// `--initial-cluster-token`.
    pub(crate) cluster_token: String,
    /// `--initial-cluster-state` is `existing`: join instead of founding; without effect once there is data.
    pub(crate) join_existing: bool,
    /// The flags that say how the cluster begins, as far as somebody set them; without effect once there is data.
    pub(crate) initial_flags: Vec<&'static str>,
    /// `--force-new-cluster`: become a cluster of one with the data that is there.
    pub(crate) force_new_cluster: bool,

    /// `--restore-backup`: begin a cluster of one with the state in this file.
    pub(crate) restore_backup: Option<PathBuf>,
    /// `--write-backup`: put the state that is there into this file, and end.
    pub(crate) write_backup: Option<PathBuf>,

    /// `--mend-from`: put this member's damaged log together anew, and end.
    pub(crate) mending: Option<Mending>,

    /// `--proxy` and what goes with it.
    pub(crate) proxying: Proxying,

    /// `--cors`.
    pub(crate) cors: Cors,
    /// `--debug`, `--log-*`.
    pub(crate) logging: Settings,

    /// `--cores`: the CPU of each executor, in executor order. A CPU occurs more than once only if more executors were
    /// asked for than there are CPUs.
    pub(crate) cores: Vec<usize>,
    /// `--shards`: 1 to 1024, fixed when the cluster is born. `None`: not given, so [`SHARDS`] for a new cluster.
    pub(crate) shards: Option<u16>,
    /// `--spin-us`: how long an idle executor polls before it sleeps.
    pub(crate) spin: Duration,
    /// `--history-events`: events kept of each shard; at least 1.
    pub(crate) history_events: usize,
    /// `--history-bytes`: bytes of events kept of each shard.
    pub(crate) history_bytes: usize,
    /// `--request-memory`: bytes that the requests under way may take; `None`: as the machine allows.
    pub(crate) request_memory: Option<usize>,
    /// `--scrub-rate`, `--scrub-interval`; `None`: off.
    pub(crate) scrub: Option<Scrub>,
    /// `--max-connections`: client connections of the whole process; `None` leaves it to the descriptor limit.
    pub(crate) max_connections: Option<usize>,
    /// `--strict-reconfig-check`.
    pub(crate) strict_reconfig_check: bool,

    /// What is to be logged about the configuration itself, first thing.
    pub(crate) log: Vec<LogLine>,
}

/// How what is on the disk is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scrub {
    /// How fast; above 0.
    pub(crate) bytes_per_second: u64,
    /// From the begin of one round to the begin of the next.
    pub(crate) interval: Duration,
}

/// Whether requests are sent on to the members of a cluster, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proxying {
    /// `--proxy`.
    pub(crate) mode: ProxyMode,
    /// `--proxy-failure-wait`: how long a member that failed is asked nothing.
    pub(crate) failure_wait: Duration,
    /// `--proxy-refresh-interval`: how often the members are asked who they are.
    pub(crate) refresh_interval: Duration,
    /// `--proxy-dial-timeout`; `None`: as long as the kernel tries.
    pub(crate) dial_timeout: Option<Duration>,
    /// `--proxy-write-timeout`: how long a member may take nothing of a request; `None`: for ever.
    pub(crate) write_timeout: Option<Duration>,
    /// `--proxy-read-timeout`: how long a member may send nothing of an answer; `None`: for ever.
    pub(crate) read_timeout: Option<Duration>,
}

/// The values of `--proxy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyMode {
    /// This is a member, unless the data directory is a proxy's.
    Off,
    /// Everything is sent on.
    On,
    /// Only GET is.
    Readonly,
}

/// How the members of a new cluster are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bootstrap {
    /// `--initial-cluster`, or its default.
    Static(InitialCluster),
    /// `--discovery` and what goes with it.
    Discovery(Discovery),
    /// `--discovery-srv` and what goes with it.
    Srv(Srv),
}

/// The origins that browsers may call from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cors {
    /// No header is added.
    #[default]
    Off,
    /// `*`.
    Any,
    /// These, compared as exact text.
    Origins(Vec<String>),
}

impl Config {
    /// Where the log is kept.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.wal_dir.clone().unwrap_or_else(|| self.member_dir().join("wal"))
    }

    /// Where the snapshots are kept.
    pub(crate) fn snapshot_dir(&self) -> PathBuf {
        self.member_dir().join("snap")
    }

    /// Where everything of a member is kept, but for a log on a disk of its own.
    pub(crate) fn member_dir(&self) -> PathBuf {
        self.data_dir.join("member")
    }

    /// Where a proxy keeps what it knows of its cluster.
    pub(crate) fn proxy_dir(&self) -> PathBuf {
        self.data_dir.join("proxy")
    }

    /// How long a client's request may wait for its raft group (etcd: 5 s and two election timeouts).
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election
    }
}

/// The reason of a failure as Go shows it, which is what etcd's users search for: `no such file or directory`.
pub(crate) fn go_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + chars.as_str())
}
