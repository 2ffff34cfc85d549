//! Bodies of everything that is not the key space: members, machines, statistics, health, versions.

use std::time::Instant;

use net::json;
use shard::ids::MemberId;
use shard::stats::Stats;
use shard::system::{Member, System};

use crate::config::ETCD_VERSION;
use crate::metrics::{Rate, Traffic};

/// `{"members":[…]}` in the order of the ids.
pub(super) fn members(system: &System) -> Vec<u8> {
    let mut out = b"{\"members\":[".to_vec();
    for (at, (id, member)) in system.members().iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_member(*id, member, &mut out);
    }
    out.extend_from_slice(b"]}\n");
    out
}

/// One member, with its newline.
pub(super) fn member(id: MemberId, member: &Member) -> Vec<u8> {
    let mut out = Vec::new();
    push_member(id, member, &mut out);
    out.push(b'\n');
    out
}

fn push_member(id: MemberId, member: &Member, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"id\":\"{id:x}\",\"name\":").as_bytes());
    json::push_string(out, member.name.as_bytes());
    out.extend_from_slice(b",\"peerURLs\":");
    push_strings(&member.peer_urls, out);
    out.extend_from_slice(b",\"clientURLs\":");
    push_strings(&member.client_urls, out);
    out.push(b'}');
}

/// The peer port's list: decimal ids, another order of members, and nothing that is empty.
pub(super) fn peer_members(system: &System) -> Vec<u8> {
    let mut out = b"[".to_vec();
    for (at, (id, member)) in system.members().iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!("{{\"id\":{id},\"peerURLs\":").as_bytes());
        push_strings(&member.peer_urls, &mut out);
        if !member.name.is_empty() {
            out.extend_from_slice(b",\"name\":");
            json::push_string(&mut out, member.name.as_bytes());
        }
        if !member.client_urls.is_empty() {
            out.extend_from_slice(b",\"clientURLs\":");
            push_strings(&member.client_urls, &mut out);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]\n");
    out
}

fn push_strings(strings: &[String], out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, string) in strings.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::push_string(out, string.as_bytes());
    }
    out.push(b']');
}

/// All client URLs of all members, sorted.
pub(super) fn machines(system: &System) -> Vec<u8> {
    let mut urls: Vec<&str> =
        system.members().values().flat_map(|member| &member.client_urls).map(String::as_str).collect();
    urls.sort_unstable();
    urls.join(", ").into_bytes()
}

/// `{"message":"…"}`, the error of everything that is not the key space.
pub(crate) fn message_body(text: &str) -> Vec<u8> {
    let mut out = b"{\"message\":".to_vec();
    json::push_string(&mut out, text.as_bytes());
    out.push(b'}');
    out
}

/// etcd's two version fields, which its tools ask for, and our own.
pub(super) fn version(system: &System) -> Vec<u8> {
    let cluster = system.cluster_version().unwrap_or("not_decided");
    let own = env!("CARGO_PKG_VERSION");
    format!("{{\"etcdserver\":\"{ETCD_VERSION}\",\"etcdcluster\":\"{cluster}\",\"uetcd\":\"{own}\"}}").into_bytes()
}

/// As [`version`], with the number of shards.
pub(super) fn peer_version(system: &System, shards: u16) -> Vec<u8> {
    let mut out = version(system);
    out.pop();
    out.extend_from_slice(format!(",\"shards\":{shards}}}").as_bytes());
    out
}

/// The counters of all shards and the watchers of all executors.
pub(super) fn store_stats(stats: &Stats, watchers: u64) -> Vec<u8> {
    let mut out = b"{".to_vec();
    for (name, count) in stats.named() {
        out.extend_from_slice(format!("\"{name}\":{count},").as_bytes());
    }
    out.extend_from_slice(format!("\"watchers\":{watchers}}}").as_bytes());
    out
}

