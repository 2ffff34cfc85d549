//! `uetcdctl`: the command line for uetcd, and for any other etcd v2 server. Called `etcdctl`, it stands in for etcd's own.
//!
//! `cli` reads the command line, `settings` turns flags and environment into a `client`, and `commands` has a module for each command.

mod cli;
mod client;
mod commands;
mod failed;
mod mirror;
mod output;
mod parallel;
mod prompt;
mod queue;
mod screen;
mod settings;
mod text;

use std::process::ExitCode;

use cli::{Manner, Word};

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let manner = Manner::of(&words.next().unwrap_or_default().to_string_lossy());
    let call = match cli::parse(manner, &words.map(Word::from).collect::<Vec<_>>()) {
        Ok(call) => call,
        Err(answer) => {
            screen::say_text(&answer.out);
            screen::complain(&answer.err);
            return ExitCode::from(answer.code);
        }
    };
    match commands::run(call) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            screen::complain(&failed.text);
            if let Some(hint) = failed.hint().filter(|_| manner == Manner::Own) {
                screen::complain(&format!("hint: {hint}\n"));
            }
            ExitCode::from(failed.code as u8)
        }
    }
}
