//! `user add`, `get`, `list`, `remove`, `grant`, `revoke` and `passwd`.

use super::Call;
use super::auth::connect;
use crate::client::{Auth, Error};
use crate::failed::Failed;
use crate::{prompt, screen, text};

const NAME_MISSING: &str = "Please provide a username";

pub(super) fn list(call: &Call) -> Result<(), Failed> {
    call.no_words()?;
    let client = connect(call)?;
    for name in Auth::new(&client, call.settings.deadline()).users().map_err(Failed::bare)? {
        screen::say(name);
    }
    Ok(())
}

pub(super) fn add(call: &Call) -> Result<(), Failed> {
    let word = call.only_word(NAME_MISSING)?;
    let client = connect(call)?;
    let (name, password) = match word.split_once(':') {
        Some((name, password)) => (name, password.to_owned()),
        None => (word, text::lossy(&prompt::password("New password: ")?)),
    };
    Auth::new(&client, call.settings.deadline()).put_user(name, &password).map_err(Failed::bare)?;
    screen::say(format_args!("User {name} created"));
    Ok(())
}

pub(super) fn get(call: &Call) -> Result<(), Failed> {
    let name = call.only_word(NAME_MISSING)?;
    let client = connect(call)?;
    let user = Auth::new(&client, call.settings.deadline()).user(name).map_err(Failed::bare)?;
    screen::say(format_args!("User: {}", user.name));
    // etcdctl writes one more blank for each role.
    screen::say(format_args!("Roles: {}{}", " ".repeat(user.roles.len()), user.roles.join(" ")));
    Ok(())
}

pub(super) fn remove(call: &Call) -> Result<(), Failed> {
    let name = call.only_word(NAME_MISSING)?;
    let client = connect(call)?;
    Auth::new(&client, call.settings.deadline()).remove_user(name).map_err(Failed::bare)?;
    screen::say(format_args!("User {name} removed"));
    Ok(())
}

pub(super) fn passwd(call: &Call) -> Result<(), Failed> {
    let name = call.only_word(NAME_MISSING)?;
    let client = connect(call)?;
    let password = text::lossy(&prompt::password("New password: ")?);
    Auth::new(&client, call.settings.deadline()).change_password(name, &password).map_err(Failed::bare)?;
    screen::say("Password updated");
    Ok(())
}

/// Grants or revokes roles. A comma stands between two of them: no role that is named `a,b` could be used anyway.
pub(super) fn change_roles(call: &Call, verb: &str) -> Result<(), Failed> {
    let given = call.flags.list("roles");
    let roles: Vec<String> =
        given.iter().flat_map(|list| list.split(',')).filter(|role| !role.is_empty()).map(str::to_owned).collect();
    if roles.is_empty() {
        return Err(Failed::said("No roles specified; please use `--roles`"));
    }
    let name = call.only_word(NAME_MISSING)?;
    let client = connect(call)?;
    let auth = Auth::new(&client, call.settings.deadline());
    auth.user(name).map_err(Failed::bare)?;
    if verb == "grant" {
        all_exist(auth, &roles)?;
    }
    auth.change_user(name, verb, &roles).map_err(Failed::bare)?;
    screen::say(format_args!("User {name} updated"));
    Ok(())
}

/// The server takes roles that do not exist, and refuses everything about the user from then on.
fn all_exist(auth: Auth<'_>, roles: &[String]) -> Result<(), Failed> {
    let known = auth.roles().map_err(Failed::bare)?;
    match roles.iter().find(|role| !known.contains(role)) {
        Some(role) => Err(Failed::bare(Error::Said(format!("auth: Role {role} does not exist.")))),
        None => Ok(()),
    }
}
