//! Between raft's messages and those on the wire. Bytes are moved, never copied.

use net::peer::{Entry, EntryKind, MessageKind, RaftMessage, SnapshotPosition, SnapshotVoters};
use raft::eraftpb;
use raft::eraftpb::{EntryType, MessageType};
use shard::ids::ShardId;

/// A message of a shard's group, for the wire. None: one of those that never leave a node.
///
/// The state in a snapshot is left out: it is sent in frames of its own.
pub(crate) fn to_wire(shard: ShardId, message: eraftpb::Message) -> Option<RaftMessage> {
    let mut wire =
        RaftMessage::new(u32::from(shard.0), kind_of(message.msg_type)?, message.from, message.to, message.term);
    wire.log_term = message.log_term;
    wire.index = message.index;
    wire.commit = message.commit;
    wire.commit_term = message.commit_term;
    wire.reject = message.reject;
    wire.reject_hint = message.reject_hint;
    wire.request_snapshot = message.request_snapshot;
    wire.priority = message.priority;
    wire.context = message.context;
    wire.snapshot = message.snapshot.into_option().map(position_of);
    wire.entries = message.entries.into_iter().map(entry_to_wire).collect();
    Some(wire)
}

/// A message from the wire, for the group that it names. Its entries are still to be validated.
pub(crate) fn from_wire(wire: RaftMessage) -> eraftpb::Message {
    let entries: Vec<eraftpb::Entry> = wire.entries.into_iter().map(entry_from_wire).collect();
    eraftpb::Message {
        msg_type: type_of(wire.kind),
        to: wire.to,
        from: wire.from,
        term: wire.term,
        log_term: wire.log_term,
        index: wire.index,
        entries: entries.into(),
        commit: wire.commit,
        commit_term: wire.commit_term,
        snapshot: wire.snapshot.map(snapshot_of).into(),
        request_snapshot: wire.request_snapshot,
        reject: wire.reject,
        reject_hint: wire.reject_hint,
        context: wire.context,
        priority: wire.priority,
        ..eraftpb::Message::default()
    }
}

const fn kind_of(message: MessageType) -> Option<MessageKind> {
    Some(match message {
        MessageType::MsgAppend => MessageKind::Append,
        MessageType::MsgAppendResponse => MessageKind::AppendResponse,
        MessageType::MsgRequestVote => MessageKind::RequestVote,
        MessageType::MsgRequestVoteResponse => MessageKind::RequestVoteResponse,
        MessageType::MsgSnapshot => MessageKind::Snapshot,
        MessageType::MsgHeartbeat => MessageKind::Heartbeat,
        MessageType::MsgHeartbeatResponse => MessageKind::HeartbeatResponse,
        MessageType::MsgTransferLeader => MessageKind::TransferLeader,
        MessageType::MsgTimeoutNow => MessageKind::TimeoutNow,
        MessageType::MsgReadIndex => MessageKind::ReadIndex,
        MessageType::MsgReadIndexResp => MessageKind::ReadIndexResponse,
        MessageType::MsgRequestPreVote => MessageKind::RequestPreVote,
        MessageType::MsgRequestPreVoteResponse => MessageKind::RequestPreVoteResponse,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum => return None,
    })
}

const fn type_of(kind: MessageKind) -> MessageType {
    match kind {
        MessageKind::Append => MessageType::MsgAppend,
        MessageKind::AppendResponse => MessageType::MsgAppendResponse,
        MessageKind::RequestVote => MessageType::MsgRequestVote,
        MessageKind::RequestVoteResponse => MessageType::MsgRequestVoteResponse,
        MessageKind::Snapshot => MessageType::MsgSnapshot,
        MessageKind::Heartbeat => MessageType::MsgHeartbeat,
        MessageKind::HeartbeatResponse => MessageType::MsgHeartbeatResponse,
        MessageKind::TransferLeader => MessageType::MsgTransferLeader,
        MessageKind::TimeoutNow => MessageType::MsgTimeoutNow,
        MessageKind::ReadIndex => MessageType::MsgReadIndex,
        MessageKind::ReadIndexResponse => MessageType::MsgReadIndexResp,
        MessageKind::RequestPreVote => MessageType::MsgRequestPreVote,
        MessageKind::RequestPreVoteResponse => MessageType::MsgRequestPreVoteResponse,
    }
}

fn entry_to_wire(entry: eraftpb::Entry) -> Entry {
    let kind = match entry.entry_type {
        EntryType::EntryNormal => EntryKind::Normal,
        EntryType::EntryConfChange => EntryKind::ConfChange,
        EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
    };
    Entry { index: entry.index, term: entry.term, kind, data: entry.data, context: entry.context }
}

