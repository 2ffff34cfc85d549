//! The comparison itself: every load on every server, round after round.

use std::time::Duration;

use crate::client::Clients;
use crate::disk::Disk;
use crate::loads::Load;
use crate::process::on_cpu;
use crate::progress::Progress;
use crate::results::{LoadResult, Report};
use crate::server::Server;
use crate::setup::Setup;
use crate::stats::median;
use crate::who::Who;

/// The disk is measured before and after the load, for so long each time.
const DISK_TIME_MAX: Duration = Duration::from_secs(1);

/// Descriptors that a server or a client needs for other things than connections.
const OWN_FILES: u64 = 500;

struct Rounds<'a> {
    clients: Clients<'a>,
    servers: Vec<Server>,
    disk: Option<Disk>,
    disk_time: Duration,
    server_cpu: usize,
    progress: Progress,
}

/// Measures `loads`, and puts what came out into `report`.
pub(crate) fn run(setup: &Setup, loads: &[Load], rounds: u32, report: &mut Report) -> Result<(), String> {
    let loads = possible(setup, loads, report);
    if loads.is_empty() {
        return Ok(());
    }
    let mut results: Vec<LoadResult> = loads.iter().map(LoadResult::new).collect();
    let mut bench = Rounds::prepare(setup, &loads, rounds, report)?;
    for round in 1..=rounds {
        for (load, result) in loads.iter().zip(&mut results) {
            bench.measure(load, result, &format!("round {round} of {rounds}: {}", load.name))?;
        }
    }
    for (load, result) in loads.iter().zip(&mut results) {
        // Against another build there are no promises.
        if !result.samples.contains_key(&Who::Other) {
            result.goals = load.goals.iter().map(|goal| goal.judge(result)).collect();
        }
    }
    report.loads = results;
    Ok(())
}

/// The loads for which there are enough descriptors.
fn possible(setup: &Setup, loads: &[Load], report: &mut Report) -> Vec<Load> {
    let fits = |load: &Load| u64::from(load.connections) + u64::from(load.watchers) + OWN_FILES <= setup.open_files;
    for load in loads.iter().filter(|load| !fits(load)) {
        report.left_out.push(format!("{}: only {} open files are allowed (ulimit -Hn)", load.name, setup.open_files));
    }
    loads.iter().filter(|load| fits(load)).cloned().collect()
}

impl<'a> Rounds<'a> {
    fn prepare(setup: &'a Setup, loads: &[Load], rounds: u32, report: &mut Report) -> Result<Self, String> {
        let clients = setup.lone_client(report.seconds)?;
        let other = setup.other.as_ref().map_or(Who::Etcd, |(who, _)| *who);
        let all = [Who::Uetcd, Who::Polling, other, Who::Responder, Who::DurableResponder, Who::Redis];
        // Two builds are compared as they are told to be.
        let is_wanted = |who| who != Who::Polling || other != Who::Other;
        let needed = all.into_iter().filter(|&who| is_wanted(who) && loads.iter().any(|load| applies(load, who)));
        let mut servers = Vec::new();
        for who in needed {
            match setup.start_other(who)? {
                Some(mut server) => {
                    // One at a time: the next one starts on the same CPU.
                    server.process.halt()?;
                    servers.push(server);
                }
                None if who == Who::Redis => {
                    report.left_out.push("Redis: redis-server or redis-benchmark is not installed".to_owned());
                }
                None => {}
            }
        }
        let disk = loads.iter().any(|load| load.disk).then(|| Disk::in_dir(setup.dir())).transpose()?;
        let runs = |load: &Load| servers.iter().filter(|server| applies(load, server.who)).count();
        let progress = Progress::new(loads.iter().map(runs).sum::<usize>() * rounds as usize);
        let disk_time = Duration::from_secs_f64(report.seconds / 2.0).min(DISK_TIME_MAX);
        Ok(Self { clients, servers, disk, disk_time, server_cpu: setup.cpus[0], progress })
    }

    /// One load on every server that it applies to, in turn. All servers are halted before and after.
    fn measure(&mut self, load: &Load, result: &mut LoadResult, what: &str) -> Result<(), String> {
        for number in 0..self.servers.len() {
            let who = self.servers[number].who;
            if !applies(load, who) {
                continue;
            }
            self.progress.step(&format!("{what}, {}", who.name()));
            let mut waits = Vec::new();
            let beside_disk = load.disk && matches!(who, Who::Uetcd | Who::Polling);
            if beside_disk {
                waits.extend(self.disk()?);
            }
            let server = &mut self.servers[number];
            server.wake(self.clients.stop)?;
            // Keys stay, so this writes them over from the second round on; that is outside of what is measured.
            self.clients.prefill(load, server)?;
            let sample = self.clients.measure(load, server);
            let sample = sample.map_err(|error| format!("{} on {}: {error}", load.name, who.name()))?;
            server.process.halt()?;
            result.add(who, sample);
            if beside_disk {
                waits.extend(self.disk()?);
                result.disk_p50_us.entry(who).or_default().extend(median(waits));
            }
        }
        Ok(())
    }

    fn disk(&mut self) -> Result<Vec<f64>, String> {
        match &mut self.disk {
            // Where the servers are: a CPU that does not take the disk's interrupts hears of a write later.
            Some(disk) => on_cpu(self.server_cpu, || disk.measure(self.disk_time, self.clients.stop))?,
            None => Ok(Vec::new()),
        }
    }
}

fn applies(load: &Load, who: Who) -> bool {
    match who {
        Who::Uetcd | Who::Etcd | Who::Other => true,
        Who::Polling | Who::Responder | Who::DurableResponder | Who::Redis => load.also.contains(&who),
    }
}
