//! `auth enable` and `auth disable`, and how all commands of authentication begin.

use super::Call;
use crate::client::{Auth, Client};
use crate::failed::Failed;
use crate::screen;

/// etcdctl names the endpoints twice here under `--debug`.
pub(super) fn connect(call: &Call) -> Result<Client, Failed> {
    let client = call.settings.connect()?;
    call.settings.show_endpoints(&client);
    Ok(client)
}

pub(super) fn switch(call: &Call, on: bool) -> Result<(), Failed> {
    call.no_words()?;
    let client = connect(call)?;
    Auth::new(&client, call.settings.deadline()).switch(on).map_err(Failed::bare)?;
    screen::say(if on { "Authentication Enabled" } else { "Authentication Disabled" });
    Ok(())
}
