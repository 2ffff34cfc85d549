//! The scrub: a thread that slowly reads again what is on the disk, because rot in a file that nobody reads would be
//! noticed only by the start that needs it. While the node runs its memory is whole, so what has rotted is written anew
//! ([`crate::core`] does that) and done without. Before that it reads what the start has left unread.
//!
//! A thread and not a task: its reads block, and no executor may wait for them.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use log::{
    Checked, LogIdentity, OsDisk, Sealed, SnapshotFile, check_segment, check_snapshot, list_snapshots, sealed_segments,
    set_aside,
};
use shard::ids::{RaftIndex, ShardId};

use crate::config::Scrub;
use crate::core::{Message, Node, Phase};
use crate::critical;
use crate::failure::Fatal;

/// The first round does not begin sooner, so that restarts (several, when something is wrong) do not pay for it.
const FIRST_PAUSE: Duration = Duration::from_mins(5);

/// How long until an executor with a full mailbox is told again, or it is asked again whether clients are served.
const RETRY: Duration = Duration::from_millis(100);

/// How fast the snapshots are read that the start has left unread, unless the scrub has a rate.
const UNREAD_BYTES_PER_SECOND: u64 = 8 << 20;

/// Starts the thread, which ends with the process, or, where there is no scrub, when it has looked at `unread`: snapshots that count and
/// that the start has not read.
pub(crate) fn start(
    node: Arc<Node>,
    identity: LogIdentity,
    scrub: Option<Scrub>,
    unread: Vec<SnapshotFile>,
) -> Result<(), Fatal> {
    if scrub.is_none() && unread.is_empty() {
        return Ok(());
    }
    let pace = Pace::new(scrub.map_or(UNREAD_BYTES_PER_SECOND, |scrub| scrub.bytes_per_second));
    let scrubber = Scrubber { node, identity, pace, reported: HashSet::new() };
    let spawned = thread::Builder::new().name("uetcd-scrub".to_owned()).spawn(move || scrubber.run(&unread, scrub));
    spawned.map(drop).map_err(|error| Fatal::Other(format!("the scrub can not start: {error}")))
}

struct Scrubber {
    node: Arc<Node>,
    identity: LogIdentity,
    pace: Pace,
    /// Damaged segments that are still there: known, and on their way out.
    reported: HashSet<PathBuf>,
}

impl Scrubber {
    fn run(mut self, unread: &[SnapshotFile], scrub: Option<Scrub>) {
        step_back();
        let (begun, pause) = (Instant::now(), scrub.map_or(FIRST_PAUSE, |scrub| scrub.interval.min(FIRST_PAUSE)));
        // A start has other things to read, but not for ever: without a majority no client is served.
        while self.node.phase() < Phase::Serving && begun.elapsed() < pause {
            thread::sleep(RETRY);
        }
        if self.first(unread).is_none() {
            return;
        }
        if let Some(scrub) = scrub {
            thread::sleep(pause.saturating_sub(begun.elapsed()));
            self.rounds(scrub);
        }
    }

    /// Reads what the start has not. Nothing may be given up on the strength of a file that can not be used. `None`: the process stops.
    fn first(&mut self, unread: &[SnapshotFile]) -> Option<()> {
        for snapshot in unread {
            self.unless_stopping()?;
            let why = match self.snapshot(snapshot)? {
                Ok(Checked::Sound | Checked::Gone | Checked::Damaged(_)) => continue,
                Ok(Checked::Newer) => "another version of uetcd has written it".to_owned(),
                Err(error) => error.to_string(),
            };
            let file = snapshot.path.display();
            tracing::warn!(target: "snap", "{file} does not count: {why}. The shard writes another one");
            self.lost(snapshot)?;
        }
        Some(())
    }

    /// Round after round, until the process stops.
    fn rounds(&mut self, scrub: Scrub) {
        loop {
            let begun = Instant::now();
            if self.round().is_none() {
                return;
            }
            self.node.scrubbed.round_ended(SystemTime::now());
            tracing::debug!(target: "wal", "the scrub has read everything in {} s", begun.elapsed().as_secs());
            thread::sleep(scrub.interval.saturating_sub(begun.elapsed()));
        }
    }

