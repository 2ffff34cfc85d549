//! `rm` and `rmdir`.

use super::Call;
use crate::client::{Condition, Keys};
use crate::failed::{Code, Failed};
use crate::output;

pub(super) fn remove(call: &Call) -> Result<(), Failed> {
    let condition =
        Condition { value: call.flags.bytes("with-value").to_owned(), index: call.index("with-index"), exists: None };
    delete(call, call.flags.is_set("dir"), call.flags.is_set("recursive"), &condition)
}

pub(super) fn remove_dir(call: &Call) -> Result<(), Failed> {
    delete(call, true, false, &Condition::default())
}

fn delete(call: &Call, dir: bool, recursive: bool, condition: &Condition) -> Result<(), Failed> {
    let client = call.settings.connect()?;
    let key = call.key()?;
    let response = Keys::new(&client).once().delete(key, dir, recursive, condition, call.settings.deadline());
    let response = response.map_err(|error| Failed::error(Code::Server, error))?;
    if !response.node.dir || call.settings.output() != "simple" {
        output::key(&response, call.settings.output());
    }
    Ok(())
}
