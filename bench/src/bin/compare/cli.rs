//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::loads::{Load, STANDARD};

/// Measures uetcd and etcd in turn (A B A B ...), each alone on one CPU with its data on the same disk, the load generator on another.
///
/// Beside them: the bare responder, whose rate is the ceiling of any server here, and Redis with `appendfsync always` where it is
/// installed. Who is not measured is halted. Prints medians, spreads, the ratios of each round's pairs, CPU time for each
/// request (user + system, which noise touches least), and how the goals stand. Ctrl-C ends everything that was started.
#[derive(Debug, Parser)]
#[command(name = "compare", version)]
pub(crate) struct Options {
    /// How often everything is measured.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// How long each measurement takes.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Loads, by name and with commas: get-C, put-C, quorum-get-C, cas-C (C connections; get-64x16 is pipelined 16 deep), list-N (keys),
    /// watch-N (watchers), memory, growth. All but growth unless given.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) loads: Vec<String>,

    /// Everything, memory and growth at a million keys.
    #[arg(long)]
    pub(crate) full: bool,

    /// Keys that memory is measured with, and growth at most: 100,000, with --full 1,000,000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..))]
    pub(crate) keys: Option<u64>,

    /// Instead of comparing: put and get with so many executors on the first CPUs, the load generator on the rest.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["loads", "full", "keys", "other", "instructions"])]
    pub(crate) cores: Vec<usize>,

    /// With --cores: connections for each executor.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,

    /// Also count the instructions of one GET and one PUT, with valgrind.
    #[arg(long)]
    pub(crate) instructions: bool,

    /// uetcd; by default beside this program, as the next two.
    #[arg(long, value_name = "FILE")]
    pub(crate) uetcd: Option<PathBuf>,

    /// Further arguments for uetcd.
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    pub(crate) uetcd_args: String,

    /// The load generator.
    #[arg(long, value_name = "FILE")]
    pub(crate) loadgen: Option<PathBuf>,

    /// The bare responder.
    #[arg(long, value_name = "FILE")]
    pub(crate) responder: Option<PathBuf>,

    /// Etcd with a v2 API.
    #[arg(long, value_name = "FILE", default_value = "etcd")]
    pub(crate) etcd: PathBuf,

    /// Another build of uetcd, to be measured in etcd's place.
    #[arg(long, value_name = "FILE", conflicts_with = "etcd")]
    pub(crate) other: Option<PathBuf>,

    /// Further arguments for the other build (or for etcd).
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    pub(crate) other_args: String,

    /// Where the data is put, in a folder of its own that is removed: it must be on a disk.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub(crate) dir: PathBuf,

    /// Write everything that was measured.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the report; docs/performance.md is made with this.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,

    /// With --cores: write the plot.
    #[arg(long, value_name = "FILE", default_value = "cores.svg")]
    pub(crate) svg: PathBuf,
}

/// What is to be measured.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) loads: Vec<Load>,
    pub(crate) memory: bool,
    pub(crate) growth: bool,
}

impl Options {
    pub(crate) fn wanted(&self) -> Result<Wanted, String> {
        if self.loads.is_empty() {
            let loads = STANDARD.iter().map(|name| Load::parse(name)).collect::<Result<_, _>>()?;
            return Ok(Wanted { loads, memory: true, growth: self.full });
        }
        let mut wanted = Wanted::default();
        for name in &self.loads {
            match name.as_str() {
                "memory" => wanted.memory = true,
                "growth" => wanted.growth = true,
                name => wanted.loads.push(Load::parse(name)?),
            }
        }
        Ok(wanted)
    }

    pub(crate) fn keys(&self) -> u64 {
        self.keys.unwrap_or(if self.full { 1_000_000 } else { 100_000 })
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("from 0.1 to 3600 seconds".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("compare").chain(line.split_whitespace()))
    }

    #[test]
    fn loads_are_chosen_by_name() {
        let wanted = |line| options(line).expect("a command line").wanted();
        let all = wanted("").expect("loads");
        assert_eq!((all.loads.len(), all.memory, all.growth), (STANDARD.len(), true, false));
        assert!(wanted("--full").expect("loads").growth);
        let some = wanted("--loads put-8,growth").expect("loads");
        assert_eq!((some.loads.len(), some.memory, some.growth), (1, false, true));
        assert!(wanted("--loads put").is_err());
    }

    #[test]
    fn another_build_takes_its_arguments() {
        let options = options("--other /tmp/before --other-args --spin-us=1 --keys 2000").expect("a command line");
        assert_eq!((options.other_args.as_str(), options.keys()), ("--spin-us=1", 2000));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in ["--rounds 0", "--seconds 0", "--seconds x", "--cores 1 --full", "--keys 1"] {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
