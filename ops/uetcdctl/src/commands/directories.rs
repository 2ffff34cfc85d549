//! `mkdir`, `setdir` and `updatedir`.

use super::Call;
use crate::client::{Condition, Keys, Write};
use crate::failed::{Code, Failed};

pub(super) fn make(call: &Call) -> Result<(), Failed> {
    put(call, Some(false))
}

pub(super) fn set(call: &Call) -> Result<(), Failed> {
    put(call, None)
}

pub(super) fn update(call: &Call) -> Result<(), Failed> {
    put(call, Some(true))
}

fn put(call: &Call, exists: Option<bool>) -> Result<(), Failed> {
    let client = call.settings.connect()?;
    let key = call.key()?;
    let condition = Condition { exists, ..Condition::default() };
    let write = Write { ttl: call.flags.int("ttl"), condition, ..Write::default() };
    let done = Keys::new(&client).put(key, &write, call.settings.deadline());
    done.map(drop).map_err(|error| Failed::error(Code::Server, error))
}
