//! Damaged logs of three members, put together again: against a model of raft that knows what was acknowledged, with elections
//! that fail, logs that are overridden, restarts on other cores, and damage anywhere.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{DIR, Dice, MemDisk, MemLog, hard_state, mark, position, reopen};
use log::sector::{BLOCK, SECTOR};
use log::{
    CoreId, Disunion, EntryType, GroupId, LogIdentity, Position, Question, RaftIndex, Record, Salvage, United, Witness,
    salvage, unite,
};

const MEMBERS: usize = 3;
const GROUPS: u16 = 3;
const SEGMENT: u64 = 8 * BLOCK as u64;

/// Where every log begins: at index 1, in term 1.
fn start() -> Position {
    position(1, 1)
}

/// One member's share of one group, as raft has it.
#[derive(Clone, Debug)]
struct Seat {
    term: u64,
    vote: u64,
    /// The terms of the entries from index 2 on.
    log: Vec<u64>,
    commit: u64,
    snapshots: Vec<Position>,
    leads: bool,
    /// What the leader knows of the others.
    matched: [u64; MEMBERS],
}

impl Seat {
    fn new() -> Self {
        let snapshots = Vec::new();
        Self { term: 1, vote: 0, log: Vec::new(), commit: 1, snapshots, leads: false, matched: [0; MEMBERS] }
    }

    fn last(&self) -> u64 {
        self.log.len() as u64 + 1
    }

    fn term_at(&self, index: u64) -> u64 {
        if index == 1 { 1 } else { self.log[index as usize - 2] }
    }

    fn tip(&self) -> (u64, u64) {
        (self.term_at(self.last()), self.last())
    }
}

fn content(group: u16, index: u64, term: u64) -> Vec<u8> {
    let size = 20 + (index * 131 + term * 977 + u64::from(group) * 7) % 700;
    let size = if size.is_multiple_of(9) { size + 5000 } else { size };
    (0..size).map(|at| (at * 3 + index * 31 + term * 101 + u64::from(group)) as u8).collect()
}

struct Member {
    disk: MemDisk,
    logs: Vec<MemLog>,
    seats: Vec<Seat>,
}

