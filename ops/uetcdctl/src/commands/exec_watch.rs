//! `exec-watch`.

use std::process::Command;

use super::Call;
use super::watch::{Events, end_well_on_interrupt, first_index};
use crate::client::{Keys, Response};
use crate::failed::{Code, Failed};
use crate::screen;

pub(super) fn run(call: &Call) -> Result<(), Failed> {
    let client = call.settings.connect()?;
    let [key, program, arguments @ ..] = call.words.as_slice() else {
        return Err(Failed::argument("key and command to exec required"));
    };
    end_well_on_interrupt()?;
    let mut events = Events::new(Keys::new(&client), key, call.flags.is_set("recursive"), first_index(call)?);
    loop {
        let event = events.next().map_err(|error| Failed::error(Code::Server, error))?;
        if event.node.dir {
            screen::complain(&format!("Ignored dir {} change\n", event.node.key));
            continue;
        }
        execute(program, arguments, &event)?;
    }
}

/// Runs the command to its end: the order of the runs is that of the events. The next ones wait in the server's history meanwhile.
fn execute(program: &str, arguments: &[String], event: &Response) -> Result<(), Failed> {
    let status = Command::new(program)
        .args(arguments)
        .env("ETCD_WATCH_ACTION", &event.action)
        .env("ETCD_WATCH_MODIFIED_INDEX", event.node.modified_index.to_string())
        .env("ETCD_WATCH_KEY", &event.node.key)
        .env("ETCD_WATCH_VALUE", event.node.value.replace('\0', ""))
        .status();
    // What the command makes of the event is its own affair.
    status.map(drop).map_err(|e| Failed::said(format!("{program} can not be started: {e}")))
}
