//! `fuzz`: throws mutations of the corpus at the parsers for as long as one likes, or says what a file does to one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fuzz::{Budget, Counting, TARGETS, Target, fuzz, inputs_in, named};

#[global_allocator]
static MEMORY: Counting = Counting;

/// Throws mutations of the corpus at every parser of bytes from outside.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    /// Only at this one.
    #[arg(long)]
    target: Option<String>,
    /// For so long, per target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Draws the mutations.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Begin with the files in the folder of each target below this one, too: what another fuzzer has found worth keeping.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Look at this input instead.
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
    /// Write the inputs that are made into folders below this one, for another fuzzer to begin with.
    #[arg(long)]
    write_seeds: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fuzz: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let targets: Vec<&'static Target> = match &options.target {
        Some(name) => vec![named(name).ok_or_else(|| format!("no target is called {name:?}"))?],
        None => TARGETS.iter().collect(),
    };
    if let Some(dir) = &options.write_seeds {
        return targets.into_iter().try_for_each(|target| write_seeds(target, &dir.join(target.name)));
    }
    if let Some(file) = &options.input {
        let input = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        for target in targets {
            target.check(&input);
        }
        return Ok(());
    }
    for target in targets {
        let budget = Budget { inputs: u64::MAX, time: Duration::from_secs(options.seconds) };
        let more = options.corpus.iter().flat_map(|dir| inputs_in(&dir.join(target.name)));
        let done = fuzz(target, options.seed, more, budget);
        println!(
            "{}: {} inputs of the corpus, {} mutations in {} s, at most {} KiB of memory, nothing found",
            target.name,
            done.corpus,
            done.inputs,
            options.seconds,
            done.memory_bytes >> 10
        );
    }
    Ok(())
}

fn write_seeds(target: &Target, dir: &std::path::Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    std::fs::create_dir_all(dir).map_err(failed)?;
    let seeds = (target.seeds)().into_iter().enumerate();
    seeds.into_iter().try_for_each(|(nth, seed)| std::fs::write(dir.join(format!("seed-{nth}")), seed).map_err(failed))
}
