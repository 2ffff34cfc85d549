//! `exec-watch`.
//!
//! One thread reads the events, so that a slow command does not make the server forget what was not read yet; commands run one after the other.

use std::io;
use std::process::{Command, Stdio};

use super::Call;
use super::watch::{Events, end_well_on_interrupt, first_index};
use crate::cli::Word;
use crate::client::{Error, Keys, Response};
use crate::failed::{Code, Failed};
use crate::queue::{self, Sender};
use crate::screen;
use crate::text::{os_error, quote};

pub(super) fn run(call: &Call) -> Result<(), Failed> {
    let client = call.settings.connect()?;
    let [key, program, arguments @ ..] = call.words.as_slice() else {
        return Err(Failed::argument("key and command to exec required"));
    };
    end_well_on_interrupt()?;
    let (recursive, from, key) = (call.flags.is_set("recursive"), first_index(call)?, key.clone());
    let (sender, events) = queue::bounded(queue::EVENTS);
    // Nobody waits for this thread: it may sit in a watch for as long as nothing happens.
    std::thread::spawn(move || read(Events::new(Keys::new(&client), key.bytes(), recursive, from), &sender));
    // The reader's last word is an error, which ends this.
    while let Some(event) = events.recv() {
        let event = event.map_err(|error| Failed::error(Code::Server, error))?;
        if event.node.dir {
            screen::complain(&format!("Ignored dir {} change\n", event.node.key));
            continue;
        }
        execute(program, arguments, &event)?;
    }
    Ok(())
}

/// Reads events until none can be read any more, or nobody wants them.
fn read(mut events: Events<'_>, sender: &Sender<Result<Response, Error>>) {
    loop {
        let event = events.next();
        let (last, bytes) = (event.is_err(), event.as_ref().map_or(0, Response::bytes));
        if !sender.send(event, bytes) || last {
            return;
        }
    }
}

/// Runs the command to its end: the order of the runs is that of the events.
fn execute(program: &Word, arguments: &[Word], event: &Response) -> Result<(), Failed> {
    let status = Command::new(program)
        .args(arguments)
        .env("ETCD_WATCH_ACTION", &event.action)
        .env("ETCD_WATCH_MODIFIED_INDEX", event.node.modified_index.to_string())
        .env("ETCD_WATCH_KEY", &event.node.key)
        .env("ETCD_WATCH_VALUE", event.node.value.replace('\0', ""))
        .stdin(Stdio::null())
        .status();
    // What the command makes of the event is its own affair.
    status.map(drop).map_err(|error| not_started(program, &error))
}

/// As etcdctl says it, down to the end of line that is not there.
fn not_started(program: &Word, error: &io::Error) -> Failed {
    let text = if program.is_empty() {
        "exec: no command".to_owned()
    } else if error.kind() == io::ErrorKind::NotFound && !program.contains('/') {
        format!("exec: {}: executable file not found in $PATH", quote(program))
    } else {
        format!("fork/exec {program}: {}", os_error(error))
    };
    Failed { text, ..Failed::silent(Code::BadArguments) }
}