struct World {
    dice: Dice,
    members: Vec<Member>,
    /// Per group: the terms of what was committed, from index 2 on.
    committed: Vec<Vec<u64>>,
    /// Per group: terms in which somebody was elected.
    elected: Vec<BTreeSet<u64>>,
    /// Per group: what every entry that ever was follows.
    follows: Vec<BTreeMap<(u64, u64), u64>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::of(seed);
        let members = (0..MEMBERS).map(|_| {
            let mut disk = MemDisk::default();
            let cores = 1 + dice.roll(2) as u16;
            let logs = Self::start_logs(&mut disk, cores);
            Member { disk, logs, seats: (0..GROUPS).map(|_| Seat::new()).collect() }
        });
        let members = members.collect();
        let groups = usize::from(GROUPS);
        Self {
            dice,
            members,
            committed: vec![Vec::new(); groups],
            elected: vec![BTreeSet::new(); groups],
            follows: vec![BTreeMap::new(); groups],
        }
    }

    fn start_logs(disk: &mut MemDisk, cores: u16) -> Vec<MemLog> {
        let mut recovered = disk.recover_on(&|_| Some(start())).expect("the log is good");
        for group in (0..GROUPS).map(GroupId::new) {
            recovered
                .groups
                .entry(group)
                .or_insert_with(|| log::GroupLog { base: Some(start()), ..Default::default() });
        }
        reopen(disk, recovered, cores, SEGMENT)
    }

    fn push(&mut self, member: usize, record: &Record<'_>) {
        let member = &mut self.members[member];
        let cores = member.logs.len();
        member.logs[usize::from(record.group().get()) % cores].appender.push(record);
    }

    fn push_entry(&mut self, member: usize, group: u16, index: u64, term: u64) {
        let payload = content(group, index, term);
        let (entry_type, first, count) = (EntryType::Normal, index, 1);
        let (id, at) = (GroupId::new(group), RaftIndex::new(index));
        self.push(member, &Record::Entry { group: id, term, index: at, entry_type, first, count, payload: &payload });
    }

    fn push_state(&mut self, member: usize, group: u16) {
        let seat = &self.members[member].seats[usize::from(group)];
        let record = hard_state(group, seat.term, seat.vote, seat.commit);
        self.push(member, &record);
    }

    /// What was pushed becomes durable.
    fn flush(&mut self, member: usize) {
        let Member { disk, logs, .. } = &mut self.members[member];
        for log in logs {
            log.write(disk);
        }
    }

    fn step(&mut self) {
        let (group, member) = (self.dice.roll(u64::from(GROUPS)) as u16, self.dice.roll(MEMBERS as u64) as usize);
        match self.dice.roll(40) {
            0 | 1 => self.campaign(member, group),
            2 => self.snapshot(member, group),
            3 if self.dice.once_in(6) => self.restart(member),
            4..=14 => self.propose(group),
            _ => self.replicate(group),
        }
    }

    fn campaign(&mut self, me: usize, group: u16) {
        let at = usize::from(group);
        let seat = &mut self.members[me].seats[at];
        (seat.term, seat.vote, seat.leads) = (seat.term + 1, me as u64 + 1, false);
        let (term, tip) = (seat.term, seat.tip());
        self.push_state(me, group);
        self.flush(me);
        let mut votes = 1;
        for other in (0..MEMBERS).filter(|other| *other != me) {
            let heard = !self.dice.once_in(3);
            let seat = &mut self.members[other].seats[at];
            if !heard || seat.term > term || (seat.term == term && seat.vote != 0) {
                continue;
            }
            let grants = seat.tip() <= tip;
            (seat.term, seat.vote, seat.leads) = (term, if grants { me as u64 + 1 } else { 0 }, false);
            self.push_state(other, group);
            self.flush(other);
            votes += u64::from(grants);
        }
        if votes >= 2 {
            assert!(self.elected[at].insert(term), "two leaders in one term");
            let seat = &mut self.members[me].seats[at];
            (seat.leads, seat.matched) = (true, [0; MEMBERS]);
            self.append(me, group);
        }
    }

    fn append(&mut self, me: usize, group: u16) {
        let at = usize::from(group);
        let seat = &mut self.members[me].seats[at];
        let (term, after) = (seat.term, seat.tip().0);
        seat.log.push(term);
        let index = seat.last();
        self.follows[at].insert((index, term), after);
        self.push_entry(me, group, index, term);
        self.flush(me);
        self.members[me].seats[at].matched[me] = index;
    }

    fn propose(&mut self, group: u16) {
        // One that has been deposed and does not know it yet proposes, too.
        let leaders: Vec<usize> =
            (0..MEMBERS).filter(|nth| self.members[*nth].seats[usize::from(group)].leads).collect();
        if !leaders.is_empty() {
            let leader = leaders[self.dice.roll(leaders.len() as u64) as usize];
            self.append(leader, group);
        }
    }

    fn replicate(&mut self, group: u16) {
        let at = usize::from(group);
        let leaders: Vec<usize> = (0..MEMBERS).filter(|nth| self.members[*nth].seats[at].leads).collect();
        let to = self.dice.roll(MEMBERS as u64) as usize;
        let Some(from) = leaders.get(self.dice.roll(leaders.len().max(1) as u64) as usize).copied() else { return };
        if from == to {
            return;
        }
        let leader = self.members[from].seats[at].clone();
        let seat = &mut self.members[to].seats[at];
        if seat.term > leader.term {
            return;
        }
        let is_news = seat.term < leader.term;
        if is_news {
            (seat.term, seat.vote, seat.leads) = (leader.term, 0, false);
        }
        let common = seat.log.iter().zip(&leader.log).take_while(|(mine, its)| mine == its).count();
        let upto = leader.log.len().min(common + 1 + self.dice.roll(4) as usize);
        let new: Vec<u64> = leader.log[common..upto].to_vec();
        if !new.is_empty() {
            seat.log.truncate(common);
            seat.log.extend(&new);
        }
        let known = leader.commit.min(upto as u64 + 1);
        seat.commit = seat.commit.max(known);
        let says = is_news || self.dice.once_in(3);
        if says {
            self.push_state(to, group);
        }
        for (index, term) in (common as u64 + 2..).zip(&new) {
            self.push_entry(to, group, index, *term);
        }
        if self.dice.once_in(2) || says || !new.is_empty() {
            self.flush(to);
        }
        self.acknowledge(from, to, group, upto as u64 + 1);
    }

    fn acknowledge(&mut self, leader: usize, from: usize, group: u16, matched: u64) {
        let at = usize::from(group);
        let seat = &mut self.members[leader].seats[at];
        seat.matched[from] = seat.matched[from].max(matched);
        let mut matched = seat.matched;
        matched.sort_unstable();
        let by_most = matched[MEMBERS / 2];
        if by_most > seat.commit && seat.term_at(by_most) == seat.term {
            seat.commit = by_most;
            let log = seat.log[..by_most as usize - 1].to_vec();
            let known = &mut self.committed[at];
            assert!(log.starts_with(known) || known.starts_with(&log), "the model is wrong");
            if log.len() > known.len() {
                *known = log;
            }
        }
    }

    fn snapshot(&mut self, member: usize, group: u16) {
        let seat = &mut self.members[member].seats[usize::from(group)];
        let at = position(seat.commit, seat.term_at(seat.commit));
        if seat.snapshots.last().map_or(start(), |last| *last) < at {
            seat.snapshots.push(at);
            let record = mark(group, at.index.get(), at.term);
            let given_up = seat.snapshots.len().checked_sub(2).map(|before| seat.snapshots[before].index);
            self.push(member, &record);
            self.flush(member);
            let member = &mut self.members[member];
            let cores = member.logs.len();
            let log = &mut member.logs[usize::from(group) % cores];
            log.appender.compact(&given_up.map(|index| (GroupId::new(group), index)).into_iter().collect::<Vec<_>>());
            for log in &mut member.logs {
                log.maintain(&mut member.disk);
            }
        }
    }

    fn restart(&mut self, nth: usize) {
        let cores = 1 + self.dice.roll(2) as u16;
        let Member { disk, logs, seats } = &mut self.members[nth];
        logs.clear();
        let base = |group: GroupId| Some(seats[usize::from(group.get())].snapshots.last().copied().unwrap_or(start()));
        let recovered = disk.recover_on(&base).expect("the log is good");
        *logs = reopen(disk, recovered, cores, SEGMENT);
        for seat in seats {
            seat.leads = false;
        }
    }

    /// Damages a member's files in some places.
    fn damage(&mut self, nth: usize, places: u64) {
        let files: Vec<_> = self.members[nth].disk.files.keys().cloned().collect();
        for _ in 0..places {
            let file = &files[self.dice.roll(files.len() as u64) as usize];
            let bytes = self.members[nth].disk.files.get_mut(file).expect("it exists");
            let used = bytes.len() / SECTOR;
            let sector = self.dice.roll(used as u64) as usize;
            match self.dice.roll(8) {
                0 => bytes[..SECTOR].fill(0),
                1 | 2 => bytes[sector / 8 * BLOCK..(sector / 8 + 1) * BLOCK].fill(0),
                3 => bytes[sector * SECTOR + self.dice.roll(SECTOR as u64) as usize] ^= 1 << self.dice.roll(8),
                _ => bytes[sector * SECTOR..(sector + 1) * SECTOR].fill(0),
            }
        }
    }

    fn salvage(&self, nth: usize) -> Salvage {
        let member = &self.members[nth];
        let newest =
            |group: u16| member.seats[usize::from(group)].snapshots.last().map_or(RaftIndex::new(1), |at| at.index);
        let groups = (0..GROUPS).map(|group| (GroupId::new(group), newest(group))).collect();
        salvage(&member.disk, Path::new(DIR), common::IDENTITY, &groups, None, SEGMENT).expect("readable")
    }

    /// What all know: nothing that is not so.
    fn check_salvaged(&self, nth: usize, salvaged: &Salvage) {
        for (group, facts) in &salvaged.groups {
            let at = usize::from(group.get());
            let seat = &self.members[nth].seats[at];
            assert_eq!(facts.contradiction, None);
            for (position, known) in &facts.entries {
                let (index, term) = (position.index.get(), position.term);
                let truly = self.follows[at].get(&(index, term)).expect("there was such an entry");
                assert!(known.after.is_none_or(|after| after == *truly), "group {group}, {position:?}: {known:?}");
                if let Some(entry) = &known.entry {
                    assert_eq!(entry.payload, content(group.get(), index, term));
                }
            }
            let end = facts.end;
            let (term, index) = seat.tip();
            assert!(
                end.tip.is_none_or(|tip| tip == position(index, term)),
                "group {group}: {end:?}, truly {:?}",
                seat.tip()
            );
            assert!(end.last.is_none_or(|last| last.get() == index), "group {group}: {end:?}, truly {:?}", seat.tip());
            assert!(end.term.is_none_or(|known| known == seat.term), "group {group}: {end:?}, truly {}", seat.term);
            assert!(facts.commit.get() <= self.committed[at].len() as u64 + 1);
            for known in &facts.committed {
                let truly = self.committed[at].get(known.index.get() as usize - 2);
                assert_eq!(Some(&known.term), truly, "group {group}: {known:?}");
            }
        }
    }

    fn unite(&self, own: usize, group: u16, salvaged: &[Salvage]) -> Result<United, Disunion> {
        let id = GroupId::new(group);
        let newest = |nth: usize| {
            let snapshots = &self.members[nth].seats[usize::from(group)].snapshots;
            &snapshots[snapshots.len().saturating_sub(2)..]
        };
        let witnesses: Vec<Witness<'_>> = (0..MEMBERS)
            .map(|nth| Witness {
                member: nth as u64 + 1,
                facts: &salvaged[nth].groups[&id],
                snapshots: newest(nth),
                promises: true,
            })
            .collect();
        let question = Question { group: id, voters: &[1, 2, 3], start: start(), own, own_may_be_empty: true };
        unite(&question, &witnesses)
    }

    fn check_united(&self, group: u16, united: &United) {
        let at = usize::from(group);
        let committed = &self.committed[at];
        let (log, base) = (&united.log, united.log.base.expect("it rests on something"));
        let mut before = united.from;
        for entry in &log.entries {
            assert_eq!(entry.index.get(), before.index.get() + 1);
            assert_eq!(self.follows[at].get(&(entry.index.get(), entry.term)), Some(&before.term), "it was such a log");
            assert_eq!(entry.payload, content(group, entry.index.get(), entry.term));
            before = Position { index: entry.index, term: entry.term };
        }
        for (index, term) in (2..).zip(committed) {
            if index > united.from.index.get() {
                let found = log.entries.iter().find(|entry| entry.index.get() == index);
                assert_eq!(found.map(|entry| entry.term), Some(*term), "group {group}: committed entry {index}");
            }
        }
        assert!(base.index.get() <= committed.len() as u64 + 1 && base >= united.from);
        let state = log.hard_state.expect("it has one");
        assert!(self.elected[at].iter().all(|term| *term < state.term) && state.vote == 0);
        assert!(state.commit.get() <= committed.len() as u64 + 1 && state.commit >= base.index);
    }
}

