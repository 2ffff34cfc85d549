//! Snapshots: when, and what of the log they make unnecessary.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use log::{Position, SNAPSHOT_CHUNK_MAX, SnapshotError, SnapshotHead, SnapshotWriter, prune_snapshots};
use shard::ids::{RaftIndex, ShardId, Term};
use shard::snapshot::SnapshotChunks;

use super::catchup::REST;
use super::{Core, Inner, Phase};

/// Bytes of one executor's log beyond which the shard that keeps the oldest segment is made to give it up, so that an
/// idle shard never pins what busy ones have long outgrown.
const LOG_BYTES_MAX: u64 = 256 << 20;

/// Segments of earlier starts beyond which the same happens: every start leaves one, however little is in it.
const INHERITED_MAX: usize = 8;

/// Earlier starts with segments in the log beyond which it happens before clients are served: a node that is stopped again
/// and again right after its start would never come to it. A single one may have left many, which the running node gives up.
const INHERITED_STARTS_MAX: usize = 2 * INHERITED_MAX;

/// Bytes of an executor's log beyond which it happens then as well: one that is killed under load again and again, before its
/// snapshots are done, leaves more each time.
const BYTES_AT_START_MAX: u64 = 8 * LOG_BYTES_MAX;

/// How many times the size of a shard's snapshot is logged before it is written again: a third of what goes to the disk.
const REWRITTEN_AFTER: u64 = 2;

/// How long none is tried after one could not be written.
const RETRY: Duration = Duration::from_secs(5);

/// When the shards of this executor are due, and what their snapshots cover.
pub(super) struct Schedule {
    seats: Vec<Seat>,
    running: bool,
    /// When the last one failed.
    failed: Option<Instant>,
}

/// Where a snapshot ends.
type Upto = (RaftIndex, Term);

#[derive(Clone, Debug, Default)]
struct Seat {
    /// Commands applied since the newest snapshot.
    commands: u64,
    /// Bytes of their batches.
    bytes: u64,
    /// Size of the newest snapshot.
    last_bytes: u64,
    newest: Option<Upto>,
    /// The one before: the log is kept from here on, so that a damaged newest snapshot can be done without.
    previous: Option<Upto>,
    /// The log must not be needed up to here: it has rotted, or what stood for it has.
    outgrown: RaftIndex,
    /// The log was told that it is not needed up to here, in this life of the process.
    given_up: RaftIndex,
}

impl Schedule {
    /// Of shards whose snapshots on disk cover these positions, newest first.
    pub(super) fn new(on_disk: &[Vec<Upto>]) -> Self {
        let seat = |found: &Vec<Upto>| Seat {
            newest: found.first().copied(),
            previous: found.get(1).copied(),
            ..Seat::default()
        };
        Self { seats: on_disk.iter().map(seat).collect(), running: false, failed: None }
    }

    /// Notes what was applied.
    pub(super) fn applied(&mut self, seat: usize, commands: u64, bytes: u64) {
        self.seats[seat].commands += commands;
        self.seats[seat].bytes += bytes;
    }

    /// A shard's state was replaced by a snapshot that came from another member, and is on the disk.
    pub(super) fn restart(&mut self, seat: usize, upto: Upto) {
        self.seats[seat] = Seat { newest: Some(upto), ..Seat::default() };
    }

    /// An own snapshot is on the disk. False if it is of no use: a state that was received meanwhile is newer, and the log
    /// that would lead on to it is gone.
    fn saved(&mut self, seat: usize, upto: Upto, bytes: u64) -> bool {
        let place = &mut self.seats[seat];
        if place.newest.is_some_and(|newest| newest.0 > upto.0) {
            return false;
        }
        place.previous = place.newest.replace(upto);
        place.last_bytes = bytes;
        true
    }

    /// Has the shard write snapshots until it can do without its log up to `index`.
    pub(super) fn outgrow(&mut self, seat: usize, index: RaftIndex) {
        let outgrown = &mut self.seats[seat].outgrown;
        *outgrown = index.max(*outgrown);
    }

