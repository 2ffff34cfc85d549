//! Files that were read or written lately, found by a hash of their whole paths: where a walk down the tree waits for some
//! twenty lines of memory that nobody has asked for lately, this waits for two or three.
//!
//! It is a cache, and never knows better than the tree: a write of a file renews what is remembered of it, and when a
//! directory goes, everything is forgotten. What it holds are copies, which share the values with the tree.
//!
//! Paths are told apart by 128 bits of `SipHash` under a key that differs from process to process: who can not see the key can
//! not make two paths that collide, and by chance two of a million do with a probability of 10^-27.

use crate::tree::File;
use siphasher::sip128::SipHasher13;
use std::cell::Cell;
use std::rc::Rc;

/// Files of a set, which push each other out. As many as have a mark in half a line of memory: so nearly all places are taken
/// before that happens.
const WAYS: usize = 16;

/// Sets that a table may always have, whatever others take: 64 KiB.
const SETS_FREE: usize = 64;

/// Room for the files that the shards of one thread remember: who needs it takes it.
#[derive(Debug)]
pub struct RecentRoom {
    sets_left: Cell<usize>,
}

impl RecentRoom {
    /// For so many files together. Each takes 66 bytes; values are not counted, they are the tree's. Every shard can remember
    /// 1024 files beside these.
    pub fn new(files: usize) -> Rc<Self> {
        Rc::new(Self { sets_left: Cell::new(files / WAYS) })
    }

    fn take(&self, sets: usize) -> bool {
        let left = self.sets_left.get().checked_sub(sets);
        self.sets_left.set(left.unwrap_or(self.sets_left.get()));
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
    /// Files in them.
    len: usize,
    /// Files that had to make room for others since the table is there.
    crowded_out: usize,
    /// Earlier tables: freed a few sets at a time.
    retired: Vec<Vec<Set>>,
}

/// A hash of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot(u128);

#[derive(Debug, Default)]
struct Set {
    /// Some bits of the hashes of the files in the same places, never 0; 0 where there is none.
    marks: [u8; WAYS],
    /// There once something is in it.
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
            len: 0,
            crowded_out: 0,
            retired: Vec::new(),
        }
    }

    /// Where a file of this path would be; none if nothing is remembered.
    pub(super) fn spot(&self, path: &[u8]) -> Option<Spot> {
        self.room.is_some().then(|| Spot(self.hasher.hash(path).as_u128()))
    }

    /// The file, if it is remembered.
    pub(super) fn get(&self, spot: Spot) -> Option<&File> {
        let set = self.sets.get(self.set_of(spot))?;
        let known = set.places.as_ref()?[set.find(spot)?].as_ref()?;
        Some(&known.file)
    }

    /// Remembers a file that was read, or written.
    pub(super) fn remember(&mut self, spot: Spot, file: &File) {
        if self.is_crowded() && self.takes_room() {
            self.replace_table((2 * self.sets.len()).max(1));
        }
        let at = self.set_of(spot);
        let set = &mut self.sets[at];
        let way = set.find(spot).unwrap_or_else(|| {
            let free = set.marks.iter().position(|mark| *mark == 0);
            match free {
                Some(_) => self.len += 1,
                None => self.crowded_out += 1,
            }
            free.unwrap_or(self.crowded_out % WAYS)
        });
        set.put(way, Known { spot, file: file.clone() });
    }

    /// The file there is no more.
    pub(super) fn forget(&mut self, spot: Spot) {
        let at = self.set_of(spot);
        if let Some(set) = self.sets.get_mut(at)
            && let Some(way) = set.find(spot)
        {
            set.clear(way);
            self.len -= 1;
        }
    }

    /// A directory went, and anything that is remembered may have been in it. The table is a small one then, so that this
    /// takes no time, however often directories go.
    pub(super) fn forget_all(&mut self) {
        if self.len > 0 {
            self.give_back_room();
            self.replace_table(self.sets.len().min(SETS_FREE));
        }
    }

    /// Frees about `budget` files that were forgotten; what is left of the budget.
    pub(super) fn tidy(&mut self, budget: usize) -> usize {
        let mut left = budget;
        while left > 0
            && let Some(sets) = self.retired.last_mut()
        {
            match sets.pop() {
                Some(Set { places: Some(_), .. }) => left = left.saturating_sub(WAYS),
                Some(_) => left -= 1,
                None => drop(self.retired.pop()),
            }
        }
        left
    }

    /// Nothing is left to be freed.
    pub(super) fn is_tidy(&self) -> bool {
        self.retired.is_empty()
    }

    /// A larger table would keep more of what is read: this one is nearly full, and files push each other out.
    fn is_crowded(&self) -> bool {
        let places = self.sets.len() * WAYS;
        self.len >= places / 4 * 3 && self.crowded_out >= places / 8
    }

    /// Takes what a table of twice the size needs more than this one, if it is there.
    fn takes_room(&self) -> bool {
        let more = charged(2 * self.sets.len()) - charged(self.sets.len());
        self.room.as_ref().is_some_and(|room| room.take(more))
    }

    fn give_back_room(&self) {
        if let Some(room) = &self.room {
            room.give_back(charged(self.sets.len()));
        }
    }

    /// Begins anew. What was remembered comes back by being read.
    fn replace_table(&mut self, sets: usize) {
        let mut table = Vec::new();
        table.resize_with(sets, Set::default);
        self.retired.push(std::mem::replace(&mut self.sets, table));
        (self.len, self.crowded_out) = (0, 0);
    }

    fn set_of(&self, spot: Spot) -> usize {
        spot.0 as usize & self.sets.len().wrapping_sub(1)
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        self.give_back_room();
    }
}

