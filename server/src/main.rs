//! `uetcd`, the server: etcd's v2 system on `io_uring`.
//!
//! [`run`] reads top down: configuration, data directory, what was left on disk, one executor per core, signals.

mod allocator;
mod backup;
mod birth;
mod body;
mod clock;
mod config;
mod core;
mod executor;
mod failure;
mod force;
mod founding;
mod http;
mod identity;
mod listen;
mod logging;
mod machine;
mod memory;
mod mend;
mod metrics;
mod page;
mod peer;
mod proxy;
mod recovery;
mod repair;
mod restore;
#[allow(unsafe_code, reason = "stands in for a function of a C library")]
mod ring;
mod scrub;
mod slice;
mod staging;
mod stock;

use std::os::unix::process::CommandExt;
use std::panic;
use std::path::Path;
use std::process::{self, Command, ExitCode};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use ::log::DataDir;
use signal_hook::consts::{SIGALRM, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::birth::Birth;
use crate::config::prepare::Role;
use crate::config::{Config, Gathered, Machine, Mending, Outcome, prepare};
use crate::core::{Node, Phase};
use crate::executor::{Notice, Seed};
use crate::failure::{End, Fatal};
use crate::founding::Founding;
use crate::memory::Memory;
use crate::repair::ReadBack;
use crate::slice::Slice;

/// How long the last lines of the log may take.
const LAST_LINES: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    end_on_panic();
    allocator::configure();
    let cpus = prepare::cpus();
    let machine = Machine { read_file: &|path| std::fs::read_to_string(path), cpus: &cpus };
    let outcome = config::load(std::env::args_os().skip(1), std::env::vars_os(), &machine);
    let config = match outcome {
        Outcome::Exit(exit) => return exit.report(),
        Outcome::Run(config) => *config,
    };
    if let Err(error) = logging::start(&config.logging) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let code = match run(config) {
        Ok(Reason::Signal(signal)) => {
            logging::flush(LAST_LINES);
            return die_of(signal);
        }
        Ok(Reason::Removed | Reason::Written) => ExitCode::SUCCESS,
        Ok(Reason::Outdated) => start_again(),
        Err(End::Exit(exit)) => exit.report(),
        Err(End::Fatal(fatal)) => {
            critical!("etcdserver", "{fatal}");
            ExitCode::from(fatal.status())
        }
    };
    logging::flush(LAST_LINES);
    code
}

/// A panic is a broken invariant: no other thread may go on with it, in whatever profile this was built.
fn end_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        report(panic);
        process::abort();
    }));
}

/// Why the server ends although nothing is wrong.
pub(crate) enum Reason {
    Signal(i32),
    /// This member was removed from the cluster.
    Removed,
    /// The backup that was asked for is written, or the log mended.
    Written,
    /// An older disk was put in the place of this member's: it has to start as one that has lost its data.
    Outdated,
}

