//! Changes to the copy.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::Plan;
use super::diff::{Change, Work};
use super::event::Event;
use super::lookout::Lookout;
use super::progress::Progress;
use super::refresh::Leases;
use crate::client::{Client, Condition, Deadline, Error, Keys, Read, Response, Write};
use crate::parallel;

/// Longest wait for one change: an election in the copy's cluster is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a change is tried again while the copy's cluster can not serve.
const TRIES: u32 = 60;

/// What has so little left is looked up in the source before it is given to the copy.
const SHORT_SECONDS: i64 = 10;
/// Longest wait for that.
const LOOK: Duration = Duration::from_secs(5);

const KEY_NOT_FOUND: u64 = 100;
const NOT_A_FILE: u64 = 102;
const NOT_A_DIRECTORY: u64 = 104;

pub(super) struct Applier<'a> {
    plan: &'a Plan,
    source: Keys<'a>,
    copy: Keys<'a>,
    leases: &'a Leases,
    lookout: &'a Lookout,
    /// The highest that the copy has told.
    copy_index: AtomicU64,
}

impl<'a> Applier<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        source: &'a Client,
        copy: &'a Client,
        leases: &'a Leases,
        lookout: &'a Lookout,
    ) -> Self {
        let (source, copy) = (Keys::new(source), Keys::new(copy));
        Self { plan, source, copy, leases, lookout, copy_index: AtomicU64::new(0) }
    }

    /// The copy's index after all changes so far.
    pub(super) fn copy_index(&self) -> u64 {
        self.copy_index.load(Relaxed)
    }

    /// Begins to change a copy that is that far.
    pub(super) fn begin(&self, copy_index: u64) {
        self.copy_index.store(copy_index, Relaxed);
    }

    /// Changes the copy. A change that does not come after all that was made before it was not made to the same copy.
    fn send(&self, send: impl Fn() -> Result<Response, Error>) -> Result<Response, Error> {
        let before = self.copy_index();
        let result = patiently(send);
        if let Ok(response) = &result {
            if response.node.modified_index <= before {
                self.lookout.suspect();
            }
            self.copy_index.fetch_max(response.index, Relaxed);
        }
        result
    }

    /// Makes all changes, files several at a time. `listed` is when the times to live were so.
    pub(super) fn make_good(&self, work: Work, listed: Instant, progress: &Progress) -> Result<(), Error> {
        for change in work.removals.iter().chain(&work.directories) {
            self.change(change, listed)?;
            progress.done(1);
        }
        parallel::for_each(self.plan.workers, work.files, |change| {
            self.change(&change, listed)?;
            progress.done(1);
            Ok(())
        })
    }

    fn change(&self, change: &Change, listed: Instant) -> Result<(), Error> {
        // One that is about to expire gets its last second: its end comes as an event.
        let left = |ttl: i64| if ttl == 0 { 0 } else { (ttl - listed.elapsed().as_secs() as i64).max(1) };
        match change {
            Change::Remove { key } => self.remove(key),
            Change::Directory { key, ttl } => self.directory(key, left(*ttl)),
            Change::File { key, value, ttl } => self.file(key, value, left(*ttl)),
        }
    }

    /// Repeats one of the source's events. Events that were repeated before are no harm, as long as all that came after them follow.
    pub(super) fn event(&self, event: &Event) -> Result<(), Error> {
        let node = event.node();
        if self.plan.is_hidden(&node.key) {
            return Ok(());
        }
        let key = self.plan.key(&node.key);
        if key.is_empty() {
            // The root is there, and has neither an end nor a value.
            return Ok(());
        }
        if event.is_removal() {
            self.leases.note(&node.key, 0);
            return self.remove(&key);
        }
        let ttl = self.left(event);
        self.leases.note(&node.key, ttl);
        if node.dir { self.directory(&key, ttl) } else { self.file(&key, &node.value, ttl) }
    }

    /// Seconds that what an event tells of has to live; 0 without an end. The source may have prolonged it since without another event: it is asked
    /// where what the event knows of might be over before the next look at the source.
    fn left(&self, event: &Event) -> i64 {
        let node = event.node();
        let Some(left) = event.ttl() else { return 0 };
        if left >= node.ttl || left > SHORT_SECONDS {
            return left.max(1);
        }
        match self.source.get(&node.key, Read::default(), Deadline::within(LOOK)) {
            Ok(found) if found.node.ttl > 0 => found.node.ttl,
            // It is gone, or another by now: that comes as an event.
            Ok(_) | Err(Error::Api(_)) => left.max(1),
            // Rather too long than too short: its end comes as an event.
            Err(_) => node.ttl.max(1),
        }
    }

    fn file(&self, key: &str, value: &str, ttl: i64) -> Result<(), Error> {
        let write = Write { value: Some(value.as_bytes().to_vec()), ttl, ..Write::default() };
        self.forced(key, || self.copy.put(key, &write, Deadline::within(PATIENCE)))
    }

    fn directory(&self, key: &str, ttl: i64) -> Result<(), Error> {
        let write = |exists| {
            let condition = Condition { exists, ..Condition::default() };
            Write { ttl, condition, ..Write::default() }
        };
        // An update comes second: of a file it would make an empty file, while the first takes a file's place.
        let make = || self.copy.put(key, &write(None), Deadline::within(PATIENCE));
        let renew = || self.copy.put(key, &write(Some(true)), Deadline::within(PATIENCE));
        self.forced(key, || {
            let is =
                |result: &Result<Response, Error>, code| matches!(result, Err(Error::Api(error)) if error.code == code);
            let first = make();
            let renewed = if is(&first, NOT_A_FILE) { renew() } else { return first };
            // Its time ended in between.
            if is(&renewed, KEY_NOT_FOUND) { make() } else { renewed }
        })
    }

    fn remove(&self, key: &str) -> Result<(), Error> {
        let none = Condition::default();
        match self.send(|| self.copy.delete(key, false, true, &none, Deadline::within(PATIENCE))) {
            Err(Error::Api(error)) if [KEY_NOT_FOUND, NOT_A_DIRECTORY].contains(&error.code) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Removes what is in the way: a directory where a file is to be, a file where a directory is to be.
    fn forced(&self, key: &str, write: impl Fn() -> Result<Response, Error>) -> Result<(), Error> {
        match self.send(&write) {
            Err(Error::Api(error)) if error.code == NOT_A_FILE => self.remove(key)?,
            Err(Error::Api(error)) if error.code == NOT_A_DIRECTORY => self.remove(&error.cause)?,
            other => return other.map(drop),
        }
        self.send(write).map(drop)
    }
}

/// Tries again while nobody can serve: every change may be made twice.
pub(super) fn patiently(send: impl Fn() -> Result<Response, Error>) -> Result<Response, Error> {
    let mut tries = 1;
    loop {
        match send() {
            Err(Error::Cluster(_) | Error::Deadline) if tries < TRIES => {
                std::thread::sleep(Duration::from_millis(500));
                tries += 1;
            }
            other => return other,
        }
    }
}
