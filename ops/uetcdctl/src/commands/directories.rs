//! `mkdir`, `setdir` and `updatedir`.

use super::Call;
use crate::client::{Condition, Keys, Write};
use crate::failed::{Code, Failed};
use crate::output;

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
    let keys = Keys::new(&client);
    let keys = if exists == Some(false) { keys.once() } else { keys };
    let done = keys.put(key, &write, call.settings.deadline());
    let response = done.map_err(|error| Failed::error(Code::Server, error))?;
    if call.settings.output() != "simple" {
        output::key(&response, call.settings.output());
    }
    Ok(())
}