/// Starts the server and waits for its end.
fn run(config: Config) -> Result<Reason, End> {
    config.log.iter().for_each(logging::emit);
    if let Some(file) = &config.write_backup {
        return write_backup(&config, file).map(|()| Reason::Written);
    }
    if let Some(mending) = &config.mending {
        return mend_log(&config, mending).map(|()| Reason::Written);
    }
    prepare::io_uring()?;
    prepare::locked_memory(config.cores.len())?.iter().for_each(logging::emit);
    let (role, said) = prepare::role(&config)?;
    if role == Role::Proxy {
        said.iter().for_each(logging::emit);
        return proxy::run(config, proxy::Source::Flags);
    }
    let descriptors = prepare::descriptors()?;
    let listening = prepare::ports(&config)?;
    let directory = prepare::directory(&config)?;
    directory.log.iter().for_each(logging::emit);
    config::settings(&config, !directory.has_data).iter().for_each(logging::emit);
    let config = match gather(config, directory.has_data)? {
        Gathered::Named(config) => *config,
        Gathered::Full { config, cluster } => return proxy::run(*config, proxy::Source::Cluster(cluster)),
    };
    let newborn = newborn(&config, directory.has_data)?;
    prepare::member_directories(&config)?;
    let data = Arc::new(DataDir::open(&config.data_dir).map_err(Fatal::from)?);
    let birth = begin(&config, &data, directory.has_data, newborn)?;
    // Not before: what was left unfinished may have been a log that takes the place of those that are noted.
    let noted = data.read_begun().map_err(Fatal::from)?;
    config::forget(&config)?;
    announce(&birth, directory.has_data);
    let birth = if config.force_new_cluster && directory.has_data {
        force::force(&config, &data, birth, noted)?
    } else {
        birth
    };
    slice::ask_for(Slice::Longest);
    let ReadBack { mut found, birth, repaired } = repair::read_back(&config, &data, birth, noted)?;
    slice::ask_for(Slice::Usual);
    let mut listeners = listen::bind_all(&config, Role::Member).map_err(Fatal::Other)?;
    listening.iter().for_each(logging::emit);

    let cores = config.cores.len();
    let connections = config.max_connections.unwrap_or(usize::MAX).min(descriptors as usize).div_ceil(cores);
    let node = Arc::new(Node::new(config, &birth, &found, memory::remembered(&data)));
    if repaired {
        node.scrubbed.repaired();
    }
    let (notices, heard) = channel();
    let signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| Fatal::Other(format!("no signals: {error}")))?;
    ignore_stray_signals().map_err(|error| Fatal::Other(format!("no signals: {error}")))?;
    for (me, (shards, resume)) in found.shards.drain(..).zip(found.resume.drain(..)).enumerate() {
        let (node, birth, notices) = (Arc::clone(&node), birth.clone(), notices.clone());
        let listeners = std::mem::take(&mut listeners[me]);
        let founding = (me == 0).then(|| Founding { data: Arc::clone(&data), begun: found.begun });
        let seed = Seed { me, node, birth, shards, resume, founding, listeners, connections, notices };
        executor::start(seed)?;
    }
    scrub::start(Arc::clone(&node), birth.log_identity(), node.config.scrub, found.unread)?;
    let mut memory = Memory::new(data, birth);
    let reason = wait(&node, &heard, signals, &mut memory)?;
    if matches!(reason, Reason::Outdated) {
        memory.note_outdated(&node)?;
        return Ok(reason);
    }
    node.enter(Phase::Stopping);
    wait_for_the_end(&node, &heard)?;
    memory.close(&node);
    Ok(reason)
}

/// Who founds the cluster, if this member is yet to be born.
fn gather(config: Config, has_data: bool) -> Result<Gathered, End> {
    if !birth::is_unborn(&config, has_data) {
        return Ok(Gathered::Named(Box::new(config)));
    }
    Ok(config::gather(config)?)
}

/// Who this member will be, if it is yet to be born. What is wrong with that leaves nothing behind.
fn newborn(config: &Config, has_data: bool) -> Result<Option<Birth>, End> {
    if !birth::is_unborn(config, has_data) || config.restore_backup.is_some() {
        return Ok(None);
    }
    match birth::bear(config) {
        Ok(birth) => Ok(Some(birth)),
        Err(end) => {
            config::abandon(config)?;
            Err(end)
        }
    }
}

/// Who this member is, and whatever a start before this one has left unfinished.
fn begin(config: &Config, data: &DataDir, has_data: bool, newborn: Option<Birth>) -> Result<Birth, End> {
    if let Some(file) = &config.restore_backup {
        return Ok(restore::restore(config, data, has_data, file)?);
    }
    let birth = birth::identify(config, data, has_data, newborn)?;
    Ok(staging::settle(config, data, birth)?)
}

/// `--write-backup`: no executor, no ports.
fn write_backup(config: &Config, file: &Path) -> Result<(), End> {
    let (data, birth) = at_rest(config, "-write-backup")?;
    Ok(restore::write(config, &data, &birth, file)?)
}

/// `--mend-from`: no executor, no ports.
fn mend_log(config: &Config, mending: &Mending) -> Result<(), End> {
    let (data, birth) = at_rest(config, "-mend-from")?;
    Ok(mend::mend(config, mending, &data, birth)?)
}

