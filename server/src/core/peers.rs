//! The other members, as one executor sees them: frames in, frames out, and who is there.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use net::peer::{Frame, MessageKind, RaftBatch, RaftMessage};
use shard::ids::{MemberId, ShardId};
use shard::shard::validate_message;

use super::message::Message;
use super::{Core, Inner, forward};
use crate::peer::{Links, Unsent, translate};

/// What this executor has for its peers, gathered over a turn.
#[derive(Default)]
pub(super) struct Peers {
    links: Option<Rc<Links>>,
    /// Raft's messages of this turn, by member.
    raft: BTreeMap<MemberId, Vec<RaftMessage>>,
    /// Members whose link came or went since the last turn.
    changed: Vec<(MemberId, bool)>,
    /// By member, an entry whose way there and back is being measured: one at a time.
    measured: BTreeMap<MemberId, (ShardId, u64, Instant)>,
}

impl Peers {
    /// Whether frames for a member have a stream to leave by.
    pub(super) fn is_connected(&self, member: MemberId) -> bool {
        self.up_since(member).is_some()
    }

    /// Bytes that wait for the member for whom most wait.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.links.as_ref().map_or(0, |links| links.waiting_bytes())
    }

    /// Bytes that wait for this member.
    pub(super) fn waiting_bytes_for(&self, member: MemberId) -> usize {
        self.links.as_ref().map_or(0, |links| links.waiting_bytes_for(member))
    }

    /// Since when there is a stream to a member; none: there is none now.
    pub(super) fn up_since(&self, member: MemberId) -> Option<Instant> {
        self.links.as_ref().and_then(|links| links.up_since(member))
    }
}

/// An entry that has not come back after this long never will: its group has another leader.
const MEASURED_MAX: Duration = Duration::from_secs(5);

fn is_append(message: &RaftMessage) -> bool {
    message.kind == MessageKind::Append && !message.entries.is_empty()
}

impl Core {
    /// Gives the executor its streams to the other members.
    pub(crate) fn connect(&self, links: Rc<Links>) {
        self.inner.borrow_mut().peers.links = Some(links);
    }

    /// A frame has come from a member.
    pub(crate) fn receive(&self, from: MemberId, frame: Frame) {
        self.inner.borrow_mut().frame(from, frame);
        self.stir();
    }

    /// The stream to a member has come, or is gone.
    pub(crate) fn link_changed(&self, member: MemberId, up: bool) {
        self.inner.borrow_mut().peers.changed.push((member, up));
        self.stir();
    }
}

impl Inner {
    /// A frame of a member, here or on its way through another executor of this node.
    pub(super) fn frame(&mut self, from: MemberId, frame: Frame) {
        match frame {
            Frame::RaftBatch(batch) => self.raft_batch(from, batch),
            Frame::Frontier(frontier) => self.frontier(from, frontier),
            Frame::Forward(forward) if usize::from(self.node.shards) > forward.shard as usize => {
                let core = self.node.core_of(ShardId(forward.shard as u16));
                if core == self.me {
                    self.take_forward(from, &forward);
                } else {
                    self.send(core, Message::Peer(from, forward.into()));
                }
            }
            Frame::Forwarded(answer) => match self.asker(answer.ticket) {
                Some(core) if core == self.me => self.forward_answered(from, answer),
                Some(core) => self.send(core, Message::Peer(from, answer.into())),
                None => {}
            },
            Frame::Confirm(confirm) => self.confirm_for(from, confirm.ticket),
            Frame::Confirmed(answer) => match self.asker(answer.ticket) {
                Some(core) if core == self.me => self.confirm_answered(from, answer),
                Some(core) => self.send(core, Message::Peer(from, answer.into())),
                None => {}
            },
            Frame::SnapshotBegin(ref begin) => {
                let begin = begin.clone();
                if self.shard_of(from, begin.group, &frame).is_some() {
                    self.begin_intake(from, &begin);
                }
            }
            Frame::SnapshotChunk(ref piece) => {
                let (group, transfer) = (piece.group, piece.transfer);
                if let Some(shard) = self.shard_of(from, group, &frame) {
                    self.intake(from, shard, transfer, frame);
                }
            }
            Frame::SnapshotEnd(ref end) => {
                let (group, transfer) = (end.message.group, end.transfer);
                if let Some(shard) = self.shard_of(from, group, &frame) {
                    self.intake(from, shard, transfer, frame);
                }
            }
            Frame::SnapshotAck(ack) => match self.asker(ack.transfer) {
                Some(core) if core == self.me => self.state_acknowledged(ack),
                Some(core) => self.send(core, Message::Peer(from, ack.into())),
                None => {}
            },
            // A forward for a shard that does not exist: the stream's handshake should have refused its sender.
            Frame::Forward(_) | Frame::Address(_) | Frame::Held(_) | Frame::Outdated(_) | Frame::Alive => {}
        }
    }

    /// The shard of a frame, if it is this executor's; if it is another's, the frame goes there.
    fn shard_of(&mut self, from: MemberId, group: u32, frame: &Frame) -> Option<ShardId> {
        let shard = ShardId(u16::try_from(group).ok().filter(|group| *group < self.node.shards)?);
        let core = self.node.core_of(shard);
        if core == self.me {
            return Some(shard);
        }
        self.send(core, Message::Peer(from, frame.clone()));
        None
    }

    fn asker(&self, number: u64) -> Option<usize> {
        Some(forward::asker(number)).filter(|core| *core < self.node.cores())
    }