    /// Reads everything once. `None`: the process stops.
    fn round(&mut self) -> Option<()> {
        let segments = sealed_segments(&OsDisk::new(1), &self.node.config.log_dir(), self.identity);
        let segments = segments.map_err(|error| tracing::warn!(target: "wal", "{error}")).unwrap_or_default();
        let present: HashSet<&PathBuf> = segments.iter().map(|segment| &segment.file).collect();
        self.reported.retain(|file| present.contains(file));
        for segment in &segments {
            self.segment(segment)?;
        }
        let dir = self.node.config.snapshot_dir();
        let snapshots = list_snapshots(&dir);
        let snapshots = snapshots.map_err(|error| unlisted(&dir, &error)).unwrap_or_default();
        let shards = self.node.shards;
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.group.get() < shards) {
            if let Err(error) = self.snapshot(snapshot)? {
                unread(&snapshot.path, &error);
            }
        }
        Some(())
    }

    fn segment(&mut self, segment: &Sealed) -> Option<()> {
        if self.reported.contains(&segment.file) {
            return Some(());
        }
        let checked = check_segment(&OsDisk::new(1), segment, &mut |bytes| self.pace.read(&self.node, bytes));
        if let Err(error) = &checked {
            unread(&segment.file, error);
        }
        if let Ok(Checked::Damaged(damage)) = checked {
            critical!(
                "wal",
                "{damage}. The state in memory is whole: the shards concerned write new snapshots, and the file is removed \
                 once nothing depends on it. Check the disk"
            );
            self.node.scrubbed.found_damage();
            self.reported.insert(segment.file.clone());
            // Only the executor that goes on with this log knows that it does.
            for executor in 0..self.node.cores() {
                self.tell(executor, || Message::Rotten(segment.core, segment.seq))?;
            }
        }
        self.unless_stopping()
    }

    /// Reads a snapshot; a damaged one is put aside. `None`: the process stops.
    fn snapshot(&mut self, snapshot: &SnapshotFile) -> Option<io::Result<Checked>> {
        let checked = check_snapshot(&OsDisk::new(1), snapshot, &mut |bytes| self.pace.read(&self.node, bytes));
        if let Ok(Checked::Damaged(damage)) = &checked {
            let aside = match set_aside(&snapshot.path) {
                Ok(aside) => format!("It is now {}", aside.display()),
                Err(error) => format!("It can not be renamed ({error})"),
            };
            critical!(
                "snap",
                "{damage}. {aside}. The state in memory is whole: the shard writes a new snapshot if this was one of its \
                 newest two. Check the disk"
            );
            self.node.scrubbed.found_damage();
            self.lost(snapshot)?;
        }
        self.unless_stopping().map(|()| checked)
    }

    /// A snapshot does not count any more.
    fn lost(&self, snapshot: &SnapshotFile) -> Option<()> {
        let (shard, upto) = (ShardId(snapshot.group.get()), RaftIndex(snapshot.index.get()));
        self.tell(self.node.core_of(shard), || Message::SnapshotLost(shard, upto))
    }

    /// Tells an executor, as soon as it takes it.
    fn tell(&self, executor: usize, message: impl Fn() -> Message) -> Option<()> {
        while !self.node.tell(executor, message()) {
            self.unless_stopping()?;
            thread::sleep(RETRY);
        }
        Some(())
    }

    fn unless_stopping(&self) -> Option<()> {
        (self.node.phase() < Phase::Stopping).then_some(())
    }
}

fn unread(file: &Path, error: &io::Error) {
    tracing::warn!(target: "wal", "the scrub can not read {}: {error}. It tries again next time", file.display());
}

fn unlisted(dir: &Path, error: &io::Error) {
    tracing::warn!(target: "snap", "the scrub can not list {}: {error}. It tries again next time", dir.display());
}

/// Keeps the reading slow.
struct Pace {
    bytes_per_second: u64,
    /// When what was read so far is paid for.
    paid: Instant,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, paid: Instant::now() }
    }

    /// Counts what was read, and sleeps until it is time for more.
    fn read(&mut self, node: &Node, bytes: u64) {
        node.scrubbed.read(bytes);
        thread::sleep(self.pause(Instant::now(), bytes));
    }

    /// How long to wait at `now`, after `bytes` more. What a slow disk took counts; time without reading is not saved up.
    fn pause(&mut self, now: Instant, bytes: u64) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        self.paid = self.paid.max(now.checked_sub(cost).unwrap_or(now)) + cost;
        self.paid.saturating_duration_since(now)
    }
}

/// Lets every other thread go first, at the CPU and (the kernel derives one from the other) at the disk.
fn step_back() {
    const LEAST_URGENT: i32 = 19;
    // SAFETY: plain numbers; 0 is the calling thread. A refusal leaves the thread as urgent as the others.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LEAST_URGENT) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_kept_and_idle_time_is_not_saved_up() {
        let mut pace = Pace::new(1000);
        let begun = pace.paid;
        let ms = Duration::from_millis;
        assert_eq!(pace.pause(begun + ms(100), 100), ms(0), "reading took as long as it may");
        assert_eq!(pace.pause(begun + ms(110), 100), ms(90));
        assert_eq!(pace.pause(begun + ms(200), 100), ms(100));
        let later = begun + ms(10_000);
        assert_eq!(pace.pause(later, 100), ms(0));
        assert_eq!(pace.pause(later, 1000), ms(1000));
    }
}
