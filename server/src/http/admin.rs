//! Everything around the key space: machines, statistics, health, versions, metrics, the log level.

use std::rc::Rc;
use std::time::{Duration, Instant};

use net::{document, json};
use shard::stats::Stats;

use super::pages::{self, OwnStats};
use crate::core::message::{Answer, Question};
use crate::core::{Core, Phase};
use crate::logging;
use crate::metrics::{self, Merged, ProcessStats};
use crate::page::{Kind, Page};

pub(super) fn options() -> Page {
    Page::new(200, Kind::Nothing, Vec::new())
}

pub(super) fn machines(core: &Core) -> Page {
    Page::new(200, Kind::Sniffed, pages::machines(&core.node.system()))
}

pub(super) fn version(core: &Core) -> Page {
    Page::new(200, Kind::Json, pages::version(&core.node.system()))
}

/// As on the client port, and what a member that wants to join must know.
pub(super) fn peer_version(core: &Core) -> Page {
    Page::new(200, Kind::Json, pages::peer_version(&core.node.system(), core.node.shards))
}

pub(super) fn peer_members(core: &Core) -> Page {
    Page::of_cluster(200, pages::peer_members(&core.node.presumed_system()))
}

/// What etcd's peers ask each other to see whether they live.
pub(super) fn probing(core: &Core) -> Page {
    let mut body = b"{\"OK\":true,\"Now\":\"".to_vec();
    json::push_time(&mut body, core.node.clock.now_ns() as i64);
    body.extend_from_slice(b"\"}\n");
    Page::new(200, Kind::Sniffed, body)
}

pub(super) fn foreign_raft() -> Page {
    Page { cluster_id: true, ..Page::new(412, Kind::Error, b"incompatible version\n".to_vec()) }
}

/// Auth is off and can not be switched on in this version: its state can be read, and nothing else.
pub(super) fn auth_disabled() -> Page {
    Page::of_cluster(200, b"{\"enabled\":false}\n".to_vec())
}

/// With etcd's status for what authentication refuses: etcdctl and Go's client take a 5xx for a broken member, and say so instead.
pub(super) fn no_auth() -> Page {
    Page::message(409, "uetcd: this version has no users and roles")
}

pub(super) fn auth_invalid_path() -> Page {
    Page::new(400, Kind::Json, pages::message_body("Invalid path"))
}

pub(super) async fn store_stats(core: &Rc<Core>) -> Page {
    let Some(asked) = core.ask_all(|| Question::Stats) else { return overloaded() };
    let (mut sum, mut watchers) = (Stats::default(), 0);
    for _ in 0..core.node.cores() {
        match asked.next().await {
            Answer::Stats(stats, watching) => {
                sum = sum.plus(&stats);
                watchers += watching;
            }
            other => panic!("a question for statistics was answered with {other:?}"),
        }
    }
    Page::new(200, Kind::Json, pages::store_stats(&sum, watchers))
}

pub(super) async fn own_stats(core: &Rc<Core>) -> Page {
    let Some(merged) = gather(core).await else { return overloaded() };
    let node = &core.node;
    let stats = OwnStats {
        name: &node.config.name,
        member: node.member,
        leads: node.order.is_open(),
        started_ns: node.clock.started_ns(),
        leader: node.primary().map(|primary| (primary.0, node.primary_since_ns())),
        now_ns: node.clock.now_ns(),
        traffic: merged.traffic(),
    };
    Page::new(200, Kind::Json, stats.body())
}

pub(super) async fn leader_stats(core: &Rc<Core>) -> Page {
    if !core.node.order.is_open() {
        return Page::new(403, Kind::Json, pages::message_body("not current leader"));
    }
    let Some(merged) = gather(core).await else { return overloaded() };
    let followers: Vec<u64> =
        core.node.system().members().keys().map(|member| member.0).filter(|id| *id != core.node.member).collect();
    Page::new(200, Kind::Json, pages::leader_stats(core.node.member, &followers, merged.traffic()))
}