/// What `/v2/stats/self` says of a member.
pub(super) struct OwnStats<'a> {
    pub(super) name: &'a str,
    pub(super) member: u64,
    pub(super) leads: bool,
    /// Start of the process, nanoseconds of the Unix epoch.
    pub(super) started_ns: u64,
    /// The leader last known, and since when.
    pub(super) leader: Option<(u64, u64)>,
    pub(super) now_ns: u64,
    /// What went to and came from the other members.
    pub(super) traffic: &'a Traffic,
}

impl OwnStats<'_> {
    pub(super) fn body(&self) -> Vec<u8> {
        let mut out = b"{\"name\":".to_vec();
        json::push_string(&mut out, self.name.as_bytes());
        let state = if self.leads { "StateLeader" } else { "StateFollower" };
        let member = self.member;
        out.extend_from_slice(format!(",\"id\":\"{member:x}\",\"state\":\"{state}\",\"startTime\":\"").as_bytes());
        json::push_time(&mut out, self.started_ns as i64);
        out.extend_from_slice(b"\",\"leaderInfo\":{\"leader\":\"");
        let since_ns = self.leader.map_or(self.started_ns, |(_, since)| since);
        if let Some((leader, _)) = self.leader {
            out.extend_from_slice(format!("{leader:x}").as_bytes());
        }
        let uptime = go_duration(self.now_ns.saturating_sub(since_ns));
        out.extend_from_slice(format!("\",\"uptime\":\"{uptime}\",\"startTime\":\"").as_bytes());
        json::push_time(&mut out, since_ns as i64);
        out.extend_from_slice(b"\"}");
        push_rate("recv", &self.traffic.received, &mut out);
        push_rate("send", &self.traffic.sent, &mut out);
        out.push(b'}');
        out
    }
}

/// The rates are left out where there are none, as etcd does.
fn push_rate(direction: &str, rate: &Rate, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(",\"{direction}AppendRequestCnt\":{}", rate.total()).as_bytes());
    if let Some((frames, bytes)) = rate.per_second(Instant::now()) {
        let rates = format!(",\"{direction}PkgRate\":{frames},\"{direction}BandwidthRate\":{bytes}");
        out.extend_from_slice(rates.as_bytes());
    }
}

/// What `/v2/stats/leader` says of the followers.
pub(super) fn leader_stats(leader: u64, followers: &[u64], traffic: &Traffic) -> Vec<u8> {
    let mut out = format!("{{\"leader\":\"{leader:x}\",\"followers\":{{").into_bytes();
    let mut named: Vec<(String, u64)> = followers.iter().map(|id| (format!("{id:x}"), *id)).collect();
    // As Go sorts the keys of a map.
    named.sort_unstable();
    for (at, (name, id)) in named.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let peer = traffic.peers.get(id).cloned().unwrap_or_default();
        let (figures, fail, success) = (peer.round_trip.json(), peer.failed.get(), peer.appends.get());
        let entry =
            format!("\"{name}\":{{\"latency\":{figures},\"counts\":{{\"fail\":{fail},\"success\":{success}}}}}");
        out.extend_from_slice(entry.as_bytes());
    }
    out.extend_from_slice(b"}}");
    out
}

/// A duration as Go prints it: `1m40.87969644s`, `2.5ms`, `730ns`, `0s`.
fn go_duration(ns: u64) -> String {
    let fraction = |value: u64, unit: u64, suffix: &str| {
        let width = unit.ilog10() as usize;
        let text = format!("{}.{:0width$}", value / unit, value % unit);
        format!("{}{suffix}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => fraction(ns, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(ns, 1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (ns / 60_000_000_000, ns % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (ns, text) in [
            (0, "0s"),
            (730, "730ns"),
            (1_500, "1.5µs"),
            (2_500_000, "2.5ms"),
            (1_000_000_000, "1s"),
            (2_864_630_373, "2.864630373s"),
            (100_879_696_440, "1m40.87969644s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_661_000_000_000, "1h1m1s"),
        ] {
            assert_eq!(go_duration(ns), text);
        }
    }
}
