//! Files that were read lately, found by a hash of their whole paths: where a walk down the tree waits for some twenty lines
//! of memory that nobody has asked for lately, this waits for two or three.
//!
//! It is a cache, and never knows better than the tree: a write of a file renews what is remembered of it, and when a
//! directory goes that was not empty, everything is forgotten. What it holds are copies, which share the values with the
//! tree. Only reads fill it: who writes and never reads pays nothing for it.
//!
//! Paths are told apart by 128 bits of `SipHash` under a key that differs from process to process: who can not see the key
//! can not make two paths that collide, and by chance two of a million do with a probability of 10^-27.

use crate::tree::File;
use siphasher::sip128::SipHasher13;
use std::cell::Cell;
use std::rc::Rc;

/// Files of a set, which push each other out: so many that nearly all places are taken before that happens.
const WAYS: usize = 16;

/// Sets that may always be filled, whatever others take: 64 KiB.
const SETS_FREE: usize = 64;

/// Room for the files that the shards of one thread remember. Who comes first takes it, and keeps it while it is in use.
#[derive(Debug)]
pub struct RecentRoom {
    sets_left: Cell<usize>,
}

impl RecentRoom {
    /// For so many files together. Each takes 66 bytes; values are not counted, they are the tree's. Every shard can
    /// remember 1024 files beside these.
    pub fn new(files: usize) -> Rc<Self> {
        Rc::new(Self { sets_left: Cell::new(files / WAYS) })
    }

    fn take(&self) -> bool {
        let left = self.sets_left.get().checked_sub(1);
        self.sets_left.set(left.unwrap_or(0));
        left.is_some()
    }

    fn give_back(&self, sets: usize) {
        self.sets_left.set(self.sets_left.get() + sets);
    }
}

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Recent {
    hasher: SipHasher13,
    /// None: nothing is remembered.
    room: Option<Rc<RecentRoom>>,
    /// None, or a power of two.
    sets: Vec<Set>,
    /// Sets of an earlier one count as empty.
    epoch: u64,
    /// Files in the sets of this epoch.
    len: usize,
    /// Sets that have places, whatever is in them.
    filled: usize,
    /// Files that had to make room for others since the table is there.
    crowded_out: usize,
    /// The next set to be looked at for files of an earlier epoch, and how many such looks are due.
    sweep: (usize, usize),
    /// Of smaller tables: freed a few at a time.
    retired: Vec<Set>,
}

/// A hash of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot(u128);

#[derive(Debug, Default)]
struct Set {
    /// Some bits of the hashes of the files in the same places, never 0; 0 where there is none.
    marks: [u8; WAYS],
    epoch: u64,
    /// There while something is in it.
    places: Option<Box<[Option<Known>; WAYS]>>,
}

/// A file that is remembered. One line of memory.
#[derive(Debug)]
#[repr(align(64))]
struct Known {
    spot: Spot,
    file: File,
}

const _: () = assert!(size_of::<Option<Known>>() == 64);

impl Recent {
    /// Remembers nothing yet. `key` is different in every process, and nobody else's to know.
    pub(super) fn new(room: Rc<RecentRoom>, key: (u64, u64)) -> Self {
        Self {
            hasher: SipHasher13::new_with_keys(key.0, key.1),
            room: Some(room),
            sets: Vec::new(),
            epoch: 0,
            len: 0,
            filled: 0,
            crowded_out: 0,
            sweep: (0, 0),
            retired: Vec::new(),
        }
    }

    /// Where a file of this path would be; none if nothing is remembered at all.
    pub(super) fn spot(&self, path: &[u8]) -> Option<Spot> {
        self.room.is_some().then(|| Spot(self.hasher.hash(path).as_u128()))
    }

    /// [`spot`](Self::spot) for who remembers nothing himself: none also while there is nothing.
    pub(super) fn spot_to_renew(&self, path: &[u8]) -> Option<Spot> {
        if self.len == 0 { None } else { self.spot(path) }
    }

