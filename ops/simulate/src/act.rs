//! What one core of one node can do in a step.

use std::rc::Rc;

use shard::ids::{MemberId, RaftIndex, ShardId, Term};
use shard::regime::Action;
use shard::shard::validate_message;

use crate::boot::restore;
use crate::core::{Around, Asked, Core, Mail, Receiving};
use crate::counts::Happened;
use crate::disk::{Call, Fault, SimDisk};
use crate::network::{Envelope, Payload, Sender};
use crate::node::Node;
use crate::snapshots::{Writing, prune, set_aside};
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
        let Some(running) = &mut self.nodes[at].running else { return };
        let seat = &mut running.cores[core];
        let Envelope { from, process, shard: id, payload, .. } = envelope;
        match payload {
            Payload::Raft(message) => {
                validate_message(&message).expect("peers send what can be read");
                seat.shard(id).step(message).expect("peers make sense");
            }
            Payload::Frontier(said) => {
                running.cores.iter_mut().for_each(|core| core.mail.push_back(Mail::Frontier(Rc::clone(&said))));
            }
            Payload::Forward { ticket, process, command } => {
                if running.order.is_open() {
                    seat.commands.push(Asked { shard: id, ticket, process, command });
                }
            }
            Payload::Snapshot { chunks, message } => {
                let given_up = replace_transfers(seat, id);
                seat.receiving.push(Receiving { shard: id, writing: None, chunks, message, from, process });
                self.report_failed(at, given_up);
            }
        }
    }

    /// What a node was receiving will never be whole: its senders notice.
    pub(crate) fn report_failed(&mut self, at: usize, given_up: Vec<Receiving>) {
        let me = self.nodes[at].id;
        for Receiving { shard, from, process, .. } in given_up {
            self.report((from, process), shard, me, false);
        }
    }

    /// Tells who sent a snapshot how it went, if it is still there to hear.
    fn report(&mut self, (sender, process): (MemberId, u64), shard: ShardId, peer: MemberId, arrived: bool) {
        let sender = &mut self.nodes[sender.0 as usize - 1];
        if let Some(running) = sender.running.as_mut().filter(|running| running.process == process) {
            let core = running.core_of(shard);
            running.cores[core].mail.push_back(Mail::Reported { shard, peer, arrived });
        }
    }

    pub(crate) fn tell_senders(&mut self) {
        for lost in std::mem::take(&mut self.net.failed) {
            self.report((lost.from, lost.process), lost.shard, lost.to, false);
        }
    }

    pub(crate) fn tick(&mut self, at: usize, core: usize) {
        let Some(running) = &mut self.nodes[at].running else { return };
        let primary = running.primary;
        let seat = &mut running.cores[core];
        for shard in &mut seat.shards {
            shard.tick();
            shard.follow(primary);
        }
        seat.log.tick();
        self.around(at, core, |core, around| core.expire(around));
        self.keep_members(at, core);
    }

    /// One call of the disk for the core. A failure ends the node.
    pub(crate) fn disk(&mut self, at: usize, core: usize) {
        let done = match self.faults.below(4) {
            0 => self.save(at, core),
            1 => self.take_in(at, core),
            _ => {
                let Node { disk, running, .. } = &mut self.nodes[at];
                let Some(running) = running else { return };
                let before = self.counts.of(Happened::SegmentRetired);
                let done = running.cores[core].log.step(disk, &mut self.faults, &mut self.counts);
                if self.counts.of(Happened::SegmentRetired) > before {
                    self.nodes[at].assert_starts_without(&self.plan);
                }
                done
            }
        };
        if let Err(fault) = done {
            self.disk_failed(at, fault);
        }
    }

    /// Goes on with the core's own snapshot.
    fn save(&mut self, at: usize, core: usize) -> Result<(), Fault> {
        let Node { disk, running, .. } = &mut self.nodes[at];
        let Some(running) = running else { return Ok(()) };
        let seat = &mut running.cores[core];
        if let Some(call) = seat.tidying.pop_front() {
            return ignore_missing(disk.call(&call));
        }
        let Some(writing) = &mut seat.saving else { return self.read_unread(at, core) };
        match writing.step(disk) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.counts.count(Happened::SnapshotSaved);
                if let Some(writing) = seat.saving.take() {
                    seat.saved(&writing, running.order.visible());
                    seat.tidying = prune(disk, writing.shard, self.plan.keep);
                }
                Ok(())
            }
            Err(fault) => {
                seat.saving = None;
                self.counts.count(Happened::SnapshotFailed);
                if fault == Fault::Power { Err(fault) } else { Ok(()) }
            }
        }
    }

    /// Reads a snapshot that the start has left unread. A damaged one is set aside, and another takes its place.
    fn read_unread(&mut self, at: usize, core: usize) -> Result<(), Fault> {
        let Node { disk, running, .. } = &mut self.nodes[at];
        let Some(running) = running else { return Ok(()) };
        let seat = &mut running.cores[core];
        let Some(unread) = seat.unread.pop().filter(|unread| !unread.is_good(disk)) else { return Ok(()) };
        self.counts.count(Happened::SnapshotAside);
        let nth = seat.seat(unread.shard);
        seat.seats[nth].lost(unread.upto);
        ignore_missing(disk.call(&set_aside(unread.path)))
    }

    /// Goes on with a snapshot that is received.
    fn take_in(&mut self, at: usize, core: usize) -> Result<(), Fault> {
        let Node { id: me, disk, running, .. } = &mut self.nodes[at];
        let me = *me;
        let Some(running) = running else { return Ok(()) };
        let seat = &mut running.cores[core];
        let nth = self.faults.below(seat.receiving.len());
        let Some(id) = seat.receiving.get(nth).map(|receiving| receiving.shard) else { return Ok(()) };
        let Some(first) = seat.receiving.iter().position(|receiving| receiving.shard == id) else { return Ok(()) };
        let step = seat.receiving[first].step(disk);
        if step == Ok(false) {
            return Ok(());
        }
        let Receiving { writing, chunks, message, from, process, .. } = seat.receiving.remove(first);
        let whole = writing.filter(|writing| step.is_ok() && !writing.is_given_up);
        let arrived = whole.is_some();
        if let Some(writing) = whole {
            let store = restore(&chunks, self.plan.history());
            let installed = seat.shard(id).install(store, message).expect("peers make sense");
            self.counts.add(Happened::SnapshotInstalled, u64::from(installed));
            if !installed {
                seat.tidying.push_back(Call::Remove(writing.path));
            }
        } else {
            self.counts.count(Happened::SnapshotFailed);
        }
        self.report((from, process), id, me, arrived);
        match step {
            Err(Fault::Power) => Err(Fault::Power),
            _ => Ok(()),
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
            Mail::Frontier(said) => running.cores[core].take_frontier(&said),
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
                running.round_began = self.truth.shown;
                running.cores.iter_mut().for_each(|core| core.mail.push_back(Mail::Confirm(round)));
            }
            Some(Action::Open { token, top }) => {
                let round_began = running.round_began;
                if running.order.open(token, top) {
                    self.counts.count(Happened::Regime);
                    let node = &self.nodes[at];
                    self.trace.line(self.now, format_args!("node {} opens a regime above {top}", node.id));
                    (0..).zip(&node.mirrors).for_each(|(id, mirror)| self.truth.open(ShardId(id), mirror, round_began));
                } else {
                    let action = running.regimes.spoiled();
                    self.act(at, action);
                }
            }
            None => {}
        }
    }

    /// A primary says again what is visible.
    pub(crate) fn frontier(&mut self, at: usize) {
        self.around(at, 0, |core, around| core.send_frontier(around, true));
    }

    /// Does something with a core and what is around it.
    pub(crate) fn around<T>(
        &mut self,
        at: usize,
        core: usize,
        act: impl FnOnce(&mut Core, &mut Around<'_>) -> T,
    ) -> Option<T> {
        let peers: Vec<MemberId> = self.others(at);
        let clock = self.clock(at);
        let node = &mut self.nodes[at];
        let running = node.running.as_mut()?;
        let mut around = Around {
            at: core,
            sender: Sender { me: node.id, process: running.process },
            order: &running.order,
            net: &mut self.net,
            peers: &peers,
            clock,
            plan: &self.plan,
        };
        Some(act(&mut running.cores[core], &mut around))
    }

    /// Writes down how far the node shows, behind everything of this core that it speaks of. A node that never has company
    /// has no need to.
    pub(crate) fn note_shown(&mut self, at: usize, core: usize) {
        let alone = self.others(at).is_empty();
        let Some(running) = &mut self.nodes[at].running else { return };
        if !alone {
            let visible = running.order.visible();
            running.cores[core].note_shown(visible);
        }
    }

    /// Begins to write a snapshot: of a shard that has to, or that keeps too much of the log, or of any.
    pub(crate) fn snapshot(&mut self, at: usize, core: usize) {
        let any = self.schedule.permille(300).then(|| self.schedule.draw());
        let Node { disk, running, .. } = &mut self.nodes[at];
        let Some(running) = running else { return };
        let cores = running.cores.len();
        let seat = &mut running.cores[core];
        if seat.saving.is_some() || !seat.tidying.is_empty() || seat.shards.is_empty() {
            return;
        }
        let outgrows = |nth: &usize| {
            let shard = &seat.shards[*nth];
            seat.seats[*nth].must_outgrow(shard.applied().0, shard.group().last())
        };
        let pin = seat.log.pin(self.plan.segments_max as u64, 4);
        let pinning = || {
            let (id, upto) = pin.filter(|(id, _)| usize::from(id.0) % cores == core)?;
            let nth = seat.seat(id);
            seat.seats[nth].frees(upto, seat.shards[nth].applied().0).then_some(nth)
        };
        let newer = |nth: &usize| {
            let known = seat.seats[*nth].newest.unwrap_or(shard::group::LOG_START);
            seat.shards[*nth].applied().0 > known.0
        };
        let due = (0..seat.shards.len())
            .find(outgrows)
            .or_else(pinning)
            .or_else(|| any.map(|draw| draw as usize % seat.shards.len()).filter(newer));
        if let Some(nth) = due {
            let shard = &seat.shards[nth];
            let writing = Writing::begin(disk, shard.id(), shard.applied(), shard.store().snapshot());
            self.counts.add(Happened::SnapshotCopied, u64::from(writing.is_copy));
            seat.saving = Some(writing);
        }
    }

    /// Reads from the log on disk what a group wants; a part of it, at times.
    pub(crate) fn read_log(&mut self, at: usize, core: usize) {
        let Node { disk, running, .. } = &mut self.nodes[at];
        let Some(running) = running else { return };
        let seat = &mut running.cores[core];
        let Some((id, fetch)) = seat.fetches.pop_front() else { return };
        let (mut entries, from) = seat.log.fetch(disk, id, fetch);
        entries.truncate(1 + self.schedule.below(self.plan.log_read_entries));
        self.counts.count(if entries.is_empty() { Happened::NotFetched } else { Happened::Fetched });
        let answered = seat.shard(id).fetched(fetch.first, entries, from);
        answered.expect("what was written is what is read");
    }
}

