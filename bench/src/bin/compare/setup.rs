//! The bench that everything is measured on: programs, CPUs, the folder for the data.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cli::Options;
use crate::client::Clients;
use crate::process::{raise_open_files, usable_cpus};
use crate::server::{Recipe, Server, find};
use crate::stop::Stop;
use crate::who::{POLLING, Who};

/// Everything that measurements need.
pub(crate) struct Setup {
    pub(crate) uetcd: PathBuf,
    uetcd_args: Vec<String>,
    loadgen: PathBuf,
    /// `None`: nobody asked for it.
    pub(crate) responder: Option<PathBuf>,
    /// Etcd, or another build in its place.
    pub(crate) other: Option<(Who, PathBuf)>,
    other_args: Vec<String>,
    /// The server and its benchmark.
    pub(crate) redis: Option<(PathBuf, PathBuf)>,
    pub(crate) cpus: Vec<usize>,
    pub(crate) open_files: u64,
    dir: TempDir,
    pub(crate) stop: Stop,
}

/// Which of the programs a run cannot do without.
pub(crate) struct Needs {
    pub(crate) other: bool,
    pub(crate) responder: bool,
}

impl Setup {
    pub(crate) fn new(options: &Options, needs: &Needs, stop: Stop) -> Result<Self, String> {
        let own = |given: &Option<PathBuf>, name: &str| {
            program(&given.clone().map_or_else(|| beside_us(name), Ok)?, "bench/compare builds it")
        };
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let other = match &options.other {
            _ if !needs.other => None,
            Some(other) => Some((Who::Other, program(other, "--other wants a build of uetcd")?)),
            None => Some((Who::Etcd, program(&options.etcd, "apt-get install etcd-server")?)),
        };
        Ok(Self {
            uetcd: own(&options.uetcd, "uetcd")?,
            uetcd_args: split(&options.uetcd_args),
            loadgen: own(&options.loadgen, "uetcd-loadgen")?,
            responder: needs.responder.then(|| own(&options.responder, "bare-responder")).transpose()?,
            other,
            other_args: split(&options.other_args),
            redis: find(Path::new("redis-server")).zip(find(Path::new("redis-benchmark"))),
            cpus: usable_cpus()?,
            open_files: raise_open_files(),
            dir: data_dir(&options.dir)?,
            stop,
        })
    }

    /// The folder for all data.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// uetcd on `cpus`, with further arguments.
    pub(crate) fn start_uetcd(&self, cpus: &[usize], further: &[&str]) -> Result<Server, String> {
        self.start_build(Who::Uetcd, cpus, further)
    }

    fn start_build(&self, who: Who, cpus: &[usize], further: &[&str]) -> Result<Server, String> {
        let mut arguments = self.uetcd_args.clone();
        arguments.extend(further.iter().map(ToString::to_string));
        self.start(who, &self.uetcd, &arguments, cpus)
    }

    /// Any other server on the first CPU, if it is there.
    pub(crate) fn start_other(&self, who: Who) -> Result<Option<Server>, String> {
        let program = match who {
            Who::Uetcd => return self.start_uetcd(&self.cpus[..1], &[]).map(Some),
            Who::Polling => return self.start_build(who, &self.cpus[..1], &POLLING).map(Some),
            Who::Etcd | Who::Other => {
                self.other.as_ref().filter(|(other, _)| *other == who).map(|(_, program)| program)
            }
            Who::Responder | Who::DurableResponder => self.responder.as_ref(),
            Who::Redis => self.redis.as_ref().map(|(server, _)| server),
        };
        let arguments = if matches!(who, Who::Etcd | Who::Other) { &self.other_args[..] } else { &[] };
        program.map(|program| self.start(who, program, arguments, &self.cpus[..1])).transpose()
    }

    fn start(&self, who: Who, program: &Path, arguments: &[String], cpus: &[usize]) -> Result<Server, String> {
        Server::start(&Recipe { who, program, arguments }, cpus, self.dir(), &self.stop)
    }

    /// Clients on `cpus`, with a thread on each.
    pub(crate) fn clients(&self, cpus: &[usize], seconds: f64) -> Clients<'_> {
        Clients {
            loadgen: self.loadgen.clone(),
            redis_benchmark: self.redis.as_ref().map(|(_, benchmark)| benchmark.clone()),
            threads: cpus.len(),
            cpus: cpus.to_vec(),
            seconds,
            dir: self.dir(),
            stop: &self.stop,
        }
    }

    /// The clients of a comparison: alone on the second CPU.
    pub(crate) fn lone_client(&self, seconds: f64) -> Result<Clients<'_>, String> {
        let cpu = self.cpus.get(1..2).ok_or("two CPUs are needed: one for the servers, one for the load generator")?;
        Ok(self.clients(cpu, seconds))
    }
}

fn program(path: &Path, hint: &str) -> Result<PathBuf, String> {
    find(path).ok_or_else(|| format!("{} is missing: {hint}", path.display()))
}

fn beside_us(name: &str) -> Result<PathBuf, String> {
    let us = std::env::current_exe().map_err(|error| format!("where are we? {error}"))?;
    Ok(us.with_file_name(name))
}

fn data_dir(parent: &Path) -> Result<TempDir, String> {
    /// `TMPFS_MAGIC` of `linux/magic.h`.
    const TMPFS: i64 = 0x0102_1994;
    let failed = |error: String| format!("{}: {error}", parent.display());
    let kind = rustix::fs::statfs(parent).map_err(|error| failed(error.to_string()))?;
    if kind.f_type == TMPFS {
        return Err(failed("that is memory; give a folder on a disk with --dir".to_owned()));
    }
    tempfile::Builder::new().prefix("uetcd-compare-").tempdir_in(parent).map_err(|error| failed(error.to_string()))
}