/// True when a write would be taken: there is a primary, confirmed by a quorum just now, and this member's disk has room.
pub(super) async fn health(core: &Rc<Core>) -> Page {
    /// As long as etcd waits for its raft index to move.
    const PATIENCE: Duration = Duration::from_secs(1);
    let serving = core.node.phase() == Phase::Serving && !core.node.is_full();
    if serving && core.confirm_quorum(PATIENCE).await.is_some() && commits(core, PATIENCE).await {
        return Page::new(200, Kind::Sniffed, b"{\"health\": \"true\"}".to_vec());
    }
    Page::new(503, Kind::Error, b"{\"health\": \"false\"}\n".to_vec())
}

/// Whether what waits to be committed is, in time: a majority that answers may have no room for what it is sent.
async fn commits(core: &Rc<Core>, patience: Duration) -> bool {
    const GLANCE: Duration = Duration::from_millis(5);
    let (order, begun) = (&core.node.order, Instant::now());
    let Some(waiting) = order.oldest_uncommitted() else { return true };
    while order.oldest_uncommitted().is_some_and(|oldest| oldest <= waiting) {
        if begun.elapsed() > patience {
            return false;
        }
        glommio::timer::sleep(GLANCE).await;
    }
    true
}

pub(super) async fn metrics(core: &Rc<Core>) -> Page {
    let Some(merged) = gather(core).await else { return overloaded() };
    let process = ProcessStats::read().unwrap_or_default();
    Page::new(200, Kind::Metrics, metrics::encode(&merged, &process, &core.node.scrubbed))
}

/// What all executors count; `None` if too much is asked at once.
async fn gather(core: &Rc<Core>) -> Option<Merged> {
    let asked = core.ask_all(|| Question::Metrics)?;
    let mut parts = Vec::new();
    for _ in 0..core.node.cores() {
        match asked.next().await {
            Answer::Metrics(part) => parts.push(*part),
            other => panic!("a question for metrics was answered with {other:?}"),
        }
    }
    Some(metrics::merge(parts))
}

pub(super) fn overloaded() -> Page {
    Page::new(503, Kind::Json, pages::message_body("etcdserver: too many requests"))
}

/// `PUT /config/local/log`: `{"Level":"DEBUG"}`, the name in any case.
pub(super) fn log_level(body: &[u8]) -> Page {
    let bad = |text: &str| Page::new(400, Kind::Json, pages::message_body(text));
    let Some(level) = given_level(body) else { return bad("Invalid json body") };
    let Some(severity) = logging::Severity::parse(&level) else { return bad(&format!("Invalid log level {level}")) };
    logging::set_level(severity);
    tracing::info!(target: "etcdhttp", "globalLogLevel set to {level:?}");
    Page::no_content(false)
}

/// The last level that a body names, empty if there is none; nothing if the body can not be used. As in etcd, only its
/// first JSON value is looked at.
fn given_level(body: &[u8]) -> Option<String> {
    let document = document::first(body).ok()?;
    if !matches!(document.kind(), document::Kind::Object | document::Kind::Null) {
        return None;
    }
    let mut level = String::new();
    for (_, value) in document.members().filter(|(name, _)| document::is_field(name, "Level")) {
        match value.kind() {
            document::Kind::Null => {}
            _ => level = value.string()?,
        }
    }
    Some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row was tried on etcd 3.4.23.
    #[test]
    fn the_level_is_what_go_makes_of_the_body() {
        for (body, want) in [
            (&br#"{"Level":"INFO"}"#[..], Some("INFO")),
            (br#"{"LEVEL":"w"}{"Level":"bogus"}"#, Some("w")),
            (b"{\"Level\":\"I\"}\xff", Some("I")),
            (br#"{"Level":"bogus","level":"INFO"}"#, Some("INFO")),
            (br#"{"Level":"INFO","Level":null}"#, Some("INFO")),
            (br#"{"lev\u0065l":"\u0069nfo"}"#, Some("info")),
            (b"{\"Level\":\"x\xff\"}", Some("x\u{fffd}")),
            (br#"{"Level":"\ud800"}"#, Some("\u{fffd}")),
            (b"null", Some("")),
            (b"nullx", Some("")),
            (b"{}", Some("")),
            (br#"{"Level":5,"Level":"INFO"}"#, None),
            (br#"{"Level":"INFO""#, None),
            (b"[]", None),
            (br#""INFO""#, None),
            (b"1x", None),
            (b"", None),
        ] {
            assert_eq!(given_level(body).as_deref(), want, "{}", String::from_utf8_lossy(body));
        }
    }
}
