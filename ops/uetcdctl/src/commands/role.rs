//! `role add`, `get`, `list`, `remove`, `grant` and `revoke`.

use super::Call;
use super::auth::connect;
use crate::client::{Auth, Paths};
use crate::failed::Failed;
use crate::screen;
use crate::text::clean_path;

const NAME_MISSING: &str = "Please provide a role name";

pub(super) fn list(call: &Call) -> Result<(), Failed> {
    call.no_words()?;
    let client = connect(call)?;
    for name in Auth::new(&client, call.settings.deadline()).roles().map_err(Failed::bare)? {
        screen::say(name);
    }
    Ok(())
}

pub(super) fn add(call: &Call) -> Result<(), Failed> {
    let name = call.only_word(NAME_MISSING)?;
    let client = connect(call)?;
    let auth = Auth::new(&client, call.settings.deadline());
    if auth.role(name).is_ok() {
        return Err(Failed::said(format!("Role {name} already exists")));
    }
    auth.add_role(name).map_err(Failed::bare)?;
    screen::say(format_args!("Role {name} created"));
    Ok(())
}

pub(super) fn get(call: &Call) -> Result<(), Failed> {
    let name = call.only_word(NAME_MISSING)?;
    let client = connect(call)?;
    let role = Auth::new(&client, call.settings.deadline()).role(name).map_err(Failed::bare)?;
    let lines = |paths: &Option<Vec<String>>| {
        paths.iter().flatten().map(|path| format!("\t{path}\n")).collect::<Vec<_>>().concat()
    };
    let Paths { read, write } = &role.permissions.kv;
    screen::say_text(&format!("Role: {}\nKV Read:\n{}KV Write:\n{}", role.name, lines(read), lines(write)));
    Ok(())
}

pub(super) fn remove(call: &Call) -> Result<(), Failed> {
    let name = call.only_word(NAME_MISSING)?;
    let client = connect(call)?;
    Auth::new(&client, call.settings.deadline()).remove_role(name).map_err(Failed::bare)?;
    screen::say(format_args!("Role {name} removed"));
    Ok(())
}

/// Grants or revokes the permissions of one path.
pub(super) fn change_permissions(call: &Call, verb: &str) -> Result<(), Failed> {
    let paths = wanted(call)?;
    let name = call.only_word(NAME_MISSING)?;
    let client = connect(call)?;
    let auth = Auth::new(&client, call.settings.deadline());
    let before = auth.role(name).map_err(Failed::bare)?;
    let after = auth.change_role(name, verb, &paths).map_err(Failed::bare)?;
    if before == after {
        let done = if verb == "grant" { "granted" } else { "revoked" };
        screen::say(format_args!("Role unchanged; already {done}"));
    }
    screen::say(format_args!("Role {name} updated"));
    Ok(())
}

fn wanted(call: &Call) -> Result<Paths, Failed> {
    let path = call.flags.text("path");
    if path.is_empty() {
        return Err(Failed::said("No path specified; please use `--path`"));
    }
    let canonical = clean_path(path);
    if canonical != path {
        return Err(Failed::said(format!("Not canonical path; please use `--path={canonical}`")));
    }
    let path = || Some(vec![path.to_owned()]);
    match ["read", "write", "readwrite"].map(|flag| call.flags.is_set(flag)) {
        [true, false, false] => Ok(Paths { read: path(), write: None }),
        [false, true, false] => Ok(Paths { read: None, write: path() }),
        [false, false, true] => Ok(Paths { read: path(), write: path() }),
        _ => Err(Failed::said("Please specify exactly one of --read, --write or --readwrite")),
    }
}
