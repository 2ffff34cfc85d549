//! One group, its disk always in time.

use super::*;
use crate::ids::Index;

fn seed(entries: Vec<LogEntry>, vote: Vote) -> GroupSeed {
    let member = MemberId(7);
    GroupSeed {
        member,
        members: Members::of_voters([member]),
        applied: LOG_START,
        vote,
        entries,
        election_ticks: 10,
        shown: Index::ZERO,
        heartbeat_ticks: 1,
        tail_bytes: TAIL_BYTES,
        amnesia: None,
        random_seed: 3,
    }
}

/// Runs the group with a disk that is always in time; returns what was committed.
fn settle(group: &mut Group) -> Vec<LogEntry> {
    let mut committed = Vec::new();
    while let Some(ready) = group.ready() {
        committed.extend(ready.committed);
        if let Some(number) = ready.number {
            group.persisted(number);
        }
    }
    committed
}

#[test]
fn a_lone_member_leads_after_its_own_vote_and_entry_are_durable() {
    let mut group = Group::start(seed(Vec::new(), Vote::default()), LOG_START.0).expect("starts");
    group.campaign();
    assert!(!group.leads_surely());
    settle(&mut group);
    assert!(group.leads_surely() && group.is_alone());
}

#[test]
fn nothing_is_committed_before_it_is_persisted() {
    let mut group = Group::start(seed(Vec::new(), Vote::default()), LOG_START.0).expect("starts");
    group.campaign();
    settle(&mut group);
    let at = group.propose(Bytes::from_static(b"batch"));
    let ready = group.ready().expect("an entry to write");
    assert_eq!(ready.entries.len(), 1);
    assert!(ready.committed.is_empty());
    assert!(group.ready().is_none());
    group.persisted(ready.number.expect("must be written"));
    let committed = settle(&mut group);
    assert_eq!(committed.last().map(|e| (e.index, e.data.clone())), Some((at, Bytes::from_static(b"batch"))));
}

#[test]
fn two_writes_may_be_under_way() {
    let mut group = Group::start(seed(Vec::new(), Vote::default()), LOG_START.0).expect("starts");
    group.campaign();
    settle(&mut group);
    group.propose(Bytes::from_static(b"a"));
    let first = group.ready().and_then(|r| r.number).expect("first write");
    group.propose(Bytes::from_static(b"b"));
    let second = group.ready().and_then(|r| r.number).expect("second write");
    group.persisted(first);
    let data: Vec<Bytes> = group.ready().map(|r| r.committed.into_iter().map(|e| e.data).collect()).unwrap_or_default();
    assert_eq!(data, [Bytes::from_static(b"a")]);
    group.persisted(second);
    assert_eq!(settle(&mut group).len(), 1);
}

#[test]
fn a_restart_commits_what_the_log_holds() {
    let entries = (2..5)
        .map(|i| LogEntry { index: RaftIndex(i), term: Term(1), conf_change: false, data: Bytes::from(vec![i as u8]) })
        .collect();
    let mut group = Group::start(seed(entries, Vote { term: 3, vote: 7, commit: 99 }), LOG_START.0).expect("starts");
    let mut committed = settle(&mut group);
    group.campaign();
    committed.extend(settle(&mut group));
    assert!(group.leads_surely() && group.term() > Term(3));
    let positions: Vec<u64> = committed.iter().map(|e| e.index.0).collect();
    assert_eq!(positions, [2, 3, 4, 5], "three found on disk and the new leader's own");
}

#[test]
fn a_quorum_round_of_one_is_confirmed_at_once() {
    let mut group = Group::start(seed(Vec::new(), Vote::default()), LOG_START.0).expect("starts");
    group.campaign();
    settle(&mut group);
    group.confirm(41);
    assert_eq!(group.ready().map(|r| r.confirmed), Some(vec![41]));
}

#[test]
fn election_timeouts_depend_on_the_seed_alone() {
    let timeouts = |random_seed| {
        let mut group =
            Group::start(GroupSeed { random_seed, ..seed(Vec::new(), Vote::default()) }, LOG_START.0).expect("starts");
        let mut seen = Vec::new();
        for _ in 0..60 {
            group.tick();
            seen.push(group.node.raft.randomized_election_timeout());
        }
        seen
    };
    assert_eq!(timeouts(5), timeouts(5));
    assert!((10..20).contains(&timeouts(5)[0]));
}

fn of_three() -> Group {
    of_three_with(Vec::new(), Vote::default())
}

