//! `set`, `mk` and `update`.

use std::io::Read as _;

use super::Call;
use crate::cli::Word;
use crate::client::{Condition, Error, Keys, Response, Write};
use crate::failed::{Code, Failed};
use crate::output;

pub(super) fn set(call: &Call) -> Result<(), Failed> {
    let condition = Condition {
        value: call.flags.bytes("swap-with-value").to_owned(),
        index: call.index("swap-with-index"),
        exists: None,
    };
    write(call, |keys, key, write| keys.put(key, &Write { condition, ..write }, call.settings.deadline()))
}

pub(super) fn make(call: &Call) -> Result<(), Failed> {
    write(call, |keys, key, write| {
        if call.flags.is_set("in-order") {
            return keys.post(key, &write, call.settings.deadline());
        }
        let condition = Condition { exists: Some(false), ..Condition::default() };
        keys.once().put(key, &Write { condition, ..write }, call.settings.deadline())
    })
}

pub(super) fn update(call: &Call) -> Result<(), Failed> {
    let condition = Condition { exists: Some(true), ..Condition::default() };
    write(call, |keys, key, write| keys.put(key, &Write { condition, ..write }, call.settings.deadline()))
}

fn write(call: &Call, send: impl FnOnce(Keys<'_>, &Word, Write) -> Result<Response, Error>) -> Result<(), Failed> {
    let client = call.settings.connect()?;
    let key = call.key()?;
    let value = value(call)?;
    let write = Write { value: Some(value), ttl: call.flags.int("ttl"), ..Write::default() };
    let response = send(Keys::new(&client), key, write).map_err(|error| Failed::error(Code::Server, error))?;
    output::key(&response, call.settings.output());
    Ok(())
}

/// The second word, else all of standard input.
fn value(call: &Call) -> Result<Vec<u8>, Failed> {
    if let Some(value) = call.words.get(1) {
        return Ok(value.bytes().to_owned());
    }
    let mut value = Vec::new();
    match std::io::stdin().lock().read_to_end(&mut value) {
        Ok(_) if !value.is_empty() => Ok(value),
        _ => Err(Failed::argument("value required")),
    }
}
