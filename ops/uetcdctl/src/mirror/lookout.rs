//! Looks now and then, and when something is suspected, whether source and copy still are what they were.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Plan;
use super::identity::{self, Place};
use super::mark::Mark;
use super::state::{Kept, State};
use crate::client::{Client, Error};

/// Between two looks, whatever is suspected.
const PAUSE: Duration = Duration::from_secs(1);
/// So much longer while nothing is.
const QUIET: Duration = Duration::from_secs(4);

/// When to look, and what has come out.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// Counts what was followed one after the other, so that a look that took long concerns no other.
    round: u64,
    /// Whether something is followed at the moment.
    follows: bool,
    /// Why everything has to be compared again.
    alarm: Option<String>,
    suspected: bool,
    closed: bool,
}

impl Lookout {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, source and copy have to be what the state says.
    pub(super) fn begin(&self) {
        let mut inner = self.lock();
        inner.round += 1;
        inner.follows = true;
        inner.alarm = None;
        drop(inner);
        // They may have begun anew while everything was compared.
        self.suspect();
    }

    /// Nothing is followed any more.
    pub(super) fn end(&self) {
        self.lock().follows = false;
    }

    /// Something has happened that a new beginning may have been the reason for.
    pub(super) fn suspect(&self) {
        self.lock().suspected = true;
        self.changed.notify_all();
    }

    /// Why everything has to be compared again, if it has to be.
    pub(super) fn alarm(&self) -> Option<String> {
        self.lock().alarm.take()
    }

    /// Ends `keep_watch`.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits until it is time to look. The round, and whether something is suspected; `None` at the end.
    fn next(&self) -> Option<(u64, bool)> {
        loop {
            let pause = self.changed.wait_timeout_while(self.lock(), PAUSE, |inner| !inner.closed);
            let (inner, _) = pause.unwrap_or_else(PoisonError::into_inner);
            let is_quiet = |inner: &mut Inner| !inner.closed && !inner.suspected;
            let rest = self.changed.wait_timeout_while(inner, QUIET, is_quiet);
            let (mut inner, _) = rest.unwrap_or_else(PoisonError::into_inner);
            if inner.closed {
                return None;
            }
            let suspected = std::mem::take(&mut inner.suspected);
            if inner.follows {
                return Some((inner.round, suspected));
            }
        }
    }

    /// Takes what a look has found, unless something else is followed by now.
    fn conclude(&self, round: u64, found: Result<Found, Error>, state: &State) {
        let mut inner = self.lock();
        if inner.round != round || !inner.follows {
            return;
        }
        match found {
            Ok(Found::Same(kept)) => {
                let is_news = state.prove(&kept.life, kept.mark);
                drop(inner);
                if is_news {
                    // Best effort: the next event saves as well, and says what fails.
                    let _ = state.save();
                }
            }
            Ok(Found::Another(which)) => {
                inner.follows = false;
                inner.alarm = Some(format!("the {which} is not what it was"));
            }
            // Somebody is away: that is the moment to be watchful.
            Err(_) => inner.suspected = true,
        }
    }
}

enum Found {
    /// Both are what they were; by what they will be known from now on.
    Same(Box<Kept>),
    Another(&'static str),
}

/// Looks until the lookout is closed.
pub(super) fn keep_watch(plan: &Plan, source: &Client, copy: &Client, lookout: &Lookout, state: &State) {
    while let Some((round, suspected)) = lookout.next() {
        if let Some(kept) = state.kept() {
            lookout.conclude(round, look(plan, source, copy, kept, suspected), state);
        }
    }
}

fn look(plan: &Plan, source: &Client, copy: &Client, mut kept: Kept, suspected: bool) -> Result<Found, Error> {
    if !kept.life.goes_on(source, &plan.from, &kept.source, suspected)? {
        return Ok(Found::Another("source"));
    }
    if !is_same_copy(plan, copy, &kept.copy, &mut kept.mark)? {
        return Ok(Found::Another("copy"));
    }
    Ok(Found::Same(Box::new(kept)))
}

/// Without a mark, only an index that has gone back tells.
fn is_same_copy(plan: &Plan, copy: &Client, place: &Place, mark: &mut Option<Mark>) -> Result<bool, Error> {
    match mark {
        Some(mark) => mark.renew(copy, place.index),
        None => identity::is_beyond(copy, &plan.to, place),
    }
}
