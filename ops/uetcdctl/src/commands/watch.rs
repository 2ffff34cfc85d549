//! `watch`, and the walk from one event to the next that `exec-watch` shares with it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGINT;

use super::Call;
use crate::client::{Error, Keys, Response};
use crate::failed::{Code, Failed};
use crate::{output, screen};

pub(super) fn run(call: &Call) -> Result<(), Failed> {
    let client = call.settings.connect()?;
    let key = call.key()?;
    let recursive = call.flags.is_set("recursive");
    end_well_on_interrupt()?;
    let mut events = Events::new(Keys::new(&client), key.bytes(), recursive, first_index(call)?);
    loop {
        let event = events.next().map_err(|error| Failed::error(Code::Server, error))?;
        if event.node.dir {
            continue;
        }
        if recursive {
            screen::say(format_args!("[{}] {}", event.action, event.node.key));
        }
        output::key(&event, call.settings.output());
        if !call.flags.is_set("forever") {
            return Ok(());
        }
    }
}

/// Where to begin: `--after-index` names the last event that is known, `--since` the first that is not; 0 stands for the next one.
pub(super) fn first_index(call: &Call) -> Result<u64, Failed> {
    let (after, since) = (call.index("after-index"), call.index("since"));
    if after != 0 && since != 0 {
        return Err(Failed::argument("either --after-index or --since, not both"));
    }
    Ok(if after == 0 { since } else { after.wrapping_add(1) })
}

/// SIGINT is how a watch is meant to end: exit status 0.
pub(super) fn end_well_on_interrupt() -> Result<(), Failed> {
    let always = Arc::new(AtomicBool::new(true));
    let registered = signal_hook::flag::register_conditional_shutdown(SIGINT, 0, always);
    registered.map(drop).map_err(|e| Failed::said(format!("SIGINT can not be caught: {e}")))
}

/// The events of a key, none left out.
pub(super) struct Events<'a> {
    keys: Keys<'a>,
    key: &'a [u8],
    recursive: bool,
    /// Lowest index of the event to wait for; 0 for whichever comes.
    from: u64,
}

impl<'a> Events<'a> {
    pub(super) fn new(keys: Keys<'a>, key: &'a [u8], recursive: bool, from: u64) -> Self {
        Self { keys, key, recursive, from }
    }

    /// Waits for the next event.
    pub(super) fn next(&mut self) -> Result<Response, Error> {
        let event = self.keys.wait(self.key, self.recursive, self.from)?;
        self.from = event.node.modified_index + 1;
        Ok(event)
    }
}