/// The data directory of a member that does not run, and who it is.
fn at_rest(config: &Config, flag: &str) -> Result<(DataDir, Birth), End> {
    if !config.member_dir().join("identity").exists() {
        let dir = config.data_dir.display();
        return Err(Fatal::Other(format!("{flag}: there is no data of a member in {dir}. Nothing was changed")).into());
    }
    let data = DataDir::open(&config.data_dir).map_err(Fatal::from)?;
    let birth = staging::settle(config, &data, birth::identify(config, &data, true, None)?)?;
    Ok((data, birth))
}

/// Signals that mean nothing to a Go program, etcd among them, do not end this one either.
pub(crate) fn ignore_stray_signals() -> std::io::Result<()> {
    for signal in [SIGUSR1, SIGUSR2, SIGALRM] {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    Ok(())
}

/// Waits until the executors have finished what they have begun.
fn wait_for_the_end(node: &Node, heard: &Receiver<Notice>) -> Result<(), Fatal> {
    let mut running = node.cores();
    while running > 0 {
        match heard.recv() {
            Ok(Notice::Ended) => running -= 1,
            Ok(Notice::Fatal(fatal)) => return Err(fatal),
            Ok(Notice::Serving) => {}
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

fn announce(birth: &Birth, has_data: bool) {
    let what = if has_data { "restarting" } else { "starting" };
    let (member, cluster, shards) = (birth.member, birth.cluster, birth.shards);
    tracing::info!(target: "etcdserver", "{what} member {member:x} in cluster {cluster:x}, {shards} shards");
}

/// This signal has come to end the process.
pub(crate) fn signalled(signal: i32) -> Reason {
    let name = if signal == SIGINT { "interrupt" } else { "terminated" };
    notice!("osutil", "received {name} signal, shutting down...");
    Reason::Signal(signal)
}

/// Waits for a signal, or for what else ends the process.
fn wait(node: &Node, heard: &Receiver<Notice>, mut signals: Signals, memory: &mut Memory) -> Result<Reason, Fatal> {
    /// How soon a signal is noticed.
    const GLANCE: Duration = Duration::from_millis(50);
    let mut looked = Instant::now();
    loop {
        if let Some(signal) = signals.pending().next() {
            return Ok(signalled(signal));
        }
        memory.keep(node)?;
        if looked.elapsed() >= allocator::LOOK_EVERY {
            allocator::give_back_old();
            looked = Instant::now();
        }
        if node.is_outdated() {
            tracing::error!(
                target: "etcdserver",
                "another member remembers that this one's disk has held more than it does: an older one was put in its place. \
                 This member starts again as one that has lost its data"
            );
            return Ok(Reason::Outdated);
        }
        if node.is_removed() {
            tracing::error!(target: "etcdserver", "the member has been permanently removed from the cluster");
            tracing::info!(target: "etcdserver", "the data-dir used by this member must be removed.");
            return Ok(Reason::Removed);
        }
        match heard.recv_timeout(GLANCE) {
            Ok(Notice::Serving) => {
                tracing::info!(target: "etcdserver", "ready to serve client requests");
                // What was read back at the start.
                allocator::give_back();
                // Whoever asked to be told is told; a failure leaves the supervisor to its timeout.
                let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
            }
            Ok(Notice::Fatal(fatal)) => return Err(fatal),
            Ok(Notice::Ended) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Fatal::Other("all executors have ended".to_owned())),
        }
    }
}

/// Puts a new process in the place of this one, with the same arguments and the same id.
fn start_again() -> ExitCode {
    logging::flush(LAST_LINES);
    // Where another program was put in the place of this one, the file is known by that name only.
    let own = Path::new("/proc/self/exe");
    let program = std::env::current_exe().ok().filter(|program| program.exists());
    let error = Command::new(program.as_deref().unwrap_or(own)).args(std::env::args_os().skip(1)).exec();
    critical!("etcdserver", "this member can not start itself again: {error}. Start it");
    logging::flush(LAST_LINES);
    ExitCode::FAILURE
}

/// Ends as etcd does: by the signal's own action, so that the status says which it was; pid 1 has no such action.
fn die_of(signal: i32) -> ExitCode {
    if std::process::id() != 1 {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    ExitCode::SUCCESS
}
