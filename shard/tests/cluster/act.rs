//! What one core of one node can do in a step.

use shard::ids::{Index, MemberId, ShardId};
use shard::regime::{Action, Report};
use shard::shard::validate_message;

use crate::core::Mail;
use crate::disk::Operation;
use crate::network::{Envelope, Payload};
use crate::node::{Running, restore};
use crate::plan::Bug;
use crate::world::World;

impl World {
    /// One message for the core.
    pub(crate) fn receive(&mut self, at: usize, core: usize) {
        let node = &mut self.nodes[at];
        let Some(running) = &node.running else { return };
        let Some(envelope) = self.net.receive(node.id, |shard| running.core_of(shard) == core) else { return };
        let heard = node.heard.entry(envelope.from).or_default();
        *heard = envelope.process.max(*heard);
        if envelope.process == *heard {
            self.deliver(at, core, envelope);
        }
    }

    fn deliver(&mut self, at: usize, core: usize, envelope: Envelope) {
        let bug = self.plan.bug;
        let node = &mut self.nodes[at];
        let Some(running) = &mut node.running else { return };
        let seat = &mut running.cores[core];
        let id = envelope.shard;
        match envelope.payload {
            Payload::Raft(message) => {
                validate_message(&message).expect("peers send what can be read");
                seat.shard(id).step(message).expect("peers make sense");
            }
            Payload::Frontier { visible, position } => {
                seat.shard(id).frontier(visible, position);
                if bug == Some(Bug::EarlyFrontier) {
                    running.order.publish_reached(id, visible);
                }
            }
            Payload::Forward { ticket, process, command } => {
                if running.order.is_open() {
                    seat.commands.push((id, ticket, process, command));
                }
            }
            Payload::Snapshot { chunks, message } => {
                let metadata = message.get_snapshot().get_metadata();
                let place = (shard::ids::RaftIndex(metadata.index), shard::ids::Term(metadata.term));
                let store = restore(&chunks);
                let files = &mut node.disk[usize::from(id.0)].files;
                files.retain(|file| file.0 != place);
                files.push((place, chunks));
                let installed = seat.shard(id).install(store, message).expect("peers make sense");
                self.counts.installed += u64::from(installed);
                let to = node.id;
                self.report(envelope.from, envelope.process, id, to, true);
            }
        }
    }

    /// Tells who sent a snapshot how it went, if it is still there to hear.
    fn report(&mut self, sender: MemberId, process: u64, shard: ShardId, peer: MemberId, arrived: bool) {
        let sender = &mut self.nodes[sender.0 as usize - 1];
        if let Some(running) = sender.running.as_mut().filter(|running| running.process == process) {
            let core = running.core_of(shard);
            running.cores[core].mail.push_back(Mail::Reported { shard, peer, arrived });
        }
    }

    pub(crate) fn tell_senders(&mut self) {
        for lost in std::mem::take(&mut self.net.failed) {
            self.report(lost.from, lost.process, lost.shard, lost.to, false);
        }
    }

    pub(crate) fn tick(&mut self, at: usize, core: usize) {
        let Some(running) = &mut self.nodes[at].running else { return };
        let primary = running.primary;
        for shard in &mut running.cores[core].shards {
            shard.tick();
            shard.follow(primary);
        }
        self.keep_members(at, core);
    }

    /// The oldest write becomes durable, and what waited for it leaves.
    pub(crate) fn sync(&mut self, at: usize, core: usize) {
        let node = &mut self.nodes[at];
        let Some(running) = &mut node.running else { return };
        let Some(operation) = running.cores[core].queue.pop_front() else { return };
        for write in &operation.writes {
            node.disk[usize::from(write.shard.0)].write(write);
        }
        for shard in &running.cores[core].shards {
            if let Some(shown) = operation.shown {
                node.disk[usize::from(shard.id().0)].shown = shown;
            }
        }
        for (shard, message) in operation.messages {
            self.net.send(node.id, running.process, MemberId(message.to), shard, Payload::Raft(message));
        }
        if self.plan.bug != Some(Bug::AckBeforeDurable) {
            for write in operation.writes {
                write.number.into_iter().for_each(|n| running.cores[core].shard(write.shard).persisted(n));
            }
        }
    }

    /// One note from another core.
    pub(crate) fn read_mail(&mut self, at: usize, core: usize) {
        let Some(running) = &mut self.nodes[at].running else { return };
        let Some(mail) = running.cores[core].mail.pop_front() else { return };
        match mail {
            Mail::Report(report) => {
                let action = running.regimes.report(report);
                self.act(at, action);
            }
            Mail::Confirm(round) => running.cores[core].shards.iter_mut().for_each(|shard| shard.confirm(round)),
            Mail::Gather(visible) => self.gather(at, core, visible),
            Mail::Reported { shard, peer, arrived } => {
                running.cores[core].shard(shard).report_snapshot(peer, arrived);
            }
        }
    }

