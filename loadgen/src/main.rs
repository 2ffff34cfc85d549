//! `uetcd-loadgen`: drives any etcd v2 server in a closed loop and reports rates and latencies.
//!
//! Every connection has at most `--pipeline` requests under way and sends the next one when an answer arrives. Answers are
//! checked: a status that does not fit, or an index that does not grow along the writes of one connection, fails the run.

mod connection;
mod report;
#[path = "../../server/src/ring.rs"]
mod ring;
mod workload;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use glommio::{LocalExecutorBuilder, Placement};

use connection::Failure;
use report::Report;
use workload::{Kind, Workload};

/// A closed-loop load generator for etcd v2 servers.
#[derive(Clone, Debug, Parser)]
#[command(name = "uetcd-loadgen", version, about)]
struct Options {
    /// Address of the server's client port.
    #[arg(long, default_value = "127.0.0.1:2379")]
    endpoint: SocketAddr,
    /// What to do.
    #[arg(long, value_enum, default_value = "put")]
    workload: Kind,
    /// Connections.
    #[arg(long, short, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Requests under way per connection.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pipeline: u32,
    /// Seconds to measure.
    #[arg(long, short, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration: u64,
    /// Seconds to run before measuring.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up: u64,
    /// Different keys.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Top-level directories that the keys are spread over.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    directories: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 64)]
    value_size: usize,
    /// Seed of the keys' order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// CPU to run on.
    #[arg(long)]
    cpu: Option<usize>,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let placement = options.cpu.map_or(Placement::Unbound, Placement::Fixed);
    let json = options.json;
    let spawned = LocalExecutorBuilder::new(placement)
        .name("loadgen")
        .ring_depth(1024)
        .spawn(move || async move { run(options).await });
    let joined = spawned
        .map_err(|error| format!("the executor can not start: {error}"))
        .and_then(|handle| handle.join().map_err(|error| format!("the executor ended: {error}")));
    match joined {
        Ok(Ok(report)) => {
            println!("{}", if json { report.to_json() } else { report.to_string() });
            ExitCode::SUCCESS
        }
        Ok(Err(failure)) => fail(&failure.to_string()),
        Err(text) => fail(&text),
    }
}

fn fail(text: &str) -> ExitCode {
    eprintln!("uetcd-loadgen: {text}");
    ExitCode::FAILURE
}

/// Runs all connections of this executor; the first failure ends the run.
async fn run(options: Options) -> Result<Report, Failure> {
    let workload = Rc::new(Workload::new(&options));
    let begun = Instant::now();
    let measure_from = begun + Duration::from_secs(options.warm_up);
    let until = measure_from + Duration::from_secs(options.duration);
    let tasks: Vec<_> = (0..options.connections)
        .map(|number| {
            let workload = Rc::clone(&workload);
            let endpoint = options.endpoint;
            glommio::spawn_local(connection::drive(endpoint, workload, number, measure_from, until))
        })
        .collect();
    let mut report = Report::new(&options);
    for task in tasks {
        report.add(&task.await?);
    }
    Ok(report)
}
