//! The lines at the start that scripts look for.

use super::usage::version_lines;
use super::{Bootstrap, Config};
use crate::logging::{LogLine, Severity};

/// Who starts, and on how many CPUs of how many that it may use.
pub(super) fn versions(cores: usize, cpus: usize) -> Vec<LogLine> {
    let used = format!("setting maximum number of CPUs to {cores}, total number of available CPUs is {cpus}");
    version_lines().into_iter().chain([used]).map(|text| LogLine::new(Severity::Info, "etcdmain", text)).collect()
}

/// With what it starts. `founding`: whether a cluster is founded, so that the `initial-*` flags matter.
///
/// Source: etcd 2.3.
pub(crate) fn settings(config: &Config, founding: bool) -> Vec<LogLine> {
    let mut texts = vec![format!("name = {}", config.name)];
    if config.force_new_cluster {
        texts.push("force new cluster".to_owned());
    }
    texts.push(format!("data dir = {}", config.data_dir.display()));
    texts.push(format!("member dir = {}", config.member_dir().display()));
    if let Some(dir) = &config.wal_dir {
        texts.push(format!("dedicated WAL dir = {}", dir.display()));
    }
    texts.push(format!("heartbeat = {}ms", config.heartbeat.as_millis()));
    texts.push(format!("election = {}ms", config.election.as_millis()));
    texts.push(format!("snapshot count = {}", config.snapshot_count));
    if let Bootstrap::Discovery(discovery) = &config.bootstrap {
        texts.push(format!("discovery URL= {}", discovery.url));
        if let Some(proxy) = &discovery.proxy {
            texts.push(format!("discovery proxy = {proxy}"));
        }
    }
    texts.push(format!("advertise client URLs = {}", config.advertise_client));
    if founding {
        texts.push(format!("initial advertise peer URLs = {}", config.advertise_peer));
        if let Bootstrap::Static(cluster) = &config.bootstrap {
            texts.push(format!("initial cluster = {cluster}"));
        }
    }
    texts.into_iter().map(|text| LogLine::new(Severity::Info, "etcdserver", text)).collect()
}