    /// A snapshot of the shard that ends at `index` is no more. If it was one of the newest two, there will be two again.
    pub(super) fn lost(&mut self, seat: usize, index: RaftIndex) {
        let place = &mut self.seats[seat];
        let is_lost = |upto: Option<Upto>| upto.is_some_and(|upto| upto.0 == index);
        // Both, when one is a copy of the other: then one is left.
        if is_lost(place.previous) {
            place.previous = None;
        } else if is_lost(place.newest) {
            place.newest = place.previous.take();
        } else {
            return;
        }
        self.outgrow(seat, index);
    }

    /// Whether another snapshot at `applied` brings a shard nearer to doing without what has rotted. `last` is the end of
    /// its log: nothing beyond stands.
    fn must_outgrow(&self, seat: usize, applied: RaftIndex, last: RaftIndex) -> bool {
        let place = &self.seats[seat];
        let wanted = place.outgrown.min(last);
        applied >= wanted && place.previous.map_or(RaftIndex::default(), |upto| upto.0) < wanted
    }

    /// The log is told what it may forget: all that the snapshots before the newest cover.
    fn give_up(&mut self) {
        for seat in &mut self.seats {
            seat.given_up = seat.previous.map_or(seat.given_up, |previous| previous.0);
        }
    }

    /// Whether a snapshot at `applied` brings a shard nearer to doing without its log up to `upto`.
    ///
    /// A snapshot of a shard that is covered already is a copy, and makes the newest one the one before: then the log is
    /// free, and there are still two files to start from. The log lets go when the mark of that is durable: meanwhile
    /// another one would be for nothing, and of a busy shard there could always be another one.
    fn frees(&self, seat: usize, upto: RaftIndex, applied: RaftIndex) -> bool {
        self.seats[seat].given_up < upto && upto <= applied
    }

    /// The shard that is due most.
    fn due(&self, count: u64) -> Option<usize> {
        let due = |seat: &Seat| seat.commands >= count && seat.bytes >= REWRITTEN_AFTER * seat.last_bytes;
        let seats = self.seats.iter().enumerate().filter(|(_, seat)| due(seat));
        seats.max_by_key(|(_, seat)| seat.commands).map(|(at, _)| at)
    }
}

impl Inner {
    /// Starts a snapshot if one is due and none is being written.
    pub(super) fn start_snapshots(&mut self) {
        if self.snapshots.running || self.snapshots.failed.is_some_and(|at| at.elapsed() < RETRY) {
            return;
        }
        let count = self.node.config.snapshot_count;
        let due = self.outgrowing().or_else(|| self.snapshots.due(count)).or_else(|| self.pinning());
        if let Some(seat) = due {
            self.start_snapshot(seat);
        }
    }

    /// A shard whose log or snapshots have rotted.
    fn outgrowing(&self) -> Option<usize> {
        let mut shards = self.shards.iter().enumerate();
        let found =
            shards.find(|(seat, shard)| self.snapshots.must_outgrow(*seat, shard.applied().0, shard.group().last()));
        found.map(|(seat, _)| seat)
    }

    /// The shard that keeps a log from shrinking that has grown too large.
    fn pinning(&self) -> Option<usize> {
        if self.disk.size_bytes() <= LOG_BYTES_MAX && self.disk.inherited() <= INHERITED_MAX {
            return None;
        }
        let (shard, upto) = self.disk.oldest_pin().filter(|(shard, _)| self.node.core_of(*shard) == self.me)?;
        let seat = self.seat(shard);
        self.snapshots.frees(seat, upto, self.shards[seat].applied().0).then_some(seat)
    }