/// How often what happened.
#[derive(Debug, Default)]
struct Tally {
    united: usize,
    refused: usize,
    /// A member's own log looks unbroken over the damage, and what was lost there had overridden it.
    fooled: usize,
}

fn run(seed: u64, tally: &mut Tally) {
    let mut world = World::new(seed);
    let steps = 50 + world.dice.roll(400);
    for _ in 0..steps {
        world.step();
    }
    for nth in 0..MEMBERS {
        world.flush(nth);
        let whole = world.salvage(nth);
        assert_eq!(whole.losses, Vec::<String>::new(), "seed {seed}: nothing is damaged");
        world.check_salvaged(nth, &whole);
    }
    let places = 1 + world.dice.roll(4);
    for nth in 0..MEMBERS {
        world.damage(nth, places);
    }
    let salvaged: Vec<Salvage> = (0..MEMBERS).map(|nth| world.salvage(nth)).collect();
    for (nth, salvaged) in salvaged.iter().enumerate() {
        world.check_salvaged(nth, salvaged);
        for (group, facts) in &salvaged.groups {
            let unlinked = facts.entries.iter().filter(|(_, known)| known.after.is_none()).map(|(at, _)| *at);
            tally.fooled += unlinked
                .filter(|at| {
                    let truly = world.follows[usize::from(group.get())][&(at.index.get(), at.term)];
                    let before = |term: u64| facts.entries.contains_key(&position(at.index.get() - 1, term));
                    !before(truly) && (1..truly).any(before)
                })
                .count();
        }
    }
    for group in 0..GROUPS {
        for own in 0..MEMBERS {
            match world.unite(own, group, &salvaged) {
                Ok(united) => {
                    tally.united += 1;
                    world.check_united(group, &united);
                }
                Err(_) => tally.refused += 1,
            }
        }
    }
}