    /// The file, if it is remembered.
    pub(super) fn get(&self, spot: Spot) -> Option<&File> {
        let set = self.sets.get(self.set_of(spot)).filter(|set| set.epoch == self.epoch)?;
        let known = set.places.as_ref()?[set.find(spot)?].as_ref()?;
        Some(&known.file)
    }

    /// Remembers a file that was read, which [`get`](Self::get) has not found, if there is room.
    pub(super) fn remember(&mut self, spot: Spot, file: &File) {
        if self.is_crowded() && self.may_grow() {
            self.grow();
        }
        let at = self.set_of(spot);
        if self.sets[at].epoch != self.epoch {
            self.sets[at].begin(self.epoch);
        }
        if self.sets[at].places.is_none() && !self.takes_room() {
            return;
        }
        let set = &mut self.sets[at];
        let free = set.marks.iter().position(|mark| *mark == 0);
        match free {
            Some(_) => self.len += 1,
            None => self.crowded_out += 1,
        }
        set.put(free.unwrap_or(self.crowded_out % WAYS), Known { spot, file: file.clone() });
    }

    /// The file there was written, or is no more (`None`).
    pub(super) fn renew(&mut self, spot: Spot, file: Option<&File>) {
        let (at, epoch) = (self.set_of(spot), self.epoch);
        let Some(set) = self.sets.get_mut(at).filter(|set| set.epoch == epoch) else { return };
        let Some(way) = set.find(spot) else { return };
        if let Some(file) = file {
            set.put(way, Known { spot, file: file.clone() });
            return;
        }
        self.len -= 1;
        if set.clear(way) {
            self.give_room_back(1);
        }
    }

    /// A directory went, and anything that is remembered may have been in it.
    pub(super) fn forget_all(&mut self) {
        if self.len > 0 {
            (self.len, self.crowded_out) = (0, 0);
            self.epoch += 1;
            self.sweep.1 = self.sets.len();
        }
    }

    /// Frees about `budget` files that were forgotten; what is left of the budget.
    pub(super) fn tidy(&mut self, budget: usize) -> usize {
        let mut left = budget;
        while left > 0
            && let Some(set) = self.next_to_free()
        {
            left = left.saturating_sub(if set.places.is_some() { WAYS } else { 1 });
            self.give_room_back(usize::from(set.places.is_some()));
        }
        left
    }

    /// Nothing is left to be freed.
    pub(super) fn is_tidy(&self) -> bool {
        self.retired.is_empty() && self.sweep.1 == 0
    }

    /// What the next set holds that nobody will ask for again: nothing, often.
    fn next_to_free(&mut self) -> Option<Set> {
        if let Some(set) = self.retired.pop() {
            return Some(set);
        }
        let (next, due) = &mut self.sweep;
        *due = due.checked_sub(1)?;
        *next = (*next + 1) & (self.sets.len() - 1);
        let (set, epoch) = (&mut self.sets[*next], self.epoch);
        Some(if set.epoch == epoch { Set::default() } else { std::mem::replace(set, Set { epoch, ..Set::default() }) })
    }

    /// A larger table would keep more of what is read: this one is nearly full, and files push each other out.
    fn is_crowded(&self) -> bool {
        let places = self.sets.len() * WAYS;
        self.len >= places / 4 * 3 && self.crowded_out >= places / 8
    }

    /// There is room for a table of twice the size.
    fn may_grow(&self) -> bool {
        let more = self.sets.len();
        2 * more <= SETS_FREE || self.room.as_ref().is_some_and(|room| room.sets_left.get() >= more)
    }

    /// Begins anew. What was remembered comes back by being read.
    fn grow(&mut self) {
        let mut table = Vec::new();
        table.resize_with((2 * self.sets.len()).max(1), || Set { epoch: self.epoch, ..Set::default() });
        self.retired.append(&mut std::mem::replace(&mut self.sets, table));
        (self.len, self.crowded_out, self.sweep) = (0, 0, (0, 0));
    }

