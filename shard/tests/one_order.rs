//! One node's shards under a seeded schedule: writes become durable in any order across shards, executors raise and apply
//! whenever they like, the process crashes between any two steps and starts from what was durable. The real shards, raft
//! groups and one-order atomics; no disk, no clock, no threads.

use std::collections::{BTreeMap, VecDeque};

use shard::command::{Batch, Command, Numbered};
use shard::group::{GroupSeed, LOG_START, LogEntry, Members, TAIL_BYTES, Vote};
use shard::ids::{Index, MemberId, ShardId};
use shard::order::Order;
use shard::random::SplitMix;
use shard::regime::{Action, Regimes, Report};
use shard::shard::{Applied, Outputs, Shard, Write};
use shard::store::{Outcome, Store};

const SHARDS: u16 = 4;
const STEPS: usize = 400;
const MEMBER: MemberId = MemberId(7);

/// The same seed gives the same run.
struct Random(SplitMix);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.draw() % bound
    }
}

/// What a shard has on its disk, and what is on the way there.
#[derive(Default)]
struct Disk {
    durable: BTreeMap<u64, LogEntry>,
    vote: Vote,
    under_way: VecDeque<Write>,
}

impl Disk {
    /// The oldest write has become durable; returns the ready number to be reported.
    fn sync_one(&mut self) -> Option<u64> {
        let write = self.under_way.pop_front()?;
        if let Some(first) = write.entries.first() {
            self.durable.split_off(&first.index.0);
        }
        self.durable.extend(write.entries.into_iter().map(|entry| (entry.index.0, entry)));
        self.vote = write.vote.unwrap_or(self.vote);
        write.number
    }
}