#[test]
fn what_is_put_together_holds_all_that_was_acknowledged() {
    let seeds: u64 = std::env::var("LOG_UNITE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(300);
    let mut tally = Tally::default();
    for seed in 1..=seeds {
        run(seed, &mut tally);
    }
    println!("{tally:?}");
    assert!(tally.united > tally.refused && tally.refused > 0 && tally.fooled > 0, "{tally:?}");
}

/// Two members, of which the second was overridden; then both are damaged.
#[test]
fn a_log_that_looks_unbroken_over_its_damage_is_not_believed() {
    let member = |overridden: bool| {
        let mut disk = MemDisk::default();
        let mut logs = World::start_logs(&mut disk, 1);
        let mut writes = Vec::new();
        let mut write = |records: &[(u64, u64)]| {
            for (index, term) in records {
                let payload = content(0, *index, *term);
                let (group, index, entry_type) = (GroupId::new(0), RaftIndex::new(*index), EntryType::Normal);
                logs[0].appender.push(&Record::Entry {
                    group,
                    term: *term,
                    index,
                    entry_type,
                    first: 0,
                    count: 1,
                    payload: &payload,
                });
                logs[0].appender.push(&hard_state(0, *term, 0, 1));
            }
            writes.push(logs[0].write(&mut disk).expect("written"));
        };
        write(&[(2, 1)]);
        write(&[(3, 1)]);
        if overridden {
            write(&[(4, 1), (5, 1)]);
        }
        write(&[(4, 2), (5, 2)]);
        write(&[(6, 2)]);
        let lost = &writes[writes.len() - 2];
        (disk.clone(), lost.file.clone(), lost.ticket.offset, writes[0].ticket.offset)
    };
    let groups = BTreeMap::from([(GroupId::new(0), RaftIndex::new(1))]);
    let read =
        |disk: &MemDisk| salvage(disk, Path::new(DIR), common::IDENTITY, &groups, None, SEGMENT).expect("readable");
    let (mut fooled, file, lost, _) = member(true);
    let (mut other, other_file, other_lost, first) = member(false);
    fooled.write(&file, lost, &[0; SECTOR]);
    other.write(&other_file, first, &[0; SECTOR]);
    let salvaged = [read(&fooled), read(&other)];
    let facts = [0, 1].map(|nth: usize| &salvaged[nth].groups[&GroupId::new(0)]);
    assert!(facts[0].entries.contains_key(&position(5, 1)) && !facts[0].entries.contains_key(&position(5, 2)));
    assert_eq!(facts[0].entries[&position(6, 2)].after, None, "5 of term 1 is there, and it does not follow that");
    let ask = |facts: &[&log::Facts]| {
        let witnesses: Vec<Witness<'_>> =
            (1..).zip(facts).map(|(member, facts)| Witness { member, facts, snapshots: &[], promises: true }).collect();
        let question =
            Question { group: GroupId::new(0), voters: &[1, 2, 3], start: start(), own: 0, own_may_be_empty: true };
        unite(&question, &witnesses)
    };
    let united = ask(&facts).expect("each record is whole somewhere");
    let terms: Vec<u64> = united.log.entries.iter().map(|entry| entry.term).collect();
    assert_eq!(terms, [1, 1, 2, 2, 2]);
    // The record that the first lacks is damaged on the other as well.
    other.write(&other_file, other_lost, &[0; SECTOR]);
    let salvaged = [read(&fooled), read(&other)];
    let facts = [0, 1].map(|nth: usize| &salvaged[nth].groups[&GroupId::new(0)]);
    let refused = ask(&facts).expect_err("nobody has it");
    assert!(matches!(refused, Disunion::Missing { .. }), "{refused}");
}

/// One that has this log from index 2 on, in the last term of it, all whole.
fn knows(terms: &[u64]) -> log::Facts {
    let mut facts = log::Facts::default();
    let mut before = 1;
    for (index, term) in (2..).zip(terms) {
        let entry = log::Entry {
            term: *term,
            index: RaftIndex::new(index),
            entry_type: EntryType::Normal,
            first: 0,
            count: 1,
            payload: content(0, index, *term).into(),
        };
        facts.entries.insert(position(index, *term), log::Known { entry: Some(entry), after: Some(before) });
        before = *term;
    }
    let tip = position(terms.len() as u64 + 1, before);
    facts.end = log::End { tip: Some(tip), last: Some(tip.index), term: Some(before) };
    facts.term = before;
    facts
}

/// Asks for the first, who may start empty, among three that have a vote.
fn ask(all: &[(&log::Facts, &[Position])]) -> Result<United, Disunion> {
    let witnesses: Vec<Witness<'_>> = (1..)
        .zip(all)
        .map(|(member, (facts, snapshots))| Witness { member, facts, snapshots, promises: true })
        .collect();
    let voters = &[1, 2, 3];
    unite(&Question { group: GroupId::new(0), voters, start: start(), own: 0, own_may_be_empty: true }, &witnesses)
}

#[test]
fn what_is_not_certain_is_refused() {
    let whole = knows(&[1, 1, 2]);
    let hidden = || log::Facts { end: log::End { term: Some(2), ..log::End::default() }, ..knows(&[1, 1]) };
    let no_term = log::Facts { end: log::End { term: None, ..whole.end }, ..whole.clone() };
    let mut hollow = whole.clone();
    hollow.entries.get_mut(&position(3, 1)).expect("there").entry = None;
    let mut odd = whole.clone();
    odd.entries.get_mut(&position(4, 2)).expect("there").after = Some(2);
    let ahead = log::Facts { commit: RaftIndex::new(9), ..whole.clone() };
    let refusals = |of: &[&log::Facts]| ask(&of.iter().map(|facts| (*facts, &[][..])).collect::<Vec<_>>());
    let longest = refusals(&[&hidden(), &whole, &whole]).expect("two are known");
    assert_eq!((longest.log.last_index().get(), longest.log.hard_state.map(|state| state.term)), (4, Some(3)));
    assert!(refusals(&[&hidden(), &whole]).is_err(), "the third may hold more with the first");
    assert!(
        matches!(refusals(&[&hidden(), &hidden(), &whole]), Err(Disunion::EndsHidden { hidden, .. }) if hidden == [1, 2])
    );
    let far = refusals(&[&no_term, &no_term, &whole]).expect("no term is that far away");
    assert_eq!(far.log.hard_state.map(|state| state.term), Some(2 + log::UNSEEN_TERMS));
    let lost = Disunion::Missing { group: GroupId::new(0), from: RaftIndex::new(3), to: RaftIndex::new(3) };
    assert_eq!(refusals(&[&hollow, &hollow, &hollow]), Err(lost));
    assert!(refusals(&[&hollow, &hollow, &whole]).is_ok());
    assert!(matches!(refusals(&[&whole, &odd, &whole]), Err(Disunion::Contradiction { .. })));
    assert!(matches!(refusals(&[&whole, &ahead]), Err(Disunion::Missing { .. })));
}

#[test]
fn what_nobody_can_have_acknowledged_need_not_be_found() {
    // The first has two entries that nobody else has, and the former of them is lost.
    let mut first = knows(&[1, 1, 1, 1]);
    first.entries.get_mut(&position(4, 1)).expect("there").entry = None;
    let others = knows(&[1, 1]);
    let united = ask(&[(&first, &[]), (&others, &[]), (&others, &[])]).expect("two of three do not have them");
    assert_eq!(united.log.last_index(), RaftIndex::new(3));
}

/// Which entry was before the first of a new term is lost on all; that one is committed tells it.
#[test]
fn what_is_committed_stands_before_what_was_appended_later() {
    let mut holey = knows(&[1, 1, 3]);
    holey.entries.get_mut(&position(4, 3)).expect("there").after = None;
    let ask = |committed: Option<Position>| {
        let mut first = holey.clone();
        first.committed.extend(committed);
        ask(&[(&first, &[]), (&holey, &[]), (&holey, &[])])
    };
    assert!(matches!(ask(None), Err(Disunion::Missing { .. })));
    assert_eq!(ask(Some(position(3, 1))).expect("it is known").log.last_index(), RaftIndex::new(4));
    assert!(ask(Some(position(3, 2))).is_err(), "nobody has that");
    assert!(matches!(ask(Some(position(2, 2))), Err(Disunion::Missing { .. } | Disunion::Contradiction { .. })));
    assert!(matches!(ask(Some(position(3, 4))), Err(Disunion::Missing { .. })), "terms only grow");
}

#[test]
fn a_snapshot_of_another_stands_for_what_is_lost() {
    let mut holey = knows(&[1, 1, 1, 2, 2]);
    holey.entries.get_mut(&position(3, 1)).expect("there").entry = None;
    let at = [position(4, 1)];
    let united = ask(&[(&holey, &[]), (&holey, &at), (&holey, &[])]).expect("it begins behind the hole");
    assert_eq!((united.borrowed, united.log.base, united.log.entries.len()), (Some(1), Some(at[0]), 2));
    let older = [position(5, 2), position(4, 1)];
    let united = ask(&[(&holey, &older), (&holey, &[]), (&holey, &[])]).expect("it has some of its own");
    assert_eq!((united.borrowed, united.log.base, united.from), (None, Some(older[0]), older[1]));
}

#[test]
fn who_has_lost_its_log_before_needs_a_snapshot_to_begin_with() {
    let whole = knows(&[1, 1, 2]);
    let ask = |snapshots: &[Position]| {
        let witness = |member, snapshots| Witness { member, facts: &whole, snapshots, promises: true };
        let witnesses = [witness(1, &[][..]), witness(2, snapshots), witness(3, &[][..])];
        let group = GroupId::new(0);
        unite(&Question { group, voters: &[1, 2, 3], start: start(), own: 0, own_may_be_empty: false }, &witnesses)
    };
    assert_eq!(ask(&[]), Err(Disunion::NoSnapshot { group: GroupId::new(0) }));
    assert_eq!(ask(&[position(3, 1)]).expect("one is lent").borrowed, Some(1));
}

/// A member's own identity is part of every checksum.
#[test]
fn another_members_log_is_not_read() {
    let world = World::new(1);
    let other = LogIdentity { member: 0xbad, ..common::IDENTITY };
    assert!(salvage(&world.members[0].disk, Path::new(DIR), other, &BTreeMap::new(), None, SEGMENT).is_err());
    assert!(world.members[0].disk.files.keys().any(|file| file.starts_with(common::core_dir(CoreId::new(0)))));
}