fn of_three_with(entries: Vec<LogEntry>, vote: Vote) -> Group {
    let members = Members::of_voters([7, 8, 9].map(MemberId));
    Group::start(GroupSeed { members, ..seed(entries, vote) }, LOG_START.0).expect("starts")
}

fn message(kind: MessageType, from: u64, term: u64) -> Message {
    let mut message = Message { from, to: 7, term, ..Message::default() };
    message.set_msg_type(kind);
    message
}

#[test]
fn an_amnesiac_is_told_of_durable_terms_only() {
    let mut group = of_three();
    let mut asker = Amnesia::new(MemberId(8), &[MemberId(7)], 1, 10);
    let question = (0..40).flat_map(|_| asker.tick(8)).next().expect("asks");
    let told = |group: &mut Group| {
        group.step(question.clone()).expect("is for it");
        group.own.pop().map(|answer| answer.term)
    };
    let mut request = message(MessageType::MsgRequestVote, 9, 5);
    (request.index, request.log_term) = (9, 4);
    group.step(request).expect("makes sense");
    let ready = group.ready().expect("a vote to write");
    assert_eq!((ready.vote.map(|vote| (vote.term, vote.vote)), ready.at_once.len()), (Some((5, 9)), 0));
    assert_eq!(ready.after_durable.len(), 1, "the vote leaves when it is durable");
    assert_eq!(told(&mut group), Some(1));
    group.persisted(ready.number.expect("must be written"));
    assert_eq!(told(&mut group), Some(5));
}

/// 9 votes for it.
fn elect(group: &mut Group) {
    group.campaign();
    for kind in [MessageType::MsgRequestPreVoteResponse, MessageType::MsgRequestVoteResponse] {
        settle(group);
        group.step(message(kind, 9, 2)).expect("is for it");
    }
    settle(group);
    assert!(group.leads());
}

/// 9 has all that the leader has.
fn acknowledge(group: &mut Group) {
    let mut has_all = message(MessageType::MsgAppendResponse, 9, 2);
    has_all.index = group.last().0;
    group.step(has_all).expect("is for it");
    settle(group);
}

/// Leads, elected by 9; nobody but 9 has said anything.
fn leading() -> Group {
    let mut group = of_three();
    elect(&mut group);
    acknowledge(&mut group);
    assert!(group.leads_surely());
    group
}

#[test]
fn a_leader_names_the_voters_once_it_is_confirmed() {
    let mut group = leading();
    let mut asker = Amnesia::new(MemberId(8), &[MemberId(7)], 1, 10);
    let question = (0..40).flat_map(|_| asker.tick(8)).next().expect("asks");
    let answers = |group: &mut Group| -> Vec<Message> {
        let sent = std::iter::from_fn(|| group.ready()).flat_map(|ready| ready.at_once);
        sent.filter(|sent| sent.get_msg_type() == MessageType::MsgRequestPreVoteResponse).collect()
    };
    group.step(question.clone()).expect("is for it");
    let plain = answers(&mut group);
    let [plain] = &plain[..] else { panic!("one answer") };
    assert_eq!(plain.context, question.context);
    let mut beat = message(MessageType::MsgHeartbeatResponse, 9, 2);
    beat.context = amnesia::round(&question).expect("is a question").into();
    group.step(beat).expect("is for it");
    let [told] = &answers(&mut group)[..] else { panic!("one answer") };
    assert_eq!((told.to, told.term, told.commit), (8, 2, group.last().0));
    assert_eq!(told.context[question.context.len()..], [7_u64, 8, 9].map(u64::to_le_bytes).concat());
}

#[test]
fn a_leader_names_no_voters_while_they_change() {
    let mut group = leading();
    group.propose_members(MemberChange::Remove(MemberId(8))).expect("proposed");
    let mut asker = Amnesia::new(MemberId(8), &[MemberId(7)], 1, 1);
    let question = (0..4).flat_map(|_| asker.tick(8)).next().expect("asks");
    let round = amnesia::round(&question).expect("is a question");
    assert_eq!(group.answer_as_leader(&round), None);
    acknowledge(&mut group);
    assert!(group.answer_as_leader(&round).is_some());
}

fn removal_of(member: u64, index: u64, term: u64) -> LogEntry {
    let data = MemberChange::Remove(MemberId(member)).encode();
    LogEntry { index: RaftIndex(index), term: Term(term), conf_change: true, data }
}

#[test]
fn a_leader_that_an_earlier_one_had_removed_steps_down() {
    let mut group = of_three_with(vec![removal_of(7, 2, 1)], Vote::default());
    elect(&mut group);
    acknowledge(&mut group);
    assert_eq!(*group.members(), Members::of_voters([8, 9].map(MemberId)));
    assert!(!group.leads(), "it leads a group that it is not in");
}

