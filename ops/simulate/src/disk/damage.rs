//! What a disk does to bytes that were durable.

use std::path::PathBuf;

use log::sector::{BLOCK, SECTOR};

use super::{SimDisk, put};
use shard::random::Random;

/// Writes of a file that may be the end of its log: that they are absent need not show. Two are under way at a time, and
/// what comes after these says that the ones before were durable.
const NEWEST: u64 = 3;

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// A bit of a sector flips, or the sector is zeroes.
    Rot,
    /// A block of some place lies in another one.
    Misdirected,
    /// A block is as it was before it was written.
    Stale,
}

impl SimDisk {
    /// Does damage to some file, and says where; not at all if there is nothing of the kind.
    pub(crate) fn damage(&mut self, damage: Damage, random: &mut Random) -> Option<(PathBuf, usize)> {
        let files: Vec<(PathBuf, u64)> = self.names.iter().map(|(path, id)| (path.clone(), *id)).collect();
        let (path, id) = files.get(random.below(files.len()))?.clone();
        let offset = match damage {
            Damage::Rot => self.rot(id, random),
            Damage::Misdirected => {
                let from = files[random.below(files.len())].1;
                self.misdirect(from, id, random)
            }
            Damage::Stale => self.stale(id, random),
        };
        Some((path, offset?))
    }

    fn rot(&mut self, id: u64, random: &mut Random) -> Option<usize> {
        let file = self.files.get_mut(&id)?.harm();
        let sector = random.below(file.len() / SECTOR) * SECTOR;
        if random.permille(200) {
            file.get_mut(sector..sector + SECTOR)?.fill(0);
        } else {
            let at = sector + random.below(SECTOR);
            *file.get_mut(at)? ^= 1 << random.below(8);
        }
        Some(sector)
    }

    fn misdirect(&mut self, from: u64, to: u64, random: &mut Random) -> Option<usize> {
        let source = &self.files.get(&from)?.durable;
        let begin = random.below(source.len() / BLOCK) * BLOCK;
        let block = source.get(begin..begin + BLOCK)?.to_vec();
        let target = self.files.get_mut(&to)?.harm();
        let at = random.below(target.len() / BLOCK) * BLOCK;
        if target.get(at..at + BLOCK)? == block {
            return None;
        }
        put(target, at, &block);
        Some(at)
    }

    fn stale(&mut self, id: u64, random: &mut Random) -> Option<usize> {
        let file = self.files.get_mut(&id)?;
        let candidates = file.old.partition_point(|old| old.write + NEWEST <= file.writes);
        let old = file.old.get(random.below(candidates)).filter(|_| candidates > 0)?.clone();
        let written_again = file.old[candidates..].iter().any(|newer| newer.offset == old.offset);
        if written_again || file.durable[old.offset..old.offset + BLOCK] == old.bytes {
            return None;
        }
        put(file.harm(), old.offset, &old.bytes);
        Some(old.offset)
    }
}