impl Receiving {
    /// The next call of the disk. True: it was the last one.
    fn step(&mut self, disk: &mut SimDisk) -> Result<bool, Fault> {
        let metadata = self.message.get_snapshot().get_metadata();
        let upto = (RaftIndex(metadata.index), Term(metadata.term));
        let begin = || Writing::begin(disk, self.shard, upto, self.chunks.iter().cloned());
        let mut writing = self.writing.take().unwrap_or_else(begin);
        let step = writing.step(disk);
        self.writing = Some(writing);
        step
    }
}

/// A newer transfer of the shard takes the place of older ones. One that has come in full goes on to its end, and the newer
/// one waits for that, or for the file to be gone: as the server's `core/intake.rs`. Returns those that had not begun.
fn replace_transfers(seat: &mut Core, id: ShardId) -> Vec<Receiving> {
    let older = seat.receiving.iter_mut().filter(|receiving| receiving.shard == id);
    older.filter_map(|receiving| receiving.writing.as_mut()).for_each(Writing::give_up);
    let is_waiting = |receiving: &mut Receiving| receiving.shard == id && receiving.writing.is_none();
    seat.receiving.extract_if(.., is_waiting).collect()
}

fn ignore_missing(done: Result<(), Fault>) -> Result<(), Fault> {
    if done == Err(Fault::Power) { done } else { Ok(()) }
}
