//! Members that lag catch up without haste, on both sides: whoever has nothing to catch up with must not notice.
//!
//! *Sending*: raft hands out all that its window allows at once, tens of megabytes for all groups of a member. Of that,
//! [`SENT_AHEAD`] bytes wait for the socket at a time; the rest stays here, as references to entries that are in memory
//! anyway. What is no append (heartbeats, votes, answers) overtakes it.
//!
//! *Receiving*: an append that the cluster has committed already, and more behind it, is late: nobody waits for it but its
//! group's next one. Those are stepped one at a time, while the log keeps up: gathered without a bound they would become one
//! write for which a segment of its own size has to be made. All that has come meanwhile may be shown at once in the end, and
//! is applied some at a time, too. A turn with any of that is followed by a rest from it, [`REST`] times as long, in which the
//! member's other work, and whatever shares its CPU, goes on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use net::peer::{MessageKind, RaftMessage};
use raft::prelude::{Entry, Message, MessageType};
use shard::group::LogEntry;
use shard::ids::{MemberId, ShardId};
use shard::shard::indices_of;

use super::{Core, Inner, Phase};

/// Bytes of appends that wait for a member's socket, beyond which further ones stay here. More than one message
/// ([`shard::group::MESSAGE_BYTES`]), and about a millisecond of a 10 Gbit/s link.
const SENT_AHEAD: usize = 1 << 20;
/// Time that is left to everything else after some work for a member that lags, as a multiple of the time that it took.
pub(super) const REST: u32 = 3;
/// The longest rest for each command that was caught up with. A client's command takes several times as long: so the distance
/// shrinks at any load, also if it is the bytes of large values that take the time.
const REST_EACH: Duration = Duration::from_micros(6);
/// How often it is looked whether they have left.
const GLANCE: Duration = Duration::from_millis(1);

/// Bytes gathered for the log above which none is stepped: half a segment.
const GATHERED_MAX: usize = 2 << 20;
/// Bytes of late appends that are kept. Beyond, they are dropped: the leader learns from the next one that gets through
/// where to go on.
const LATE_BYTES_MAX: usize = 64 << 20;

/// What waits, of one executor.
#[derive(Default)]
pub(super) struct CatchUp {
    deferred: BTreeMap<MemberId, Vec<RaftMessage>>,
    glancing: bool,
    late: VecDeque<(ShardId, Message, usize)>,
    late_bytes: usize,
    /// Groups of which something is in `late`, and how much.
    groups: BTreeMap<ShardId, usize>,
    resting: bool,
    /// There was something late since the last round.
    lagged: bool,
}

impl CatchUp {
    /// What of these messages for a member, and of those that were kept back before, leaves now. `waiting`: bytes that
    /// wait for its socket.
    fn leaving(&mut self, to: MemberId, messages: Vec<RaftMessage>, bytes: usize, waiting: usize) -> Vec<RaftMessage> {
        let kept = self.deferred.remove(&to).unwrap_or_default();
        if kept.is_empty() && waiting + bytes <= SENT_AHEAD {
            return messages;
        }
        let mut room = SENT_AHEAD.saturating_sub(waiting);
        let mut held = BTreeSet::new();
        let (mut now, mut later) = (Vec::with_capacity(messages.len()), Vec::new());
        for message in kept.into_iter().chain(messages) {
            let size = message.size_bytes();
            // A single entry may be larger than all the room there is.
            let fits = size <= room || room == SENT_AHEAD;
            if message.kind != MessageKind::Append {
                now.push(message);
            } else if fits && !held.contains(&message.group) {
                room = room.saturating_sub(size);
                now.push(message);
            } else {
                // In order: those of its group that follow are of no use without it.
                held.insert(message.group);
                later.push(message);
            }
        }
        if !later.is_empty() {
            self.deferred.insert(to, later);
        }
        now
    }

    /// Nothing is kept back for a member any more: raft is told that it is out of reach.
    pub(super) fn give_up(&mut self, to: MemberId) {
        self.deferred.remove(&to);
    }