fn entry_from_wire(wire: Entry) -> eraftpb::Entry {
    let entry_type = match wire.kind {
        EntryKind::Normal => EntryType::EntryNormal,
        EntryKind::ConfChange => EntryType::EntryConfChange,
        EntryKind::ConfChangeV2 => EntryType::EntryConfChangeV2,
    };
    let (data, context) = (wire.data, wire.context);
    eraftpb::Entry { entry_type, term: wire.term, index: wire.index, data, context, ..eraftpb::Entry::default() }
}

fn position_of(snapshot: eraftpb::Snapshot) -> SnapshotPosition {
    let metadata = snapshot.metadata.unwrap_or_default();
    let members = metadata.conf_state.unwrap_or_default();
    let voters = SnapshotVoters {
        voters: members.voters,
        learners: members.learners,
        voters_outgoing: members.voters_outgoing,
        learners_next: members.learners_next,
        auto_leave: members.auto_leave,
    };
    SnapshotPosition { index: metadata.index, term: metadata.term, voters }
}

fn snapshot_of(position: SnapshotPosition) -> eraftpb::Snapshot {
    let voters = position.voters;
    let members = eraftpb::ConfState {
        voters: voters.voters,
        learners: voters.learners,
        voters_outgoing: voters.voters_outgoing,
        learners_next: voters.learners_next,
        auto_leave: voters.auto_leave,
        ..eraftpb::ConfState::default()
    };
    let metadata = eraftpb::SnapshotMetadata {
        conf_state: Some(members).into(),
        index: position.index,
        term: position.term,
        ..eraftpb::SnapshotMetadata::default()
    };
    eraftpb::Snapshot { metadata: Some(metadata).into(), ..eraftpb::Snapshot::default() }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const ALL: [MessageType; 19] = [
        MessageType::MsgHup,
        MessageType::MsgBeat,
        MessageType::MsgPropose,
        MessageType::MsgAppend,
        MessageType::MsgAppendResponse,
        MessageType::MsgRequestVote,
        MessageType::MsgRequestVoteResponse,
        MessageType::MsgSnapshot,
        MessageType::MsgHeartbeat,
        MessageType::MsgHeartbeatResponse,
        MessageType::MsgUnreachable,
        MessageType::MsgSnapStatus,
        MessageType::MsgCheckQuorum,
        MessageType::MsgTransferLeader,
        MessageType::MsgTimeoutNow,
        MessageType::MsgReadIndex,
        MessageType::MsgReadIndexResp,
        MessageType::MsgRequestPreVote,
        MessageType::MsgRequestPreVoteResponse,
    ];

    #[test]
    fn nothing_that_raft_uses_is_lost() {
        let entry = |index, entry_type| eraftpb::Entry {
            entry_type,
            term: 4,
            index,
            data: Bytes::from_static(b"data"),
            context: Bytes::from_static(b"why"),
            ..eraftpb::Entry::default()
        };
        let position = SnapshotPosition {
            index: 20,
            term: 21,
            voters: SnapshotVoters {
                voters: vec![1, 2],
                learners: vec![3],
                voters_outgoing: vec![4],
                learners_next: vec![5],
                auto_leave: true,
            },
        };
        let all = eraftpb::Message {
            msg_type: MessageType::MsgAppend,
            to: 1,
            from: 2,
            term: 3,
            log_term: 4,
            index: 5,
            entries: vec![
                entry(6, EntryType::EntryNormal),
                entry(7, EntryType::EntryConfChange),
                entry(8, EntryType::EntryConfChangeV2),
            ]
            .into(),
            commit: 9,
            commit_term: 10,
            snapshot: Some(snapshot_of(position)).into(),
            request_snapshot: 11,
            reject: true,
            reject_hint: 12,
            context: Bytes::from_static(b"context"),
            priority: -13,
            ..eraftpb::Message::default()
        };
        let wire = to_wire(ShardId(14), all.clone()).expect("it leaves the node");
        assert_eq!(wire.group, 14);
        assert_eq!(from_wire(wire), all);
    }

    #[test]
    fn every_kind_that_leaves_a_node_comes_back() {
        let mut left = 0;
        for kind in ALL {
            let message = eraftpb::Message { msg_type: kind, ..eraftpb::Message::default() };
            if let Some(wire) = to_wire(ShardId(0), message) {
                assert_eq!(from_wire(wire).msg_type, kind);
                left += 1;
            }
        }
        assert_eq!(left, 13, "the others stay");
    }
}