/// An entry that 9 sends, which follows the one of `index` and `log_term`.
fn append(index: u64, log_term: u64, entry: Entry) -> Message {
    let mut append = Message { index, log_term, ..message(MessageType::MsgAppend, 9, 5) };
    append.set_entries(vec![entry].into());
    append
}

#[test]
fn what_follows_a_change_of_members_is_on_the_disk_only_with_the_mark_that_covers_it() {
    let mut group = of_three();
    let (mut entries, mut vote) = (Vec::new(), Vote::default());
    // Nothing is reported as durable, so that the change is not carried out here yet.
    let mut write = |group: &mut Group| {
        while let Some(ready) = group.ready() {
            entries.extend(ready.entries);
            vote = ready.vote.unwrap_or(vote);
        }
    };
    group.step(append(1, 1, seed::to_raft(removal_of(8, 2, 5)))).expect("makes sense");
    write(&mut group);
    group.step(Message { commit: 2, ..message(MessageType::MsgHeartbeat, 9, 5) }).expect("makes sense");
    write(&mut group);
    group.step(append(2, 5, Entry { index: 3, term: 5, ..Entry::default() })).expect("makes sense");
    write(&mut group);
    assert_eq!(entries.len(), 2);
    let mut restarted = of_three_with(entries, vote);
    settle(&mut restarted);
    assert_eq!(*restarted.members(), Members::of_voters([7, 9].map(MemberId)));
}

/// The message of a state that 9 sends.
fn state() -> Message {
    let mut message = message(MessageType::MsgSnapshot, 9, 5);
    let metadata = message.mut_snapshot().mut_metadata();
    (metadata.index, metadata.term) = (10, 4);
    metadata.mut_conf_state().voters = vec![7, 8, 9];
    message
}

#[test]
fn a_state_that_is_sent_twice_is_taken_once() {
    let mut group = of_three();
    assert!(group.install(state()).expect("makes sense"));
    assert!(!group.install(state()).expect("makes sense"), "raft still holds the first");
    settle(&mut group);
    assert!(!group.install(state()).expect("makes sense"));
}

#[test]
fn nobody_stands_for_election_before_the_state_it_was_sent_is_on_its_disk() {
    let mut group = of_three();
    assert!(group.install(state()).expect("makes sense"));
    let ready = group.ready().expect("a state to write");
    group.campaign();
    assert_eq!(group.status().role, Role::Follower);
    group.persisted(ready.number.expect("must be written"));
    group.campaign();
    assert_eq!(group.status().role, Role::Candidate);
}

#[test]
fn a_heartbeat_is_answered_without_the_disk() {
    let mut group = of_three();
    group.step(message(MessageType::MsgHeartbeat, 9, 5)).expect("makes sense");
    let first = group.ready().expect("a term to write");
    assert_eq!((first.at_once.len(), first.after_durable.len()), (0, 1), "the term is not durable");
    group.persisted(first.number.expect("must be written"));
    group.step(append(1, 1, Entry { index: 2, term: 5, ..Entry::default() })).expect("makes sense");
    group.step(message(MessageType::MsgHeartbeat, 9, 5)).expect("makes sense");
    let second = group.ready().expect("an entry to write");
    assert_eq!((second.at_once.len(), second.after_durable.len()), (1, 1), "only the entry waits");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut group = of_three();
    let mut gap = message(MessageType::MsgAppend, 9, 5);
    gap.set_entries(vec![Entry { index: 3, term: 5, ..Entry::default() }].into());
    for message in [gap, message(MessageType::MsgHup, 9, 5), message(MessageType::MsgHeartbeat, 9, 0)] {
        assert!(matches!(group.step(message), Err(GroupError::Nonsense(_))));
    }
    assert!(group.ready().is_none());
}

#[test]
fn the_status_tells_of_the_others_only_while_it_leads() {
    let mut group = Group::start(seed(Vec::new(), Vote::default()), LOG_START.0).expect("starts");
    let status = group.status();
    assert_eq!((status.role, status.vote, status.leader, status.progress.len()), (Role::Follower, None, None, 0));
    group.campaign();
    settle(&mut group);
    let (me, status) = (group.me(), group.status());
    assert_eq!((status.role, status.vote, status.leader), (Role::Leader, Some(me), Some(me)));
    assert_eq!((status.term, status.commit), (group.term(), group.committed()));
    let [(id, reached)] = status.progress[..] else { panic!("{status:?}") };
    assert_eq!((id, reached.matched.0, reached.next.0), (me, group.last().0, group.last().0 + 1));
}
