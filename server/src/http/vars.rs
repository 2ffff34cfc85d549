//! `/debug/vars`: Go's expvar page, as far as there is something to say.

use std::rc::Rc;

use net::json;
use shard::group::{PeerState, Role, Status};
use shard::ids::{MemberId, ShardId};

use super::admin;
use crate::core::Core;
use crate::core::message::{Answer, Question};
use crate::metrics::ProcessStats;
use crate::page::{Kind, Page};

/// The group that `raft.status` is about: whoever leads it is the primary, and it knows who the members are.
const FIRST: ShardId = ShardId(0);

pub(super) async fn page(core: &Rc<Core>) -> Page {
    let Some(asked) = core.ask(core.node.core_of(FIRST), Question::Raft(FIRST)) else { return admin::overloaded() };
    let status = match asked.next().await {
        Answer::Raft(status) => status,
        other => panic!("a question for the raft status was answered with {other:?}"),
    };
    let process = ProcessStats::read().unwrap_or_default();
    let mut body = b"{\n\"cmdline\": [".to_vec();
    for (at, argument) in std::env::args_os().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        json::push_string(&mut body, argument.as_encoded_bytes());
    }
    let (limit, memory) = (process.max_fds, memstats(&process));
    let raft = raft_status(core.node.member, &status);
    let rest =
        format!("],\n\"file_descriptor_limit\": {limit},\n\"memstats\": {memory},\n\"raft.status\": {raft}\n}}\n");
    body.extend_from_slice(rest.as_bytes());
    Page::new(200, Kind::JsonUtf8, body)
}

/// The members of Go's `runtime.MemStats` that have a meaning without Go: what is in memory of what belongs to no file
/// stands for the heap. Nothing is collected.
fn memstats(process: &ProcessStats) -> String {
    let (heap, all) = (process.anonymous_bytes, process.resident_bytes);
    format!(
        "{{\"Alloc\":{heap},\"Sys\":{all},\"HeapAlloc\":{heap},\"HeapSys\":{heap},\"HeapInuse\":{heap},\"NumGC\":0,\
         \"EnableGC\":false,\"DebugGC\":false}}"
    )
}

fn raft_status(me: u64, status: &Status) -> String {
    let id = |member: Option<MemberId>| member.map_or(0, |member| member.0);
    let (term, vote, commit, leader) = (status.term, id(status.vote), status.commit, id(status.leader));
    let state = match status.role {
        Role::Follower => "StateFollower",
        Role::Candidate => "StateCandidate",
        Role::Leader => "StateLeader",
    };
    let progress: Vec<String> = status
        .progress
        .iter()
        .map(|(member, reached)| {
            let state = match reached.state {
                PeerState::Probe => "ProgressStateProbe",
                PeerState::Replicate => "ProgressStateReplicate",
                PeerState::Snapshot => "ProgressStateSnapshot",
            };
            let (id, matched, next) = (member.0, reached.matched, reached.next);
            format!("\"{id:x}\":{{\"match\":{matched},\"next\":{next},\"state\":\"{state}\"}}")
        })
        .collect();
    let progress = progress.join(",");
    format!(
        "{{\"id\":\"{me:x}\",\"term\":{term},\"vote\":\"{vote:x}\",\"commit\":{commit},\"lead\":\"{leader:x}\",\
         \"raftState\":\"{state}\",\"progress\":{{{progress}}}}}"
    )
}

#[cfg(test)]
mod tests {
    use shard::group::Reached;
    use shard::ids::{RaftIndex, Term};

    use super::*;

    #[test]
    fn the_raft_status_has_etcds_form() {
        let reached = Reached { matched: RaftIndex(9), next: RaftIndex(10), state: PeerState::Probe };
        let mut status = Status {
            term: Term(2),
            vote: Some(MemberId(0xab)),
            commit: RaftIndex(9),
            leader: Some(MemberId(0xab)),
            role: Role::Leader,
            progress: vec![
                (MemberId(0xab), reached),
                (MemberId(0xcd), Reached { state: PeerState::Snapshot, ..reached }),
            ],
        };
        let leader = r#"{"id":"ab","term":2,"vote":"ab","commit":9,"lead":"ab","raftState":"StateLeader","progress":{"ab":{"match":9,"next":10,"state":"ProgressStateProbe"},"cd":{"match":9,"next":10,"state":"ProgressStateSnapshot"}}}"#;
        assert_eq!(raft_status(0xab, &status), leader);
        status = Status { vote: None, leader: None, role: Role::Candidate, progress: Vec::new(), ..status };
        let candidate =
            r#"{"id":"ab","term":2,"vote":"0","commit":9,"lead":"0","raftState":"StateCandidate","progress":{}}"#;
        assert_eq!(raft_status(0xab, &status), candidate);
    }
}