    /// For one more set with places.
    fn takes_room(&mut self) -> bool {
        let taken = self.filled < SETS_FREE || self.room.as_ref().is_some_and(|room| room.take());
        self.filled += usize::from(taken);
        taken
    }

    fn give_room_back(&mut self, sets: usize) {
        let charged = |filled: usize| filled.saturating_sub(SETS_FREE);
        if let Some(room) = &self.room {
            room.give_back(charged(self.filled) - charged(self.filled - sets));
        }
        self.filled -= sets;
    }

    fn set_of(&self, spot: Spot) -> usize {
        spot.0 as usize & self.sets.len().wrapping_sub(1)
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        self.give_room_back(self.filled);
    }
}

impl Spot {
    /// Bits that do not choose the set.
    fn mark(self) -> u8 {
        (self.0 >> 120) as u8 | 1
    }
}

impl Set {
    fn find(&self, spot: Spot) -> Option<usize> {
        let places = self.places.as_ref()?;
        let mut same = same_bytes(self.marks, spot.mark());
        while same != 0 {
            let way = same.trailing_zeros() as usize / 8;
            if places[way].as_ref().is_some_and(|known| known.spot == spot) {
                return Some(way);
            }
            same &= same - 1;
        }
        None
    }

    fn put(&mut self, way: usize, known: Known) {
        self.marks[way] = known.spot.mark();
        self.places.get_or_insert_default()[way] = Some(known);
    }

    /// Frees a place; true if it was the last one, and they went.
    fn clear(&mut self, way: usize) -> bool {
        self.marks[way] = 0;
        if self.marks == [0; WAYS] {
            self.places = None;
            return true;
        }
        if let Some(places) = &mut self.places {
            places[way] = None;
        }
        false
    }

    /// Empties it, and keeps the places.
    fn begin(&mut self, epoch: u64) {
        (self.marks, self.epoch) = ([0; WAYS], epoch);
        if let Some(places) = &mut self.places {
            places.fill_with(|| None);
        }
    }
}