    fn start_snapshot(&mut self, seat: usize) {
        let shard = &self.shards[seat];
        let (id, upto) = (shard.id(), shard.applied());
        let chunks = shard.store().snapshot();
        self.snapshots.running = true;
        self.snapshots.seats[seat].commands = 0;
        self.snapshots.seats[seat].bytes = 0;
        let dir = self.node.config.snapshot_dir();
        let keep = self.node.config.max_snapshots.map_or(usize::MAX, |keep| keep.max(2) as usize);
        // Before clients are served there is nobody to rest for.
        let rest = if self.node.phase() >= Phase::Serving { REST } else { 0 };
        let (core, file) = (self.core.clone(), self.intake.file_of(id));
        self.spawn(async move {
            // It is never closed.
            let Ok(_turn) = file.acquire_permit(1).await else { return };
            let begun = Instant::now();
            let written = write(dir, id, upto, chunks, keep, rest).await;
            if let Some(core) = core.upgrade() {
                core.snapshot_done(seat, upto, begun, written);
            }
        });
    }
}

impl Core {
    /// Gives up segments of earlier starts when there were too many of these, as far as that depends on this executor. To be called
    /// when its shards have caught up.
    pub(crate) async fn shed_inherited(&self) {
        const PAUSE: Duration = Duration::from_millis(2);
        let (starts, bytes, alone) = {
            let inner = self.inner.borrow();
            (inner.disk.inherited_starts(), inner.disk.size_bytes(), inner.is_alone())
        };
        // Among others it may take long until everything is applied that a snapshot has to hold.
        if !alone || (starts <= INHERITED_STARTS_MAX && bytes <= BYTES_AT_START_MAX) {
            return;
        }
        let mib = bytes >> 20;
        tracing::info!(target: "wal", "log {} has {mib} MiB of {starts} earlier starts: they are given up before clients are served", self.me);
        while self.node.phase() < Phase::Stopping && self.inner.borrow_mut().sheds() {
            self.stir();
            glommio::timer::sleep(PAUSE).await;
        }
    }

    fn snapshot_done(self: &Rc<Self>, seat: usize, upto: Upto, begun: Instant, written: Result<Saved, SnapshotError>) {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        inner.snapshots.running = false;
        inner.snapshots.failed = written.is_err().then(Instant::now);
        let id = inner.shards[seat].id();
        match written {
            Ok(Saved { bytes, encoding }) => {
                inner.metrics.snapshot_save.observe(begun.elapsed().as_secs_f64());
                inner.metrics.snapshot_marshal.observe(encoding.as_secs_f64());
                tracing::debug!(target: "snap", "shard {id}: saved snapshot at raft index {}, {bytes} bytes", upto.0);
                if inner.snapshots.saved(seat, upto, bytes) {
                    inner.disk.push_snapshot(id, upto);
                    // The log may lose the batches that say what the clock read.
                    let clock = inner.shards[seat].clock();
                    inner.disk.push_frontier(id, inner.node.order.visible(), clock);
                    inner.give_up_log();
                }
            }
            Err(error) => tracing::warn!(target: "snap", "shard {id}: {error}. It is tried again when due"),
        }
        // The next one that is due need not wait for a round.
        inner.start_snapshots();
        self.stir();
    }
}

impl Inner {
    /// Goes on giving up inherited segments. False: there is nothing that this executor can do about it now.
    fn sheds(&mut self) -> bool {
        if self.snapshots.failed.is_some() {
            return false;
        }
        self.start_snapshots();
        self.snapshots.running || !self.disk.is_idle() || !self.disk.is_tidy()
    }

    /// Lets the log forget what the snapshot before the newest one of each shard covers.
    fn give_up_log(&mut self) {
        self.snapshots.give_up();
        let seats = self.shards.iter().zip(&self.snapshots.seats);
        let upto: Vec<(ShardId, RaftIndex)> =
            seats.filter_map(|(shard, seat)| Some((shard.id(), seat.previous?.0))).collect();
        self.disk.compact(&upto);
    }
}

/// A snapshot that is on the disk.
struct Saved {
    /// Its size.
    bytes: u64,
    /// How long the executor was busy with encoding it, in slices.
    encoding: Duration,
}