    /// Something is kept back.
    pub(super) fn is_deferring(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Keeps a message if it is late, or follows one that is; else gives it back.
    pub(super) fn keep_late(&mut self, shard: ShardId, message: Message) -> Option<Message> {
        let is_append = message.get_msg_type() == MessageType::MsgAppend;
        let follows = is_append && self.groups.contains_key(&shard);
        let is_late = is_append && message.entries.last().is_some_and(|last| message.commit > last.index);
        if !follows && !is_late {
            return Some(message);
        }
        let bytes: usize = message.entries.iter().map(|entry| entry.data.len()).sum();
        if self.late_bytes + bytes <= LATE_BYTES_MAX {
            self.late_bytes += bytes;
            *self.groups.entry(shard).or_default() += 1;
            self.late.push_back((shard, message, bytes));
        }
        None
    }

    /// The late message that has waited longest.
    fn take_late(&mut self) -> Option<(ShardId, Message)> {
        let (shard, message, bytes) = self.late.pop_front()?;
        self.late_bytes -= bytes;
        if let Some(count) = self.groups.get_mut(&shard) {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(&shard);
            }
        }
        Some((shard, message))
    }
}

impl Inner {
    /// What of the turn's messages for a member leaves now; the rest is looked at again in a moment.
    pub(super) fn leaving(&mut self, to: MemberId, messages: Vec<RaftMessage>) -> Vec<RaftMessage> {
        let bytes = messages.iter().map(RaftMessage::size_bytes).sum();
        let waiting = self.peers.waiting_bytes_for(to);
        let leaving = self.catchup.leaving(to, messages, bytes, waiting);
        if self.catchup.is_deferring() && !std::mem::replace(&mut self.catchup.glancing, true) {
            let core = self.core.clone();
            self.spawn(async move {
                glommio::timer::sleep(GLANCE).await;
                if let Some(core) = core.upgrade() {
                    core.glance();
                }
            });
        }
        leaving
    }

    /// Members for which something is kept back.
    pub(super) fn deferred_members(&self) -> Vec<MemberId> {
        self.catchup.deferred.keys().copied().collect()
    }

    /// Steps something that is late, if the log keeps up. Returns how many commands it has.
    pub(super) fn step_late(&mut self) -> Option<u64> {
        if self.catchup.resting || self.disk.pending_bytes() > GATHERED_MAX {
            return None;
        }
        let (shard, message) = self.catchup.take_late()?;
        let commands = message.entries.iter().map(commands_of).sum();
        self.step(shard, message);
        Some(commands)
    }

    /// Nothing that is late is to be worked on.
    pub(super) fn rests(&self) -> bool {
        self.catchup.resting && !self.node.order.is_open()
    }

    /// Every round: while this member lags, others that share its CPUs come first.
    pub(super) fn make_way(&mut self) {
        let lagged = std::mem::take(&mut self.catchup.lagged);
        let lags = lagged || self.intake.is_receiving() || self.node.phase() < Phase::Serving;
        self.slices.look(lags);
    }

    /// Takes a rest from what is late, after a turn of this length that has had some of it, so many commands.
    pub(super) fn rest(&mut self, turn: Duration, commands: u64) {
        self.catchup.lagged = true;
        if std::mem::replace(&mut self.catchup.resting, true) {
            return;
        }
        let core = self.core.clone();
        self.spawn(async move {
            glommio::timer::sleep((turn * REST).min(REST_EACH * commands as u32)).await;
            if let Some(core) = core.upgrade() {
                core.inner.borrow_mut().catchup.resting = false;
                core.stir();
            }
        });
    }
}

/// Commands in an entry. It has been checked when it came.
fn commands_of(entry: &Entry) -> u64 {
    indices_of(&LogEntry::from(entry)).map_or(1, |(_, count)| count as u64)
}

impl Core {
    fn glance(&self) {
        self.inner.borrow_mut().catchup.glancing = false;
        self.stir();
    }
}

#[cfg(test)]
mod tests {
    use std::iter::from_fn;

    use bytes::Bytes;
    use net::peer::{Entry, EntryKind};

    use super::*;

    const TO: MemberId = MemberId(2);

