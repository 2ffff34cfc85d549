//! Random batches, random crashes that keep a random part of the sectors not yet synced: everything synced comes back,
//! nothing else is invented.

mod common;

use std::collections::BTreeMap;

use common::{MemDisk, MemLog, UnderWay, entry, mark, payload, position, received, reopen};
use log::sector::{BLOCK, SECTOR};
use log::{BatchSeq, GroupId, Position, RaftIndex};
use proptest::prelude::*;

const GROUPS: u16 = 3;

/// What a group was told: entries by index (term and size), and its snapshot.
#[derive(Clone, Debug, Default)]
struct Model {
    entries: BTreeMap<u64, (u64, usize)>,
    base: u64,
    base_term: u64,
}

impl Model {
    fn last(&self) -> u64 {
        self.entries.last_key_value().map_or(self.base, |(index, _)| *index)
    }

    fn position(&self) -> Option<Position> {
        (self.base > 0).then(|| position(self.base, self.base_term))
    }
}

/// One step of the story.
#[derive(Clone, Debug)]
enum Step {
    Append { group: u16, size: usize },
    Override { group: u16, back: u64 },
    Snapshot { group: u16 },
    Receive { group: u16, ahead: u64 },
    Submit,
    Finish,
    Crash { cores: u16, kept: u64, second: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let group = 0..GROUPS;
    let step = prop_oneof![
        8 => (group.clone(), 0..9000_usize).prop_map(|(group, size)| Step::Append { group, size }),
        1 => (group.clone(), 1..4_u64).prop_map(|(group, back)| Step::Override { group, back }),
        2 => group.clone().prop_map(|group| Step::Snapshot { group }),
        1 => (group, 0..4_u64).prop_map(|(group, ahead)| Step::Receive { group, ahead }),
        6 => Just(Step::Submit),
        6 => Just(Step::Finish),
        2 => (1..4_u16, any::<u64>(), any::<u64>()).prop_map(|(cores, kept, second)| Step::Crash { cores, kept, second }),
    ];
    proptest::collection::vec(step, 1..120)
}

struct World {
    disk: MemDisk,
    logs: Vec<CoreWorld>,
    models: BTreeMap<u16, Model>,
    term: u64,
}

struct CoreWorld {
    log: MemLog,
    under_way: Vec<UnderWay>,
    /// The models of this core's groups as of each batch that may still be lost, and of the last durable one.
    states: BTreeMap<BatchSeq, BTreeMap<u16, Model>>,
}

impl CoreWorld {
    fn new(log: MemLog, models: BTreeMap<u16, Model>) -> Self {
        let states = BTreeMap::from([(log.appender.durable_upto(), models)]);
        Self { log, under_way: Vec::new(), states }
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self { disk: MemDisk::default(), logs: Vec::new(), models: BTreeMap::new(), term: 1 };
        world.start(1);
        world
    }

    fn mine(&self, core: usize, cores: usize) -> BTreeMap<u16, Model> {
        let mine = self.models.iter().filter(|(group, _)| usize::from(**group) % cores == core);
        mine.map(|(group, model)| (*group, model.clone())).collect()
    }

    fn start(&mut self, cores: u16) {
        let bases = self.bases();
        let recovered = self.disk.recover_on(&|group| bases[&group.get()]).expect("the log is good");
        let logs = reopen(&mut self.disk, recovered, cores, 16 * BLOCK as u64);
        let of = |(core, log)| CoreWorld::new(log, self.mine(core, usize::from(cores)));
        self.logs = logs.into_iter().enumerate().map(of).collect();
    }

    /// Snapshots were durable before they were marked, so they are there whatever became of the mark.
    fn bases(&self) -> BTreeMap<u16, Option<Position>> {
        (0..GROUPS).map(|group| (group, self.models.get(&group).and_then(Model::position))).collect()
    }

    fn step(&mut self, step: &Step) {
        let cores = self.logs.len();
        match *step {
            Step::Append { group, size } => {
                let index = self.models.entry(group).or_default().last() + 1;
                self.append(group, index, size);
            }
            Step::Override { group, back } => {
                let model = self.models.entry(group).or_default();
                let index = (model.last() + 1).saturating_sub(back).max(model.base + 1);
                self.term += 1;
                model.entries.split_off(&index);
                self.append(group, index, 50);
            }
            Step::Snapshot { group } => self.snapshot(group),
            Step::Receive { group, ahead } => self.receive(group, ahead),
            Step::Submit => (0..cores).for_each(|core| self.submit(core)),
            Step::Finish => (0..cores).for_each(|core| self.finish(core)),
            Step::Crash { cores, kept, second } => self.crash(cores, kept, second),
        }
    }