/// Writes one snapshot and removes those that are not kept. Between its chunks is a rest, that many times as long as encoding one takes.
async fn write(
    dir: PathBuf,
    shard: ShardId,
    upto: Upto,
    chunks: SnapshotChunks,
    keep: usize,
    rest: u32,
) -> Result<Saved, SnapshotError> {
    let group = log::GroupId::new(shard.0);
    let position = Position { index: log::RaftIndex::new(upto.0.0), term: upto.1.0 };
    let mut writer = SnapshotWriter::create(&dir, SnapshotHead { group, position }).await?;
    let encoding = match write_chunks(&mut writer, chunks, rest).await {
        Ok(encoding) => encoding,
        Err(error) => {
            // What cannot be removed now has no snapshot's name, and goes with the next pruning.
            let _ = writer.abort().await;
            return Err(error);
        }
    };
    let bytes = writer.bytes();
    writer.finish().await?;
    prune_snapshots(&dir, group, keep).await?;
    Ok(Saved { bytes, encoding })
}

/// A shard's chunk can be larger than one of the file's (a value of megabytes is one chunk): each begins with its length
/// and goes into as many as it needs.
async fn write_chunks(
    writer: &mut SnapshotWriter,
    mut chunks: SnapshotChunks,
    rest: u32,
) -> Result<Duration, SnapshotError> {
    let mut encoding = Duration::ZERO;
    loop {
        let begun = Instant::now();
        let Some(chunk) = chunks.next() else { return Ok(encoding) };
        let took = begun.elapsed();
        encoding += took;
        for piece in pieces(&chunk) {
            writer.chunk(&piece).await?;
        }
        glommio::timer::sleep(took * rest).await;
    }
}

/// A chunk behind its length, in pieces that fit into a file's chunks. Copied once.
pub(crate) fn pieces(chunk: &[u8]) -> impl Iterator<Item = Bytes> + use<> {
    let mut framed = (chunk.len() as u64).to_le_bytes().to_vec();
    framed.extend_from_slice(chunk);
    let mut rest = Bytes::from(framed);
    std::iter::from_fn(move || {
        let piece = rest.split_to(rest.len().min(SNAPSHOT_CHUNK_MAX));
        (!piece.is_empty()).then_some(piece)
    })
}

/// The shard's chunks from pieces of a file, or of a stream.
#[derive(Default)]
pub(crate) struct Unframer {
    bytes: Vec<u8>,
    /// Of these, what was taken.
    taken: usize,
}

impl Unframer {
    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// The next chunk, if it is whole.
    pub(crate) fn take(&mut self) -> Option<&[u8]> {
        const LENGTH: usize = size_of::<u64>();
        let rest = &self.bytes[self.taken..];
        let mut front = rest.get(..LENGTH)?;
        let end = LENGTH.checked_add(usize::try_from(front.get_u64_le()).ok()?)?;
        let chunk = rest.get(LENGTH..end)?;
        self.taken += end;
        Some(chunk)
    }

