//! How the cost of a request grows with what is stored: three servers of uetcd, each with its own number of keys, in turn.

use crate::goals::Judged;
use crate::loads::Load;
use crate::progress::Progress;
use crate::results::{Growth, Report};
use crate::server::Server;
use crate::setup::Setup;
use crate::stats::Spread;

/// The rate must stay above this share of that with few keys.
const SHARE_MIN: f64 = 0.85;

const FEW_KEYS: u64 = 1000;
const MANY_DIRECTORIES: u64 = 10_000;

const WORKLOADS: [&str; 2] = ["put", "get"];

pub(crate) fn run(setup: &Setup, keys: u64, rounds: u32, report: &mut Report) -> Result<(), String> {
    let sizes = [(FEW_KEYS, 1), (keys, 1), (keys, MANY_DIRECTORIES.min(keys))];
    let clients = setup.lone_client(report.seconds)?;
    let mut progress = Progress::new(sizes.len() + WORKLOADS.len() * sizes.len() * rounds as usize);
    let mut servers: Vec<Server> = Vec::new();
    for (keys, directories) in sizes {
        progress.step(&format!("growth: writing {keys} keys in {}", self::directories(directories)));
        let mut server = setup.start_uetcd(&setup.cpus[..1], &[])?;
        clients.fill(keys, directories, &server)?;
        server.process.halt()?;
        servers.push(server);
    }
    report.growth = WORKLOADS
        .iter()
        .flat_map(|&workload| sizes.map(|(keys, directories)| growth(workload, keys, directories)))
        .collect();
    for round in 1..=rounds {
        // Results are in the order of workloads and servers.
        for (number, result) in report.growth.iter_mut().enumerate() {
            let server = &mut servers[number % sizes.len()];
            progress.step(&format!("round {round} of {rounds}: growth, {} of {} keys", result.workload, result.keys));
            server.wake(&setup.stop)?;
            let load = Load::parse(&format!("{}-64", result.workload))?;
            let load = Load { keys: Some(result.keys), directories: Some(result.directories), ..load };
            let sample = clients.measure(&load, server)?;
            server.process.halt()?;
            result.rates.push(sample.rate);
            result.cpu_us.push(sample.cpu_us);
            result.others.push(sample.others);
        }
    }
    report.growth_goals = report.growth.chunks(sizes.len()).flat_map(judge).collect();
    Ok(())
}

fn growth(workload: &'static str, keys: u64, directories: u64) -> Growth {
    Growth { workload, keys, directories, rates: Vec::new(), cpu_us: Vec::new(), others: Vec::new() }
}

/// One workload; the first one is what the others are compared with.
fn judge(growth: &[Growth]) -> Vec<Judged> {
    let Some((few, more)) = growth.split_first() else { return Vec::new() };
    let judged = more.iter().map(|many| {
        let goal = format!(
            "{} with {} keys in {} ≥ {:.0} % of the rate with {}",
            many.workload.to_uppercase(),
            many.keys,
            directories(many.directories),
            SHARE_MIN * 100.0,
            few.keys
        );
        Judged::at_least(goal, Spread::of_ratios(&many.rates, &few.rates), SHARE_MIN)
    });
    judged.collect()
}

pub(crate) fn directories(number: u64) -> String {
    if number == 1 { "one directory".to_owned() } else { format!("{number} directories") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goals::Verdict;

    #[test]
    fn rates_are_compared_with_those_of_few_keys() {
        let of = |keys, rates: &[f64]| Growth { rates: rates.to_vec(), ..growth("put", keys, 1) };
        let judged = judge(&[of(1000, &[100.0, 110.0]), of(9000, &[90.0, 99.0]), of(9000, &[80.0, 80.0])]);
        assert_eq!(judged.iter().map(|judged| judged.verdict).collect::<Vec<_>>(), [Verdict::Met, Verdict::NotMet]);
        assert_eq!(judged[0].goal, "PUT with 9000 keys in one directory ≥ 85 % of the rate with 1000");
    }
}
