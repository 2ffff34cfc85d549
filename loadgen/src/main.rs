//! `uetcd-loadgen`: drives any etcd v2 server, checks every answer, and reports rates and latencies.
//!
//! `cli` → `plan` say what a run does. `run` starts the threads (`executor`) and puts together what they measure; each
//! `driver` takes one connection through a `script`, at the times of its `pace`. `fanout` watches. `sweep` runs at one rate
//! after the other, `report` shows what came out.

mod cli;
mod mix;
mod plan;
mod random;

mod keys;
mod value;

mod http;
mod op;
mod order;
mod script;

mod fanout;

mod connection;
mod control;
mod driver;
mod executor;
mod local;
mod pace;
mod record;
mod seat;

mod failure;
mod limits;
mod progress;
mod report;
#[path = "../../server/src/ring.rs"]
mod ring;
mod run;
#[path = "../../server/src/slice.rs"]
mod slice;
mod sweep;
mod timeline;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser as _;

use cli::Options;
use plan::Plan;
use progress::Progress;
use report::Report;

fn main() -> ExitCode {
    let options = Options::parse();
    let plan = match Plan::new(&options) {
        Ok(plan) => Arc::new(plan),
        Err(text) => return fail(&text, 2),
    };
    limits::raise_descriptors();
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second one ends the process at once.
        let both = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)));
        if let Err(error) = both {
            return fail(&format!("signals cannot be handled: {error}"), 1);
        }
    }
    let report = match measure(&plan, &interrupted, Progress::new(options.progress)) {
        Ok(report) => report,
        Err(failure) => return fail(&failure.to_string(), 1),
    };
    match report.write(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(&text, 1),
    }
}

fn measure(plan: &Arc<Plan>, interrupted: &AtomicBool, progress: Progress) -> Result<Report, failure::Failure> {
    if let Some(sweep) = plan.sweep {
        let swept = sweep::run(plan, sweep, interrupted, progress)?;
        return Ok(Report::of_sweep(plan, swept));
    }
    Ok(Report::of_run(plan, run::run(plan, interrupted, progress)?))
}

fn fail(text: &str, status: u8) -> ExitCode {
    eprintln!("uetcd-loadgen: {text}");
    ExitCode::from(status)
}
