//! Compares uetcd with etcd and others: the same loads, in turn, on the same core and disk. `--help` says what there is.
//!
//! The main path: [`cli`] says what is wanted, [`setup`] finds programs and CPUs, [`rounds`], [`memory`], [`growth`] and [`sweep`] measure
//! through [`server`] and [`client`], watched by [`usage`], [`goals`] judges, [`sections`] makes tables for [`text`] and [`markdown`].
//! Servers are killed and data is removed when their owners go, on every way out; after a crash of ours the kernel kills them.

mod cli;
mod setup;
mod stop;

mod loads;
mod who;

mod client;
mod disk;
mod process;
mod server;
mod usage;

mod growth;
mod instructions;
mod memory;
mod rounds;
mod sweep;

mod goals;
mod results;
mod stats;

mod machine;
mod markdown;
mod plot;
mod progress;
mod sections;
mod text;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use time::OffsetDateTime;

use cli::{Options, Wanted};
use results::Report;
use setup::{Needs, Setup};
use stop::Stop;
use who::Who;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let wanted = options.wanted()?;
    let is_sweep = !options.cores.is_empty();
    let needs = Needs {
        other: !is_sweep && (!wanted.loads.is_empty() || wanted.memory),
        responder: !is_sweep && wanted.loads.iter().any(|load| load.also.contains(&Who::Responder)),
    };
    let setup = Setup::new(options, &needs, Stop::on_signals()?)?;
    let mut report = Report {
        command: command(),
        date: OffsetDateTime::now_utc().date().to_string(),
        machine: machine::facts(&setup),
        rounds: options.rounds as usize,
        seconds: options.seconds,
        ..Report::default()
    };
    if is_sweep {
        sweep::run(&setup, &options.cores, options.connections, options.rounds, &mut report)?;
        write(&options.svg, &plot::render(&report))?;
    } else {
        compare(options, &wanted, &setup, &mut report)?;
    }
    print!("{}", text::render(&report));
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        write(path, &(text + "\n"))?;
    }
    if let Some(path) = &options.markdown {
        write(path, &markdown::render(&report))?;
    }
    Ok(())
}

fn compare(options: &Options, wanted: &Wanted, setup: &Setup, report: &mut Report) -> Result<(), String> {
    if options.instructions {
        instructions::run(setup, report)?;
    }
    rounds::run(setup, &wanted.loads, options.rounds, report)?;
    if wanted.memory {
        memory::run(setup, options.keys(), report)?;
    }
    if wanted.growth {
        growth::run(setup, options.keys(), options.rounds, report)?;
    }
    Ok(())
}

/// What one would type to have the same again.
fn command() -> String {
    let arguments = std::env::args()
        .skip(1)
        .map(|argument| if argument.is_empty() || argument.contains(' ') { format!("'{argument}'") } else { argument });
    std::iter::once("bench/compare".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