    /// Nothing is left over.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upto(index: u64) -> Upto {
        (RaftIndex(index), Term(1))
    }

    #[test]
    fn a_shard_is_due_after_its_count_and_twice_the_bytes_of_its_snapshot() {
        let mut schedule = Schedule::new(&[vec![], vec![]]);
        schedule.applied(0, 9, 100);
        assert_eq!(schedule.due(10), None);
        schedule.applied(1, 10, 100);
        assert_eq!(schedule.due(10), Some(1));
        schedule.seats[1].last_bytes = 1000;
        assert_eq!(schedule.due(10), None, "the last one was ten times what has been logged since");
    }

    #[test]
    fn a_shard_outgrows_what_has_rotted_by_two_snapshots() {
        let mut schedule = Schedule::new(&[vec![upto(9), upto(5)]]);
        let must = |schedule: &Schedule, applied| schedule.must_outgrow(0, RaftIndex(applied), RaftIndex(20));
        assert!(!must(&schedule, 12));
        schedule.outgrow(0, RaftIndex(11));
        assert!(must(&schedule, 11) && !must(&schedule, 10), "once it holds what has rotted");
        for (applied, more) in [(12, true), (12, false)] {
            schedule.seats[0].previous = schedule.seats[0].newest.replace(upto(applied));
            assert_eq!(must(&schedule, applied), more);
        }
        schedule.outgrow(0, RaftIndex(99));
        assert!(must(&schedule, 20), "what was beyond the end of the log has been overridden");
    }

    #[test]
    fn two_snapshots_free_the_log_and_no_third_is_made_before_it_lets_go() {
        let mut schedule = Schedule::new(&[vec![]]);
        let frees = |schedule: &Schedule, applied| schedule.frees(0, RaftIndex(20), RaftIndex(applied));
        assert!(!frees(&schedule, 19), "what is not applied can not be covered");
        for (applied, more) in [(25, true), (27, true), (30, false)] {
            assert_eq!(frees(&schedule, applied), more, "at {applied}");
            schedule.seats[0].previous = schedule.seats[0].newest.replace(upto(applied));
            schedule.give_up();
        }
        // After a start the log knows nothing of it.
        let schedule = Schedule::new(&[vec![upto(27), upto(25)]]);
        assert!(frees(&schedule, 30));
    }

    #[test]
    fn an_own_snapshot_that_a_received_state_has_overtaken_is_not_the_newest() {
        let mut schedule = Schedule::new(&[vec![upto(9), upto(5)]]);
        assert!(schedule.saved(0, upto(12), 7));
        assert!(schedule.saved(0, upto(12), 7), "a copy of the same position counts");
        schedule.restart(0, upto(30));
        assert!(!schedule.saved(0, upto(20), 7));
        let seat = &schedule.seats[0];
        assert_eq!((seat.newest, seat.previous), (Some(upto(30)), None), "no log leads from 20 to 30");
    }

    #[test]
    fn a_lost_snapshot_is_replaced_if_it_was_one_of_the_newest_two() {
        for (name, lost, newest, previous, replaced) in [
            ("an older one", 2, Some(9), Some(5), false),
            ("the one before the newest", 5, Some(9), None, true),
            ("the newest", 9, Some(5), None, true),
        ] {
            let mut schedule = Schedule::new(&[vec![upto(9), upto(5), upto(2)]]);
            schedule.lost(0, RaftIndex(lost));
            let seat = &schedule.seats[0];
            assert_eq!((seat.newest, seat.previous), (newest.map(upto), previous.map(upto)), "{name}");
            assert_eq!(schedule.must_outgrow(0, RaftIndex(9), RaftIndex(9)), replaced, "{name}");
        }
        let mut schedule = Schedule::new(&[vec![upto(9), upto(9)]]);
        schedule.lost(0, RaftIndex(9));
        assert_eq!((schedule.seats[0].newest, schedule.seats[0].previous), (Some(upto(9)), None), "one of two copies");
    }

    #[test]
    fn what_is_on_the_disk_is_known_newest_first() {
        let schedule = Schedule::new(&[vec![upto(9), upto(5), upto(2)]]);
        assert_eq!((schedule.seats[0].newest, schedule.seats[0].previous), (Some(upto(9)), Some(upto(5))));
    }

    #[test]
    fn chunks_larger_than_the_files_come_back_whole() {
        let chunks = [vec![1; 3], vec![2; SNAPSHOT_CHUNK_MAX * 2 + 5], vec![], vec![3; SNAPSHOT_CHUNK_MAX - 8]];
        let mut pieces = Vec::new();
        for chunk in &chunks {
            let framed = [&(chunk.len() as u64).to_le_bytes()[..], chunk].concat();
            pieces.extend(framed.chunks(SNAPSHOT_CHUNK_MAX).map(Bytes::copy_from_slice));
        }
        assert_eq!(chunks.iter().flat_map(|chunk| super::pieces(chunk)).collect::<Vec<_>>(), pieces);
        let unframe = |pieces: &[Bytes]| {
            let (mut unframer, mut chunks) = (Unframer::default(), Vec::new());
            for piece in pieces {
                unframer.push(piece);
                chunks.extend(std::iter::from_fn(|| unframer.take().map(<[u8]>::to_vec)));
            }
            (chunks, unframer.is_empty())
        };
        assert_eq!(unframe(&pieces), (chunks.to_vec(), true));
        pieces.pop();
        pieces.push(Bytes::from_static(b"short"));
        assert_eq!(unframe(&pieces), (chunks[..3].to_vec(), false));
    }
}
