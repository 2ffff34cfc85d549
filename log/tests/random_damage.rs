//! Damage anywhere in the files of a long log: it is noticed, or hit nothing that counts. Whatever recovery gives is what was written.
//!
//! `SUITE_DAMAGES` sets how many cases there are.

mod common;

use std::path::PathBuf;
use std::sync::OnceLock;

use common::{IDENTITY, MemDisk, SEGMENT_BYTES, indices, open_all, payloads_are_right};
use log::LogIdentity;
use log::sector::{BLOCK, SECTOR};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Cases unless `SUITE_DAMAGES` says otherwise.
const CASES: u32 = 500;
const BATCHES: u64 = 100;
/// A stale block is what it was so many batches before the end.
const BEHIND: u64 = 20;

/// What is done to a copy of the files.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// One bit is another one.
    Flip,
    /// One sector is zero.
    Zero,
    /// Two blocks are where the other belongs, in the same segment or not.
    Swap,
    /// A block is what it was some time ago: a write that was acknowledged and is absent.
    Stale,
    /// A block is that of another member, of the same place in the same file.
    Foreign,
}

struct Logs {
    /// A log of two groups in several segments.
    now: MemDisk,
    /// As it was before the last batches.
    before: MemDisk,
    /// The same, of another member.
    others: MemDisk,
}

fn logs() -> &'static Logs {
    static LOGS: OnceLock<Logs> = OnceLock::new();
    LOGS.get_or_init(|| {
        let other = LogIdentity { member: IDENTITY.member + 1, ..IDENTITY };
        let [(now, before), (others, _)] = [IDENTITY, other].map(long_log);
        assert!(now.files.keys().eq(others.files.keys()));
        Logs { now, before, others }
    })
}

fn long_log(identity: LogIdentity) -> (MemDisk, MemDisk) {
    let mut disk = MemDisk { identity, ..MemDisk::default() };
    let mut log = open_all(&mut disk, 1, SEGMENT_BYTES).remove(0);
    let mut before = None;
    for n in 1..=BATCHES {
        let size = (n * 977 % 6000) as usize;
        log.batch(&mut disk, &[(1, n, size), (2, 2 * n - 1, 100), (2, 2 * n, 10)]);
        if n == BATCHES - BEHIND {
            before = Some(disk.clone());
        }
    }
    (disk, before.expect("more batches"))
}

/// A file and an aligned place in it, out of all.
fn place(disk: &MemDisk, draw: u64, unit: usize) -> (PathBuf, usize) {
    let units = |bytes: &Vec<u8>| bytes.len() / unit;
    let mut left = (draw % disk.files.values().map(units).sum::<usize>() as u64) as usize;
    for (file, bytes) in &disk.files {
        if left < units(bytes) {
            return (file.clone(), left * unit);
        }
        left -= units(bytes);
    }
    unreachable!("within all files")
}

fn harmed(harm: Harm, draws: [u64; 2]) -> MemDisk {
    let Logs { now: disk, before, others } = logs();
    let mut bad = disk.clone();
    match harm {
        Harm::Flip => {
            let (file, at) = place(disk, draws[0], 1);
            bad.flip(&file, at * 8 + (draws[1] % 8) as usize);
        }
        Harm::Zero => {
            let (file, at) = place(disk, draws[0], SECTOR);
            bad.write(&file, at as u64, &[0; SECTOR]);
        }
        Harm::Swap => {
            let ((one, a), (other, b)) = (place(disk, draws[0], BLOCK), place(disk, draws[1], BLOCK));
            bad.swap((&one, a), (&other, b), BLOCK);
        }
        Harm::Stale => {
            let (file, at) = place(before, draws[0], BLOCK);
            bad.write(&file, at as u64, &before.files[&file][at..at + BLOCK]);
        }
        Harm::Foreign => {
            let (file, at) = place(disk, draws[0], BLOCK);
            bad.write(&file, at as u64, &others.files[&file][at..at + BLOCK]);
        }
    }
    bad
}

fn cases() -> u32 {
    std::env::var("SUITE_DAMAGES").map_or(CASES, |text| text.parse().expect("SUITE_DAMAGES is a number"))
}

#[test]
fn damage_anywhere_is_noticed_or_harmless() {
    let cases = cases();
    let harm =
        prop_oneof![Just(Harm::Flip), Just(Harm::Zero), Just(Harm::Swap), Just(Harm::Stale), Just(Harm::Foreign)];
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let outcome = TestRunner::new(config).run(&(harm, any::<[u64; 2]>()), |(harm, draws)| {
        if let Ok(recovered) = harmed(harm, draws).recover() {
            prop_assert_eq!(indices(&recovered, 1), (1..=BATCHES).collect::<Vec<_>>());
            prop_assert_eq!(indices(&recovered, 2), (1..=2 * BATCHES).collect::<Vec<_>>());
            prop_assert!(payloads_are_right(&recovered));
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    println!(
        "damages: {cases} random flips, zeroed sectors, swapped and stale blocks, blocks of another member, all noticed or harmless"
    );
}
