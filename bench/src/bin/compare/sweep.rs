//! One executor, two, four ...: put and get with uetcd on the first CPUs, and the load generator on the rest.

use crate::loads::Load;
use crate::progress::Progress;
use crate::results::{Report, SweepPoint};
use crate::server::Server;
use crate::setup::Setup;

const WORKLOADS: [&str; 2] = ["put", "get"];

/// Of the load generator: enough that it is not what is measured, and not more threads than connections.
const THREADS_PER_EXECUTOR: usize = 2;

/// Where the load generator goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// It has the CPUs behind the server's.
    Own,
    /// There are none left: it shares all of them with the server.
    Shared,
    /// Not even the executors have a CPU each.
    None,
}

fn room(executors: usize, cpus: usize) -> Room {
    match cpus.checked_sub(executors) {
        Some(0) => Room::Shared,
        Some(_) => Room::Own,
        None => Room::None,
    }
}

pub(crate) fn run(
    setup: &Setup,
    cores: &[usize],
    connections: u32,
    rounds: u32,
    report: &mut Report,
) -> Result<(), String> {
    let count = setup.cpus.len();
    let mut servers: Vec<(usize, Server)> = Vec::new();
    for &executors in cores {
        if executors == 0 {
            return Err("--cores: no server works without an executor".to_owned());
        }
        if room(executors, count) == Room::None {
            report.left_out.push(format!("{executors} executors: this machine has {count} CPUs"));
            continue;
        }
        let mut server = setup.start_uetcd(&setup.cpus[..executors], &[])?;
        server.process.halt()?;
        servers.push((executors, server));
    }
    report.sweep = WORKLOADS
        .iter()
        .flat_map(|&workload| servers.iter().map(move |&(executors, _)| (workload, executors)))
        .map(|(workload, executors)| SweepPoint {
            workload,
            executors,
            connections: connections.saturating_mul(executors as u32),
            shared: room(executors, count) == Room::Shared,
            rates: Vec::new(),
            cpu_us: Vec::new(),
            client: Vec::new(),
            others: Vec::new(),
        })
        .collect();
    let (points, mut progress) = (servers.len(), Progress::new(report.sweep.len() * rounds as usize));
    for round in 1..=rounds {
        // Points are in the order of workloads and servers.
        for (number, point) in report.sweep.iter_mut().enumerate() {
            let (executors, server) = &mut servers[number % points];
            progress.step(&format!("round {round} of {rounds}: {} with {executors} executor(s)", point.workload));
            measure(setup, server, point, report.seconds)?;
        }
    }
    Ok(())
}

fn measure(setup: &Setup, server: &mut Server, point: &mut SweepPoint, seconds: f64) -> Result<(), String> {
    let cpus = if point.shared { &setup.cpus[..] } else { &setup.cpus[point.executors..] };
    let count = cpus.len().min(point.executors * THREADS_PER_EXECUTOR);
    let clients = setup.clients(&cpus[..count], seconds);
    let load = Load { connections: point.connections, ..Load::parse(&format!("{}-64", point.workload))? };
    server.wake(&setup.stop)?;
    clients.prefill(&load, server)?;
    let sample = clients.measure(&load, server)?;
    server.process.halt()?;
    point.rates.push(sample.rate);
    point.cpu_us.push(sample.cpu_us);
    point.client.push(sample.client);
    point.others.push(sample.others);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_generator_needs_room() {
        let rooms: Vec<Room> = [1, 2, 4].into_iter().map(|executors| room(executors, 2)).collect();
        assert_eq!(rooms, [Room::Own, Room::Shared, Room::None]);
    }
}