    fn append(&mut self, group: u16, index: u64, size: usize) {
        let core = usize::from(group) % self.logs.len();
        self.logs[core].log.appender.push(&entry(group, self.term, index, &payload(group, index, size)));
        self.models.entry(group).or_default().entries.insert(index, (self.term, size));
    }

    /// A snapshot of everything durable; what it covers is compacted.
    fn snapshot(&mut self, group: u16) {
        let core = usize::from(group) % self.logs.len();
        let world = &mut self.logs[core];
        let durable = world.log.appender.durable_upto();
        let state = world.states.range(..=durable).next_back().and_then(|(_, models)| models.get(&group)).cloned();
        let model = self.models.entry(group).or_default();
        let Some(durable) = state.filter(|state| state.last() > model.base) else { return };
        let index = durable.last();
        // A snapshot covers what is committed, and that is not overridden: only such an entry qualifies.
        if model.entries.get(&index) != durable.entries.get(&index) {
            return;
        }
        let Some((term, _)) = model.entries.get(&index).copied() else { return };
        (model.base, model.base_term) = (index, term);
        model.entries = model.entries.split_off(&(index + 1));
        world.log.appender.push(&mark(group, index, term));
        for models in world.states.values_mut() {
            let old = models.entry(group).or_default();
            (old.base, old.base_term) = (index, term);
            old.entries = old.entries.split_off(&(index + 1));
        }
        world.log.appender.compact(&[(GroupId::new(group), RaftIndex::new(index))]);
        for world in &mut self.logs {
            world.log.maintain(&mut self.disk);
        }
    }

    /// A snapshot of a peer takes the place of the group's log: its file first, then its mark, which is awaited here.
    fn receive(&mut self, group: u16, ahead: u64) {
        let core = usize::from(group) % self.logs.len();
        while !self.logs[core].under_way.is_empty() {
            self.finish(core);
        }
        self.term += 1;
        let (term, model) = (self.term, self.models.entry(group).or_default());
        *model = Model { entries: BTreeMap::new(), base: model.base + 1 + ahead, base_term: term };
        self.logs[core].log.appender.push(&received(group, model.base, term));
        self.submit(core);
        self.finish(core);
    }

    fn submit(&mut self, core: usize) {
        let models = self.mine(core, self.logs.len());
        let world = &mut self.logs[core];
        world.log.maintain(&mut self.disk);
        if let Some(write) = world.log.begin() {
            world.states.insert(write.ticket.seq, models);
            world.under_way.push(write);
        }
    }

    fn finish(&mut self, core: usize) {
        let world = &mut self.logs[core];
        if world.under_way.is_empty() {
            return;
        }
        let write = world.under_way.remove(0);
        world.log.finish(&mut self.disk, &write);
        world.states = world.states.split_off(&write.ticket.seq);
    }

    /// Of each write under way, the sectors that `kept` (and for the second, `second`) has a bit for are there.
    fn crash(&mut self, cores: u16, kept: u64, second: u64) {
        for world in &mut self.logs {
            for (write, kept) in world.under_way.iter().zip([kept, second]) {
                for (number, sector) in write.bytes.chunks_exact(SECTOR).enumerate() {
                    if kept >> (number % 64) & 1 == 1 || kept % 7 == 0 {
                        self.disk.write(&write.file, write.ticket.offset + (number * SECTOR) as u64, sector);
                    }
                }
            }
        }
        self.check();
        self.start(cores);
    }

    /// Each core's log comes back as it was after one of the batches that it may come back to; the models are set to it.
    fn check(&mut self) {
        let bases = self.bases();
        let recovered = self.disk.recover_on(&|group| bases[&group.get()]).expect("nothing is damaged");
        assert!(common::payloads_are_right(&recovered));
        let found = |group: u16| -> BTreeMap<u64, (u64, usize)> {
            let log = recovered.groups.get(&GroupId::new(group));
            let entries = log.into_iter().flat_map(|log| &log.entries);
            entries.map(|entry| (entry.index.get(), (entry.term, entry.payload.len()))).collect()
        };
        let cores = self.logs.len();
        for (core, world) in self.logs.iter().enumerate() {
            let groups = || (0..GROUPS).filter(move |group| usize::from(*group) % cores == core);
            let entries =
                |models: &BTreeMap<u16, Model>, group| models.get(&group).cloned().unwrap_or_default().entries;
            let mut states = world.states.range(world.log.appender.durable_upto()..).map(|(_, models)| models);
            let matching = states.find(|models| groups().all(|group| found(group) == entries(models, group)));
            let Some(models) = matching else {
                panic!("no state that was ever written: {:?}\nbut one of {:?}", recovered.groups, world.states)
            };
            for group in groups() {
                self.models.insert(group, models.get(&group).cloned().unwrap_or_default());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_synced_comes_back_and_nothing_is_invented(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.crash(2, 0, 0);
    }
}
