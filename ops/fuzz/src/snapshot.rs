//! Snapshots: the file, and the state in its chunks.

use std::path::Path;

use log::{SNAPSHOT_CHUNK_MAX, SnapshotEncoder, snapshot_file_name, visit_snapshot_on};
use shard::history::HistoryLimits;
use shard::snapshot::Restore;
use shard::store::Store;

use crate::segment::OneFile;

/// A file that is read whole is, byte for byte, the one that is written of what it holds, unless somebody has made its
/// checksums good. A state that is restored comes back from its own chunks.
pub(crate) fn check(input: &[u8]) {
    check_file(input, true);
    check_file(&resealed(input), false);
    check_chunks(input);
}

fn check_file(bytes: &[u8], is_genuine: bool) {
    let disk = OneFile { path: Path::new("/snap/any.snap").to_owned(), bytes: bytes.to_vec() };
    let mut chunks = Vec::new();
    let Ok(head) = visit_snapshot_on(&disk, &disk.path, &mut |chunk| chunks.push(chunk.to_vec())) else { return };
    let mut again = Vec::new();
    let mut encoder = SnapshotEncoder::new(head, &mut again);
    for chunk in &chunks {
        encoder.chunk(chunk, &mut again);
    }
    encoder.finish(&mut again);
    assert!(!is_genuine || again == bytes, "another file holds the same");
    let _ = snapshot_file_name(head.group, head.position.index, false);
    check_chunks(&chunks.concat());
}

/// Chunks of a state, each behind its length.
fn check_chunks(mut bytes: &[u8]) {
    let mut restore = Restore::new(HistoryLimits::default());
    while let Some((length, rest)) = bytes.split_first_chunk::<8>() {
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((chunk, rest)) = rest.split_at_checked(length) else { return };
        bytes = rest;
        if restore.push(chunk).is_err() {
            return;
        }
    }
    let Ok(store) = restore.finish() else { return };
    let again = restored(&store);
    assert_eq!((again.digest(), again.applied()), (store.digest(), store.applied()));
    assert_eq!(again.system(), store.system());
}

fn restored(store: &Store) -> Store {
    let mut restore = Restore::new(HistoryLimits::default());
    store.snapshot().for_each(|chunk| restore.push(&chunk).expect("what was written can be read"));
    restore.finish().expect("what was written can be read")
}

/// With every checksum as it should be; see `log/src/snapshot.rs`.
fn resealed(input: &[u8]) -> Vec<u8> {
    const HEAD: usize = 36;
    const CHUNK_HEAD: usize = 16;
    let mut bytes = input.to_vec();
    if bytes.len() < HEAD {
        return bytes;
    }
    let seed = crc32c::crc32c(&bytes[..HEAD - 4]);
    bytes[HEAD - 4..HEAD].copy_from_slice(&seed.to_le_bytes());
    let (mut at, mut sum) = (HEAD, 0);
    while let Some(head) = bytes.get(at..at + CHUNK_HEAD).filter(|head| head[..4] == *b"uCnk") {
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let Some(payload) = bytes.get(at + CHUNK_HEAD..).and_then(|rest| rest.get(..length)) else { return bytes };
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &head[..CHUNK_HEAD - 4]), payload);
        sum = crc32c::crc32c_append(sum, payload);
        bytes[at + 12..at + CHUNK_HEAD].copy_from_slice(&crc.to_le_bytes());
        at += (CHUNK_HEAD + length.min(SNAPSHOT_CHUNK_MAX)).next_multiple_of(8);
    }
    if let Some(trailer) = bytes.get_mut(at..at + 32) {
        trailer[24..28].copy_from_slice(&sum.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &trailer[..28]);
        trailer[28..].copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}