    fn act(&mut self, at: usize, action: Option<Action>) {
        let Some(running) = &mut self.nodes[at].running else { return };
        match action {
            Some(Action::Confirm { round }) => {
                running.regimes.began(running.order.token());
                running.cores.iter_mut().for_each(|core| core.mail.push_back(Mail::Confirm(round)));
                if self.plan.bug == Some(Bug::NoConfirm) {
                    let all: Vec<_> = running.shards().map(|shard| (shard.id(), shard.top())).collect();
                    for (shard, top) in all {
                        self.act_on(at, Report::Confirmed { shard, round, top });
                    }
                }
            }
            Some(Action::Open { token, top }) => {
                let top = if self.plan.bug == Some(Bug::NoBase) { running.order.visible() } else { top };
                if running.order.open(token, top) {
                    self.counts.regimes += 1;
                    let node = &self.nodes[at];
                    (0..).zip(&node.mirrors).for_each(|(id, mirror)| self.truth.open(ShardId(id), mirror));
                } else {
                    let action = running.regimes.spoiled();
                    self.act(at, action);
                }
            }
            None => {}
        }
    }

    fn act_on(&mut self, at: usize, report: Report) {
        let Some(running) = &mut self.nodes[at].running else { return };
        let action = running.regimes.report(report);
        self.act(at, action);
    }

    /// A primary begins to gather a frontier.
    pub(crate) fn frontier(&mut self, at: usize) {
        let Some(running) = &mut self.nodes[at].running else { return };
        if running.is_primary() {
            let visible = running.order.visible();
            let shards = running.shards().count();
            running.gathering = Some((visible, vec![None; shards]));
            running.cores.iter_mut().for_each(|core| core.mail.push_back(Mail::Gather(visible)));
        }
    }

    /// Adds the core's part to the frontier; the last one to do so sends it.
    fn gather(&mut self, at: usize, core: usize, visible: Index) {
        let peers: Vec<MemberId> = self.nodes.iter().map(|node| node.id).collect();
        let node = &mut self.nodes[at];
        let Some(running) = &mut node.running else { return };
        let Some((_, positions)) = running.gathering.as_mut().filter(|(wanted, _)| *wanted == visible) else { return };
        for shard in &running.cores[core].shards {
            positions[usize::from(shard.id().0)] = Some(shard.position_upto(visible));
        }
        let Some(positions) = positions.iter().copied().collect::<Option<Vec<_>>>() else { return };
        running.gathering = None;
        for to in peers.into_iter().filter(|peer| *peer != node.id) {
            for (shard, position) in (0..).map(ShardId).zip(&positions) {
                let payload = Payload::Frontier { visible, position: *position };
                self.net.send(node.id, running.process, to, shard, payload);
            }
        }
    }

    /// Writes down how far the node shows, behind everything of this core that it speaks of.
    pub(crate) fn note_shown(&mut self, at: usize, core: usize) {
        let Some(running) = &mut self.nodes[at].running else { return };
        let shown = Some(running.order.visible());
        running.cores[core].queue.push_back(Operation { shown, ..Operation::default() });
    }

    /// A shard's state takes the place of its log on the disk.
    pub(crate) fn snapshot(&mut self, at: usize, core: usize) {
        let node = &mut self.nodes[at];
        let Some(running) = &mut node.running else { return };
        let nth = self.schedule.below(running.cores[core].shards.len());
        let Some(shard) = running.cores[core].shards.get(nth) else { return };
        let disk = &mut node.disk[usize::from(shard.id().0)];
        // A snapshot that was received counts once the log says so.
        let received = running.cores[core].queue.iter().flat_map(|operation| &operation.writes);
        let waits = received.into_iter().any(|write| write.shard == shard.id() && write.received.is_some());
        let newer = disk.base.as_ref().map_or(shard::group::LOG_START.0, |(at, _)| at.0) < shard.applied().0;
        if newer && !waits {
            disk.compact((shard.applied(), shard.store().snapshot().collect()));
        }
    }

    /// Brings the groups nearer to the membership that is wanted.
    fn keep_members(&mut self, at: usize, core: usize) {
        let Some(Running { order, cores, groups, .. }) = &mut self.nodes[at].running else { return };
        groups.keep(&mut cores[core].shards, &self.system, order.is_open());
    }
}
