//! Processes that are bound to CPUs, can be halted, tell what they use, and never outlive us.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::thread::CpuSet;

use crate::stop::Stop;
use crate::usage::tick_us;

/// A process. It is killed when this is dropped, and by the kernel if we are gone before that.
pub(crate) struct Process {
    name: String,
    child: Child,
    /// What it prints on standard error, and a server on standard output as well.
    log: PathBuf,
    is_halted: bool,
}

/// Where a program's output goes.
pub(crate) enum Output {
    /// To the log.
    Log,
    /// To this file.
    File(PathBuf),
}

impl Process {
    /// Starts `program` in `dir`, bound to `cpus`.
    pub(crate) fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        cpus: &[usize],
        dir: &Path,
        output: &Output,
    ) -> Result<Self, String> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let failed = |error: io::Error| format!("{}: {error}", program.display());
        let log = dir.join(format!("{name}.log"));
        let errors = File::create(&log).map_err(failed)?;
        let out = match output {
            Output::Log => errors.try_clone(),
            Output::File(path) => File::create(path),
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(out.map_err(failed)?).stderr(errors);
        // Go's runtime would start a thread per CPU of the machine, whatever it is bound to.
        command.env("GOMAXPROCS", cpus.len().to_string());
        // A Ctrl-C is for us: we end them, in order.
        command.process_group(0);
        bind(&mut command, cpus);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { name, child, log, is_halted: false })
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Takes no CPU until [`go_on`](Self::go_on).
    pub(crate) fn halt(&mut self) -> Result<(), String> {
        self.signal(Signal::STOP)?;
        self.is_halted = true;
        Ok(())
    }

    pub(crate) fn go_on(&mut self) -> Result<(), String> {
        if self.is_halted {
            self.signal(Signal::CONT)?;
            self.is_halted = false;
        }
        Ok(())
    }

    fn signal(&mut self, signal: Signal) -> Result<(), String> {
        self.check_alive()?;
        kill_process(self.pid(), signal).map_err(|error| format!("{}: {error}", self.name))
    }

    /// An error with the last line that it printed, if it has ended.
    pub(crate) fn check_alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} has ended ({status}): {}", self.name, self.last_words())),
            Err(error) => Err(format!("{}: {error}", self.name)),
        }
    }

    /// Waits until it ends by itself, which it must do well; returns the CPU time that it has used, in microseconds.
    pub(crate) fn finish(mut self, limit: Duration, stop: &Stop) -> Result<f64, String> {
        let failed = |name: &str, error: &dyn std::fmt::Display| format!("{name}: {error}");
        // It stays to be asked what it has used.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let pid = self.pid();
        let ended =
            stop.wait(limit, || waitid(WaitId::Pid(pid), options).map_err(|error| failed(&self.name, &error)))?;
        if ended.is_none() {
            return Err(format!("{} has not ended after {} s", self.name, limit.as_secs()));
        }
        let cpu_us = self.cpu_us()?;
        let status = self.child.wait().map_err(|error| failed(&self.name, &error))?;
        if status.success() { Ok(cpu_us) } else { Err(failed(&self.name, &self.last_words())) }
    }

    /// The last line that it printed.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it has said nothing").to_owned()
    }

    /// CPU time that it has used, user and system, in microseconds.
    pub(crate) fn cpu_us(&self) -> Result<f64, String> {
        let stat = self.proc("stat")?;
        cpu_ticks(&stat)
            .map(|ticks| ticks as f64 * tick_us())
            .ok_or_else(|| format!("{}: /proc/PID/stat is not as expected", self.name))
    }

    /// Bytes that are resident, and the most that ever were.
    pub(crate) fn resident(&self) -> Result<(u64, u64), String> {
        let status = self.proc("status")?;
        let field = |name| status_bytes(&status, name).ok_or_else(|| format!("{}: no {name} in /proc", self.name));
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    fn proc(&self, file: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended already; the data is thrown away, so nobody needs to be asked politely.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bind(command: &mut Command, cpus: &[usize]) {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    let bound = move || {
        rustix::thread::sched_setaffinity(None, &set)?;
        // In case that we are killed, or abort.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(())
    };
    // SAFETY: between fork and exec only two system calls are made; nothing is allocated or locked.
    unsafe { command.pre_exec(bound) };
}

/// Does something on this CPU.
pub(crate) fn on_cpu<T>(cpu: usize, work: impl FnOnce() -> T) -> Result<T, String> {
    let failed = |error| format!("CPU {cpu}: {error}");
    let before = rustix::thread::sched_getaffinity(None).map_err(failed)?;
    let mut there = CpuSet::new();
    there.set(cpu);
    rustix::thread::sched_setaffinity(None, &there).map_err(failed)?;
    let done = work();
    rustix::thread::sched_setaffinity(None, &before).map_err(failed)?;
    Ok(done)
}

/// The CPUs that we may use.
pub(crate) fn usable_cpus() -> Result<Vec<usize>, String> {
    let set = rustix::thread::sched_getaffinity(None).map_err(|error| format!("CPUs: {error}"))?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// Raises the limit of open files as far as it goes without permission, for us and all that we start; returns it.
pub(crate) fn raise_open_files() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Raising to the maximum is always allowed; if not, the figure below says what there is.
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// User and system time. The name before the fields may hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn status_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 100 20 0 0 20 0 1 0 55 7";
        for name in ["etcd", "a b", "x) S 1 (y"] {
            assert_eq!(cpu_ticks(&format!("77 ({name}) {rest}")), Some(120), "{name}");
        }
        assert_eq!(cpu_ticks("77 (etcd) S 1"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_bytes(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(status_bytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(status_bytes(status, "VmSwap:"), None);
    }
}