    fn wire(group: u32, kind: MessageKind, index: u64, bytes: usize) -> RaftMessage {
        let data = Bytes::from(vec![0; bytes]);
        let entry = Entry { index: index + 1, term: 1, kind: EntryKind::Normal, data, context: Bytes::new() };
        let entries = if bytes > 0 { vec![entry] } else { Vec::new() };
        RaftMessage { index, entries, ..RaftMessage::new(group, kind, 1, TO.0, 1) }
    }

    fn leaving(catchup: &mut CatchUp, messages: Vec<RaftMessage>, waiting: usize) -> Vec<(u32, u64)> {
        let bytes = messages.iter().map(RaftMessage::size_bytes).sum();
        catchup.leaving(TO, messages, bytes, waiting).iter().map(|message| (message.group, message.index)).collect()
    }

    #[test]
    fn appends_wait_for_room_in_order_and_nothing_else_waits() {
        const HALF: usize = SENT_AHEAD / 2 + 1;
        let mut catchup = CatchUp::default();
        let append = |group, index, bytes| wire(group, MessageKind::Append, index, bytes);
        let burst = vec![
            append(1, 1, HALF),
            append(2, 1, HALF),
            append(2, 2, 1),
            wire(2, MessageKind::Heartbeat, 0, 0),
            append(3, 1, 1),
        ];
        assert_eq!(leaving(&mut catchup, burst, 0), [(1, 1), (2, 0), (3, 1)]);
        assert_eq!(leaving(&mut catchup, vec![append(2, 3, 0)], SENT_AHEAD), []);
        assert_eq!(leaving(&mut catchup, Vec::new(), 0), [(2, 1), (2, 2), (2, 3)]);
        assert!(!catchup.is_deferring());
    }

    #[test]
    fn an_entry_larger_than_the_room_leaves_alone() {
        let mut catchup = CatchUp::default();
        let append = |index, bytes| wire(1, MessageKind::Append, index, bytes);
        let giants = vec![append(1, 2 * SENT_AHEAD), append(2, 2 * SENT_AHEAD)];
        assert_eq!(leaving(&mut catchup, giants, 0), [(1, 1)]);
        assert_eq!(leaving(&mut catchup, Vec::new(), 1), []);
        assert_eq!(leaving(&mut catchup, Vec::new(), 0), [(1, 2)]);
    }

    fn append(index: u64, commit: u64, bytes: usize) -> Message {
        let mut message = Message { commit, index: index - 1, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        let data = vec![0; bytes].into();
        message.entries.push(raft::prelude::Entry { index, data, ..Default::default() });
        message
    }

    #[test]
    fn what_is_late_is_kept_and_what_follows_it_in_its_group() {
        let mut catchup = CatchUp::default();
        assert!(catchup.keep_late(ShardId(0), append(5, 5, 1)).is_some(), "just committed: not behind");
        assert!(catchup.keep_late(ShardId(0), append(5, 90, 1)).is_none());
        assert!(catchup.keep_late(ShardId(0), append(6, 6, 1)).is_none(), "it follows");
        assert!(catchup.keep_late(ShardId(1), append(6, 6, 1)).is_some(), "another group is on time");
        let mut heartbeat = Message::default();
        heartbeat.set_msg_type(MessageType::MsgHeartbeat);
        assert!(catchup.keep_late(ShardId(0), heartbeat).is_some());
        let taken: Vec<u64> = from_fn(|| catchup.take_late()).map(|(_, message)| message.index + 1).collect();
        assert_eq!(taken, [5, 6]);
        assert!(catchup.keep_late(ShardId(0), append(7, 7, 1)).is_some(), "it has caught up");
    }

    #[test]
    fn what_is_late_is_bounded() {
        let mut catchup = CatchUp::default();
        for index in 1..=2 * (LATE_BYTES_MAX >> 20) as u64 {
            assert!(catchup.keep_late(ShardId(0), append(index, 1 << 40, 1 << 20)).is_none());
        }
        assert_eq!((catchup.late_bytes, catchup.late.len()), (LATE_BYTES_MAX, LATE_BYTES_MAX >> 20));
        while catchup.take_late().is_some() {}
        assert_eq!(catchup.late_bytes, 0);
    }
}