/// The high bit of every byte that is `byte`, and nothing else: no carry leaves its byte.
fn same_bytes(bytes: [u8; WAYS], byte: u8) -> u128 {
    const LOWS: u128 = u128::from_le_bytes([0x7f; WAYS]);
    let differing = u128::from_le_bytes(bytes) ^ u128::from_le_bytes([byte; WAYS]);
    !(((differing & LOWS) + LOWS) | differing | LOWS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Index;
    use crate::random::Random;
    use std::collections::HashMap;

    fn file(index: u64) -> File {
        let (at, value) = (Index(index), Rc::from(index.to_le_bytes().as_slice()));
        File { value, created: at, modified: at, told: at, deadline: None }
    }

    fn path(n: usize) -> Vec<u8> {
        format!("/d{}/k{n}", n % 7).into_bytes()
    }

    fn spot(recent: &Recent, n: usize) -> Spot {
        recent.spot(&path(n)).expect("something is remembered")
    }

    /// As a store reads; whether it was remembered.
    fn read(recent: &mut Recent, n: usize, file: &File) -> bool {
        let spot = spot(recent, n);
        if let Some(known) = recent.get(spot) {
            assert_eq!(known, file, "{n}");
            return true;
        }
        recent.remember(spot, file);
        false
    }

    /// What is counted is what is there.
    fn check(recent: &Recent) {
        let filled = |sets: &[Set]| sets.iter().filter(|set| set.places.is_some()).count();
        assert_eq!(recent.filled, filled(&recent.sets) + filled(&recent.retired));
        let current = recent.sets.iter().filter(|set| set.epoch == recent.epoch);
        let len = current.filter_map(|set| set.places.as_ref()).flat_map(|places| places.iter()).flatten().count();
        assert_eq!(recent.len, len);
    }

    #[test]
    fn what_is_remembered_is_what_was_written_last() {
        let mut random = Random::new(1, 1);
        let room = RecentRoom::new(1024);
        let mut recent = Recent::new(Rc::clone(&room), (3, 4));
        let mut files: HashMap<usize, File> = HashMap::new();
        let (mut hits, mut crowded) = (0, 0);
        for index in 1..200_000 {
            let n = random.below(3000);
            match random.below(100) {
                0..70 => {
                    let known = files.entry(n).or_insert_with(|| file(index));
                    hits += usize::from(read(&mut recent, n, known));
                }
                70..85 => {
                    files.insert(n, file(index));
                    recent.renew(spot(&recent, n), files.get(&n));
                }
                85..99 => {
                    files.remove(&n);
                    recent.renew(spot(&recent, n), None);
                }
                _ if random.below(20) == 0 => {
                    files.clear();
                    recent.forget_all();
                }
                _ => _ = recent.tidy(70),
            }
            crowded = crowded.max(recent.crowded_out);
            if index % 64 == 0 {
                check(&recent);
            }
        }
        assert!(hits > 20_000 && crowded > 0, "{hits} hits, {crowded} crowded out");
        drop(recent);
        assert_eq!(room.sets_left.get(), 64, "all of it is given back");
    }

    #[test]
    fn the_table_grows_with_what_is_read_and_no_further() {
        let mut recent = Recent::new(RecentRoom::new(1 << 20), (5, 6));
        for round in 0..20 {
            let hits = (0..5000).filter(|n| read(&mut recent, *n, &file(*n as u64))).count();
            assert!(round < 19 || hits > 4800, "{hits} hits at the end");
        }
        assert!(recent.sets.len() * WAYS < 3 * 5000, "{} sets", recent.sets.len());
        assert!(!recent.is_tidy(), "smaller tables are to be freed");
        while recent.tidy(1000) == 0 {}
        assert!(recent.is_tidy());
        check(&recent);
    }

    /// However many directories go before anything is tidied up.
    #[test]
    fn forgetting_takes_no_memory_and_gives_all_of_it_back() {
        let room = RecentRoom::new(4 * 1024);
        let mut recent = Recent::new(Rc::clone(&room), (1, 2));
        let values: Vec<File> = (0..4000).map(file).collect();
        for _ in 0..100 {
            values.iter().enumerate().for_each(|(n, file)| _ = read(&mut recent, n, file));
            recent.forget_all();
            assert!(recent.filled <= 256 + SETS_FREE, "{} sets", recent.filled);
        }
        while !recent.is_tidy() {
            recent.tidy(100);
        }
        check(&recent);
        assert_eq!((recent.filled, room.sets_left.get()), (0, 256));
        assert!(values.iter().all(|file| Rc::strong_count(&file.value) == 1), "no value is held on to");
    }

    #[test]
    fn files_that_go_one_by_one_give_their_room_back() {
        let room = RecentRoom::new(4 * 1024);
        let mut recent = Recent::new(Rc::clone(&room), (1, 2));
        for _ in 0..8 {
            (0..3000).for_each(|n| _ = read(&mut recent, n, &file(n as u64)));
        }
        while !recent.is_tidy() {
            recent.tidy(100);
        }
        assert!(room.sets_left.get() < 256, "it has some of it");
        (0..3000).for_each(|n| recent.renew(spot(&recent, n), None));
        assert_eq!((recent.len, recent.filled, room.sets_left.get()), (0, 0, 256));
    }

    #[test]
    fn bytes_that_are_the_same_are_found_and_no_others() {
        for byte in 0..=u8::MAX {
            let bytes = std::array::from_fn(|at| byte.wrapping_add([0, 1, 0x80, 0xff][at % 4]));
            let same: Vec<u32> = (0..128).filter(|bit| same_bytes(bytes, byte) >> bit & 1 == 1).collect();
            assert_eq!(same, [7, 39, 71, 103], "{byte:#x}");
        }
    }
}