    /// Steps what is for this executor's groups, and hands on the rest, a batch per executor.
    fn raft_batch(&mut self, from: MemberId, batch: RaftBatch) {
        self.count_received(from, &batch);
        let mut others: BTreeMap<usize, Vec<RaftMessage>> = BTreeMap::new();
        for message in batch.messages {
            let Some(shard) = u16::try_from(message.group).ok().filter(|group| *group < self.node.shards) else {
                continue;
            };
            let core = self.node.core_of(ShardId(shard));
            if core == self.me {
                self.raft_message(from, ShardId(shard), message);
            } else {
                others.entry(core).or_default().push(message);
            }
        }
        for (core, messages) in others {
            self.send(core, Message::Peer(from, RaftBatch { messages }.into()));
        }
    }

    fn raft_message(&mut self, from: MemberId, shard: ShardId, message: RaftMessage) {
        self.measure_return(from, shard, &message);
        let message = translate::from_wire(message);
        if let Err(error) = validate_message(&message) {
            tracing::error!(target: "raft", "shard {shard}: a message of member {from:x} is refused: {error}");
            return;
        }
        if let Some(message) = self.catchup.keep_late(shard, message) {
            self.step(shard, message);
        }
    }

    /// Hands a group a message.
    pub(super) fn step(&mut self, shard: ShardId, message: raft::prelude::Message) {
        let (seat, from) = (self.seat(shard), message.from);
        if let Err(error) = self.shards[seat].step(message) {
            tracing::debug!(target: "raft", "shard {shard}: a message of member {from:x} is of no use: {error}");
        }
    }

    /// Gathers a message of a group for its member.
    pub(super) fn post_raft(&mut self, shard: ShardId, message: raft::prelude::Message) {
        let to = MemberId(message.to);
        if let Some(message) = translate::to_wire(shard, message) {
            self.peers.raft.entry(to).or_default().push(message);
        }
    }

    /// Sends a frame; what can not be sent is lost, and whoever waits for an answer has to cope.
    pub(super) fn post(&mut self, to: MemberId, frame: impl Into<Frame>) -> bool {
        let Some(links) = &self.peers.links else { return false };
        links.send(to, &frame.into()).is_ok()
    }

    /// Hands the turn's messages to the streams.
    pub(super) fn post_all_raft(&mut self) {
        let Some(links) = self.peers.links.clone() else { return };
        for member in self.deferred_members() {
            self.peers.raft.entry(member).or_default();
        }
        for (to, messages) in std::mem::take(&mut self.peers.raft) {
            let mut messages = self.leaving(to, messages);
            if messages.is_empty() {
                continue;
            }
            let bytes = messages.iter().map(RaftMessage::size_bytes).sum();
            let append = messages
                .iter()
                .find(|message| is_append(message))
                .map(|first| (ShardId(first.group as u16), first.index + first.entries.len() as u64));
            if let Err(Unsent::Down | Unsent::Full) = links.send_raft(to, &mut messages) {
                self.metrics.traffic.peers.entry(to.0).or_default().failed.inc();
                self.unreachable(to);
            } else {
                self.count_sent(to, bytes, append);
            }
        }
    }

    /// Counts a turn's messages to a member; `append` is how far one of its groups will be if it gets them.
    fn count_sent(&mut self, to: MemberId, bytes: usize, append: Option<(ShardId, u64)>) {
        let traffic = &mut self.metrics.traffic;
        let peer = traffic.peers.entry(to.0).or_default();
        peer.sent_bytes.add(bytes as u64);
        let Some((shard, upto)) = append else { return };
        let now = Instant::now();
        peer.appends.inc();
        traffic.sent.observe(now, bytes);
        let measured = self.peers.measured.entry(to).or_insert((shard, upto, now));
        if now.duration_since(measured.2) > MEASURED_MAX {
            *measured = (shard, upto, now);
        }
    }

    fn count_received(&mut self, from: MemberId, batch: &RaftBatch) {
        let bytes = batch.messages.iter().map(RaftMessage::size_bytes).sum();
        let traffic = &mut self.metrics.traffic;
        traffic.peers.entry(from.0).or_default().received_bytes.add(bytes as u64);
        if batch.messages.iter().any(is_append) {
            traffic.received.observe(Instant::now(), bytes);
        }
    }

    fn measure_return(&mut self, from: MemberId, shard: ShardId, message: &RaftMessage) {
        if message.kind != MessageKind::AppendResponse || message.reject {
            return;
        }
        let Some((of, upto, begun)) = self.peers.measured.get(&from).copied() else { return };
        if of == shard && message.index >= upto {
            self.peers.measured.remove(&from);
            self.metrics.traffic.peers.entry(from.0).or_default().round_trip.observe(begun.elapsed());
        }
    }

    /// Links that came or went.
    pub(super) fn take_links(&mut self) {
        for (member, up) in std::mem::take(&mut self.peers.changed) {
            if !up {
                self.unreachable(member);
                self.ask_again(member);
            }
        }
    }

    /// The other members, as far as shard 0 knows them.
    pub(super) fn other_members(&self) -> Vec<MemberId> {
        let system = self.node.system();
        system.members().keys().copied().filter(|member| member.0 != self.node.member).collect()
    }

    fn unreachable(&mut self, member: MemberId) {
        self.catchup.give_up(member);
        for shard in &mut self.shards {
            shard.unreachable(member);
        }
    }
}
