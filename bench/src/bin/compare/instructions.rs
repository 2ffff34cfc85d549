//! Instructions for one request. The server itself does not run under valgrind, which knows no `io_uring`; `pure-path` does what a request
//! takes beside its I/O.

use std::path::Path;
use std::time::Duration;

use crate::process::{Output, Process};
use crate::results::{Instructions, Report};
use crate::server::find;
use crate::setup::Setup;

const REQUESTS: [&str; 2] = ["GET", "PUT"];

/// Two runs of so many requests each: their difference leaves out everything that is done once.
const RUNS: [u64; 2] = [2_000, 12_000];

const WITHIN: Duration = Duration::from_mins(2);

pub(crate) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let valgrind = find(Path::new("valgrind")).ok_or("valgrind is missing: apt-get install valgrind")?;
    let own = std::env::current_exe().map_err(|error| format!("where are we? {error}"))?.with_file_name("pure-path");
    let own = find(&own).ok_or_else(|| format!("{} is missing: bench/compare builds it", own.display()))?;
    for request in REQUESTS {
        eprintln!("counting the instructions of a {request}");
        let few = count(setup, &valgrind, &own, request, RUNS[0])?;
        let many = count(setup, &valgrind, &own, request, RUNS[1])?;
        report.instructions.push(Instructions { request, count: each(few, many) });
    }
    Ok(())
}

fn each(few: u64, many: u64) -> u64 {
    many.saturating_sub(few) / (RUNS[1] - RUNS[0])
}

fn count(setup: &Setup, valgrind: &Path, program: &Path, request: &str, times: u64) -> Result<u64, String> {
    let (kind, times, program) = (request.to_lowercase(), times.to_string(), program.to_string_lossy());
    let arguments =
        ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--log-file=counted", &program, &kind, &times];
    let output = Output::Log;
    Process::start(valgrind, arguments, &setup.cpus[..1], setup.dir(), &output)?.finish(WITHIN, &setup.stop)?;
    let path = setup.dir().join("counted");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    collected(&text).ok_or_else(|| "valgrind's output is not as expected".to_owned())
}

/// `==7== Collected : 1234`
fn collected(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_once_does_not_count() {
        assert_eq!(each(1_000_000, 1_000_000 + 10_000 * 321), 321);
        assert_eq!(collected("==7== Events    : Ir\n==7== Collected : 4242\n==7==\n"), Some(4242));
        assert_eq!(collected("==7== Aborted"), None);
    }
}