/// What a table of so many sets takes of the room.
const fn charged(sets: usize) -> usize {
    if sets > SETS_FREE { sets } else { 0 }
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

    fn clear(&mut self, way: usize) {
        self.marks[way] = 0;
        if let Some(places) = &mut self.places {
            places[way] = None;
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
    use std::rc::Rc;

    fn file(index: u64) -> File {
        let (at, value) = (Index(index), Rc::from(index.to_le_bytes().as_slice()));
        File { value, created: at, modified: at, told: at, deadline: None }
    }

    fn path(n: usize) -> Vec<u8> {
        format!("/d{}/k{n}", n % 7).into_bytes()
    }

    fn spot(recent: &Recent, path: &[u8]) -> Spot {
        recent.spot(path).expect("something is remembered")
    }

    /// As a store reads; whether it was remembered.
    fn read(recent: &mut Recent, path: &[u8], file: &File) -> bool {
        let spot = spot(recent, path);
        if let Some(known) = recent.get(spot) {
            assert_eq!(known, file, "{path:?}");
            return true;
        }
        recent.remember(spot, file);
        false
    }

    #[test]
    fn what_is_remembered_is_what_was_written_last() {
        let mut random = Random::new(1, 1);
        // Too small for them, so that they push each other out.
        let mut recent = Recent::new(RecentRoom::new(0), (3, 4));
        let mut files: HashMap<usize, File> = HashMap::new();
        let mut hits = 0;
        for index in 1..200_000 {
            let n = random.below(2000);
            match random.below(100) {
                0..60 => {
                    let known = files.entry(n).or_insert_with(|| file(index));
                    hits += usize::from(read(&mut recent, &path(n), known));
                }
                60..80 => {
                    recent.remember(spot(&recent, &path(n)), &file(index));
                    files.insert(n, file(index));
                }
                80..99 => {
                    files.remove(&n);
                    recent.forget(spot(&recent, &path(n)));
                }
                _ if random.below(20) == 0 => {
                    files.clear();
                    recent.forget_all();
                }
                _ => _ = recent.tidy(70),
            }
            let places = recent.sets.iter().filter_map(|set| set.places.as_ref());
            let held = places.flat_map(|places| places.iter()).flatten().count();
            assert_eq!(held, recent.len);
        }
        assert!(hits > 5_000, "{hits} hits");
        assert_eq!(recent.sets.len(), SETS_FREE, "there is no room for more");
    }

    #[test]
    fn the_table_grows_with_what_is_read() {
        let mut recent = Recent::new(RecentRoom::new(1 << 20), (5, 6));
        for round in 0..20 {
            let hits = (0..5000).filter(|n| read(&mut recent, &path(*n), &file(*n as u64))).count();
            assert!(round < 19 || hits > 4800, "{hits} hits at the end");
        }
        assert!(recent.sets.len() * WAYS < 3 * 5000, "{} sets", recent.sets.len());
        assert!(!recent.is_tidy(), "smaller tables are to be freed");
        while recent.tidy(1000) == 0 {}
        assert!(recent.is_tidy());
    }

    #[test]
    fn bytes_that_are_the_same_are_found_and_no_others() {
        for byte in 0..=u8::MAX {
            let bytes = std::array::from_fn(|at| byte.wrapping_add([0, 1, 0x80, 0xff][at % 4]));
            let same: Vec<u32> = (0..128).filter(|bit| same_bytes(bytes, byte) >> bit & 1 == 1).collect();
            assert_eq!(same, [7, 39, 71, 103], "{byte:#x}");
        }
    }

    #[test]
    fn room_is_taken_and_given_back() {
        let room = RecentRoom::new(4 * 1024);
        let filled = || {
            let mut recent = Recent::new(Rc::clone(&room), (7, 8));
            for n in (0..20_000).chain(0..20_000) {
                read(&mut recent, &path(n), &file(n as u64));
            }
            recent
        };
        let (mut first, second) = (filled(), filled());
        assert_eq!([first.sets.len(), second.sets.len(), room.sets_left.get()], [256, 64, 0]);
        first.forget_all();
        assert_eq!([first.sets.len(), room.sets_left.get()], [64, 256]);
        let third = filled();
        assert_eq!([third.sets.len(), room.sets_left.get()], [256, 0]);
        drop((first, third));
        assert_eq!(room.sets_left.get(), 256);
        drop(second);
        assert_eq!(room.sets_left.get(), 256, "it had none of it");
        assert_eq!(Recent::default().spot(b"/a"), None, "nothing is remembered without any");
    }
}
