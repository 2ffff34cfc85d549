//! What stored keys cost: each server anew, empty and with all keys.

use std::time::Duration;

use crate::goals::{Judged, Verdict};
use crate::progress::Progress;
use crate::results::{Memory, Report};
use crate::server::Server;
use crate::setup::Setup;
use crate::stats::Spread;
use crate::who::Who;

/// Time for a garbage collection, and for a snapshot to end.
const SETTLE: Duration = Duration::from_secs(5);

/// Top-level directories that the keys are spread over.
const DIRECTORIES: u64 = 1000;

/// What uetcd may take of what etcd takes.
const SHARE_MAX: f64 = 1.0 / 3.0;

/// As many events as etcd keeps, over all shards. uetcd keeps more unless told otherwise.
const HISTORY_OF_ETCD: &[&str] = &["--history-events", "64"];

pub(crate) fn run(setup: &Setup, keys: u64, report: &mut Report) -> Result<(), String> {
    let other = setup.other.as_ref().map_or(Who::Etcd, |(who, _)| *who);
    let mut progress = Progress::new(3);
    let mut measure = |name: &str, start: &dyn Fn() -> Result<Option<Server>, String>| {
        progress.step(&format!("memory with {keys} keys, {name}"));
        let Some(server) = start()? else { return Ok(()) };
        report.memory.push(fill(setup, &server, name, keys)?);
        Ok::<_, String>(())
    };
    let cpu = &setup.cpus[..1];
    measure("uetcd", &|| setup.start_uetcd(cpu, &[]).map(Some))?;
    measure("uetcd with etcd's history (--history-events 64)", &|| setup.start_uetcd(cpu, HISTORY_OF_ETCD).map(Some))?;
    measure(other.name(), &|| setup.start_other(other))?;
    if other == Who::Etcd {
        report.memory_goals = judge(&report.memory);
    }
    Ok(())
}

fn fill(setup: &Setup, server: &Server, name: &str, keys: u64) -> Result<Memory, String> {
    let (empty_bytes, _) = server.process.resident()?;
    setup.lone_client(1.0)?.fill(keys, DIRECTORIES, server)?;
    setup.stop.rest(SETTLE)?;
    let (full_bytes, peak_bytes) = server.process.resident()?;
    Ok(Memory { server: name.to_owned(), keys, empty_bytes, full_bytes, peak_bytes })
}

/// uetcd's memory as a share of the last one's, which is etcd's.
fn judge(memory: &[Memory]) -> Vec<Judged> {
    let Some((etcd, own)) = memory.split_last() else { return Vec::new() };
    let judged = own.iter().map(|own| {
        let share = own.full_bytes as f64 / etcd.full_bytes as f64;
        let goal = format!("{} with {} keys ≤ 1/3 of etcd", own.server, own.keys);
        let measured = Spread::of([share]);
        Judged { goal, measured, verdict: Verdict::of(measured.map(|spread| spread.median <= SHARE_MAX)) }
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(full_bytes: u64) -> Memory {
        Memory { server: "x".to_owned(), keys: 1, empty_bytes: 0, full_bytes, peak_bytes: 0 }
    }

    #[test]
    fn a_third_is_enough_and_more_is_not() {
        let verdicts =
            |own| judge(&[memory(own), memory(300)]).into_iter().map(|judged| judged.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(100), [Verdict::Met]);
        assert_eq!(verdicts(101), [Verdict::NotMet]);
        assert!(judge(&[memory(1)]).is_empty() && judge(&[]).is_empty());
    }
}