struct World {
    random: Random,
    order: Order,
    shards: Vec<Shard>,
    disks: Vec<Disk>,
    regimes: Regimes,
    /// Every index ever taken, with its shard; and whether its writer was told that it happened.
    taken: BTreeMap<u64, (u16, bool)>,
    next_ticket: u64,
    tickets: BTreeMap<u64, u64>,
    crashes: u64,
    commands: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Random(SplitMix::new(seed)),
            order: Order::new(usize::from(SHARDS), 2, Index::ZERO),
            shards: Vec::new(),
            disks: (0..SHARDS).map(|_| Disk::default()).collect(),
            regimes: Regimes::new(usize::from(SHARDS)),
            taken: BTreeMap::new(),
            next_ticket: 1,
            tickets: BTreeMap::new(),
            crashes: 0,
            commands: 0,
        };
        world.boot();
        world
    }

    /// Starts from what is durable.
    fn boot(&mut self) {
        self.order = Order::new(usize::from(SHARDS), 2, Index::ZERO);
        self.regimes = Regimes::new(usize::from(SHARDS));
        self.shards.clear();
        for id in 0..SHARDS {
            let disk = &mut self.disks[usize::from(id)];
            disk.under_way.clear();
            let seed = GroupSeed {
                member: MEMBER,
                members: Members::of_voters([MEMBER]),
                applied: LOG_START,
                vote: disk.vote,
                entries: disk.durable.values().cloned().collect(),
                election_ticks: 10,
                heartbeat_ticks: 1,
                shown: Index::ZERO,
                tail_bytes: TAIL_BYTES,
                amnesia: None,
                random_seed: u64::from(id),
            };
            let mut shard = Shard::start(ShardId(id), Store::default(), seed, self.crashes + 1)
                .expect("what was written can be read");
            shard.campaign();
            self.shards.push(shard);
        }
    }

    fn step(&mut self) {
        let at = self.random.below(u64::from(SHARDS)) as usize;
        match self.random.below(100) {
            0..30 => self.propose(),
            30..60 => self.sync(at),
            60..75 => {
                self.order.raise((at % 2).min(1));
            }
            75..98 => self.apply(at),
            98 if self.random.below(4) == 0 => self.crash(),
            _ => self.shards[at].tick(),
        }
        self.advance();
        self.check();
    }

    /// A turn's worth of commands for some shards, numbered in the order of their arrival.
    fn propose(&mut self) {
        if !self.order.is_open() {
            return;
        }
        let count = 1 + self.random.below(6);
        let mut batches: Vec<Vec<Numbered>> = (0..SHARDS).map(|_| Vec::new()).collect();
        for offset in 0..count {
            let shard = self.random.below(u64::from(SHARDS)) as usize;
            let path = format!("/s{shard}/k{}", self.random.below(5)).into_bytes();
            let value = self.next_ticket.to_string().into_bytes();
            let command = Command::Set { path, value, dir: false, ttl: None, refresh: false };
            batches[shard].push(Numbered {
                offset: offset as u32,
                command,
                origin: self.next_ticket,
                process: self.crashes + 1,
            });
            self.next_ticket += 1;
        }
        let concerned: Vec<usize> = (0..batches.len()).filter(|at| !batches[*at].is_empty()).collect();
        let first = self.order.take(count, concerned.iter().map(|at| ShardId(*at as u16)));
        for at in concerned {
            let commands = std::mem::take(&mut batches[at]);
            for numbered in &commands {
                let index = first.0 + u64::from(numbered.offset);
                self.taken.insert(index, (at as u16, false));
                self.tickets.insert(numbered.origin, index);
            }
            self.commands += commands.len() as u64;
            self.shards[at].propose(&Batch { first: first.0, now: 1, commands });
            self.order.publish_uncommitted(ShardId(at as u16), self.shards[at].oldest_uncommitted());
        }
    }

    fn sync(&mut self, at: usize) {
        if let Some(number) = self.disks[at].sync_one() {
            self.shards[at].persisted(number);
        }
    }

    fn apply(&mut self, at: usize) {
        let mut applied = Applied::default();
        self.shards[at].apply(self.order.visible(), &mut applied);
        for answer in applied.answers {
            assert!(matches!(answer.result, Ok(Outcome::Event { .. })));
            assert_eq!(self.tickets.remove(&answer.ticket), Some(answer.index.0), "answered with another's index");
            if let Some(taken) = self.taken.get_mut(&answer.index.0) {
                taken.1 = true;
            }
        }
        self.order.publish_unapplied(ShardId(at as u16), self.shards[at].oldest_unapplied());
        // What a reader of this shard is told now, with `visible` as its index.
        let (visible, applied) = (self.order.visible(), self.shards[at].store().applied());
        let shown = self.taken.range(..=visible.0).rev().find(|(_, (shard, _))| usize::from(*shard) == at);
        assert!(shown.is_none_or(|(index, _)| *index <= applied.0), "{visible} shown, shard {at} is at {applied}");
    }

    fn advance(&mut self) {
        let mut out = Outputs::default();
        for (shard, disk) in self.shards.iter_mut().zip(&mut self.disks) {
            shard.advance(&mut out);
            disk.under_way.extend(out.writes.drain(..));
            self.order.note_unapplied(shard.id(), shard.oldest_unapplied());
            self.order.publish_uncommitted(shard.id(), shard.oldest_uncommitted());
        }
        for report in out.reports {
            if matches!(report, Report::Lost(_)) {
                self.order.close();
            }
            let action = self.regimes.report(report);
            self.act(action);
        }
        for (shard, round) in out.confirmed {
            let top = self.shards[usize::from(shard.0)].top();
            let action = self.regimes.report(Report::Confirmed { shard, round, top });
            self.act(action);
        }
    }

    fn act(&mut self, action: Option<Action>) {
        match action {
            Some(Action::Confirm { round }) => {
                self.regimes.began(self.order.token());
                self.shards.iter_mut().for_each(|shard| shard.confirm(round));
            }
            Some(Action::Open { token, top }) => assert!(self.order.open(token, top), "nobody can lose a group of one"),
            None => {}
        }
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.tickets.clear();
        self.boot();
        // What was never durable may be gone, and its indices may be taken again; what was acknowledged may not.
        let durable: Vec<u64> = self.disks.iter().flat_map(indices).collect();
        let lost: Vec<u64> = self.taken.keys().copied().filter(|index| !durable.contains(index)).collect();
        for index in lost {
            let (shard, acknowledged) = self.taken.remove(&index).expect("it was there");
            assert!(!acknowledged, "index {index} of shard {shard} was acknowledged and is lost");
        }
    }

    /// What is shown is a prefix of the one order.
    fn check(&self) {
        let visible = self.order.visible();
        for (index, (shard, _)) in self.taken.range(..=visible.0) {
            let uncommitted = self.shards[usize::from(*shard)].oldest_uncommitted();
            assert!(uncommitted.is_none_or(|first| first.0 > *index), "{visible} shown without {index} committed");
        }
        for shard in &self.shards {
            assert!(shard.store().applied() <= visible, "shard {} is ahead of what is visible", shard.id());
        }
        let complete = self.order.complete();
        for (index, (shard, _)) in self.taken.range(..=complete.0) {
            assert!(
                self.shards[usize::from(*shard)].store().applied().0 >= *index,
                "{complete} complete without {index}"
            );
        }
    }

    /// Lets everything that is under way come through.
    fn settle(&mut self) {
        for _ in 0..1000 {
            for at in 0..usize::from(SHARDS) {
                self.sync(at);
                self.apply(at);
            }
            self.order.raise(0);
            self.advance();
            self.check();
        }
        assert!(self.order.is_open() && self.shards.iter().all(Shard::is_settled), "it never came to rest");
        let highest = self.taken.keys().next_back().copied().unwrap_or(0);
        assert!(self.order.visible().0 >= highest, "index {highest} was taken and is never shown");
    }
}

/// The indices of the commands that are durable.
fn indices(disk: &Disk) -> Vec<u64> {
    let batches = disk.durable.values().filter(|entry| !entry.data.is_empty());
    batches
        .flat_map(|entry| {
            let batch = shard::command::BatchBytes::new(entry.data.clone()).expect("what was written can be read");
            batch.batch().iter().map(|entry| entry.index.0).collect::<Vec<_>>()
        })
        .collect()
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    world
}

#[test]
fn what_is_shown_is_a_prefix_and_nothing_acknowledged_is_lost() {
    let worlds: Vec<World> = (0..300).map(run).collect();
    let crashes: u64 = worlds.iter().map(|world| world.crashes).sum();
    let commands: u64 = worlds.iter().map(|world| world.commands).sum();
    assert!(crashes > 100 && commands > 10_000, "{crashes} crashes and {commands} commands prove little");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let digest = |seed| run(seed).shards.iter().map(|shard| shard.store().digest()).collect::<Vec<_>>();
    assert_eq!(digest(5), digest(5));
    assert_ne!(digest(5), digest(6));
}
