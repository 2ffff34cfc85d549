//! A hidden key in the copy that tells whether it still is what was written to.
//!
//! A copy that begins anew has no such key. One that came back from a backup has an older one: the mark is set again, in place of the last one,
//! whenever something was written since.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::apply::patiently;
use super::identity::KEY_NOT_FOUND;
use crate::client::{Client, Condition, Deadline, Error, Keys, Read, Write};

const PATIENCE: Duration = Duration::from_secs(20);
/// Where the next run does not know of it, it does not stay for ever.
const SECONDS: i64 = 3600;

const COMPARE_FAILED: u64 = 101;
/// A file stands where its directory was.
const NOT_A_DIRECTORY: u64 = 104;

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Mark {
    key: String,
    /// When it was set.
    index: u64,
    /// Not kept: a mark that another process has set has no end.
    #[serde(skip)]
    ends: Option<Instant>,
}

impl Mark {
    /// Sets a mark, the last one again if there is one; `None` where this user may not. One `for_good` has no end.
    pub(super) fn set(
        copy: &Client,
        directories: &[&str],
        last: Option<Self>,
        for_good: bool,
    ) -> Result<Option<Self>, Error> {
        let name = format!("_uetcdctl-mirror/{:016x}", fastrand::u64(..));
        let keys = directories.iter().map(|directory| format!("{directory}/{name}"));
        let is_beside = |key: &String| directories.contains(&key.rsplitn(3, '/').last().unwrap_or_default());
        for key in last.map(|mark| mark.key).filter(is_beside).into_iter().chain(keys) {
            let (write, ends) = writing(for_good, Condition::default());
            match patiently(|| Keys::new(copy).put(&key, &write, Deadline::within(PATIENCE))) {
                Ok(made) => return Ok(Some(Self { key, index: made.node.modified_index, ends })),
                Err(Error::Api(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether it is there as it was set.
    pub(super) fn stands(&self, copy: &Client) -> Result<bool, Error> {
        Ok(self.look(copy)?.is_some_and(|(index, _)| index == self.index))
    }

    /// As `stands`, and sets it again if the copy has got beyond it.
    pub(super) fn renew(&mut self, copy: &Client, copy_index: u64) -> Result<bool, Error> {
        let ends_soon = |ends: Instant| ends < Instant::now() + Duration::from_secs(SECONDS.unsigned_abs() / 2);
        if copy_index <= self.index && !self.ends.is_some_and(ends_soon) {
            return self.stands(copy);
        }
        let condition = Condition { index: self.index, ..Condition::default() };
        let (write, ends) = writing(self.ends.is_none(), condition);
        let index = match Keys::new(copy).put(&self.key, &write, Deadline::within(PATIENCE)) {
            Ok(made) => Some(made.node.modified_index),
            // It may have met itself: the answer to a first try got lost.
            Err(Error::Api(error)) if [KEY_NOT_FOUND, COMPARE_FAILED, NOT_A_DIRECTORY].contains(&error.code) => self
                .look(copy)?
                .filter(|(_, value)| Some(value.as_bytes()) == write.value.as_deref())
                .map(|(index, _)| index),
            Err(error) => return Err(error),
        };
        if let Some(index) = index {
            *self = Self { index, ends, ..std::mem::take(self) };
        }
        Ok(index.is_some())
    }

    /// Its index and its value, if it is there.
    fn look(&self, copy: &Client) -> Result<Option<(u64, String)>, Error> {
        let how = Read { quorum: true, ..Read::default() };
        match Keys::new(copy).get(&self.key, how, Deadline::within(PATIENCE)) {
            Ok(found) => Ok(Some((found.node.modified_index, found.node.value))),
            Err(Error::Api(error)) if [KEY_NOT_FOUND, NOT_A_DIRECTORY].contains(&error.code) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The value is another one every time.
fn writing(for_good: bool, condition: Condition) -> (Write, Option<Instant>) {
    let ttl = if for_good { 0 } else { SECONDS };
    let ends = Instant::now() + Duration::from_secs(SECONDS.unsigned_abs());
    let value = Some(format!("{:016x}", fastrand::u64(..)).into_bytes());
    (Write { value, ttl, condition, ..Write::default() }, (!for_good).then_some(ends))
}
