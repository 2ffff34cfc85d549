//! The server suite's way to start servers, and what stands in for one that misbehaves.

mod canned;
#[allow(dead_code)]
#[path = "../../../../../server/tests/suite/harness/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../../../../../server/tests/suite/harness/namespace.rs"]
mod namespace;
#[allow(dead_code)]
#[path = "../../../../../server/tests/suite/harness/ports.rs"]
mod ports;
#[allow(dead_code)]
#[path = "../../../../../server/tests/suite/harness/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../../../../../server/tests/suite/harness/seccomp.rs"]
mod seccomp;
#[allow(dead_code)]
#[path = "../../../../../server/tests/suite/harness/tools.rs"]
mod tools;

pub(crate) use canned::Canned;
pub(crate) use http::Client;
pub(crate) use process::{Flavor, Plan, Server};
pub(crate) use tools::{copy_dir, env_number, need, shell};

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest that anything may take here. A hang is a failure after this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test.
pub(crate) const UETCDCTL: &str = env!("CARGO_BIN_EXE_uetcdctl");

/// Polls until `probe` gives a value; panics naming `what` when `limit` has passed.
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(3));
    }
}

/// The program under test under the name `etcdctl`.
pub(crate) struct DropIn(TempDir);

impl DropIn {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory can be made");
        symlink(UETCDCTL, home.path().join("etcdctl")).expect("a link can be made");
        Self(home)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("etcdctl")
    }
}

/// A directory in memory where there is one: a sync costs nothing there.
pub(crate) fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a directory can be made")
}

/// A fresh real etcd.
pub(crate) fn etcd() -> Server {
    Plan::of(Flavor::Etcd).start()
}

/// A program without input, and with nothing of the caller's `ETCDCTL_*`.
pub(crate) fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD")) {
        command.env_remove(name);
    }
    command.stdin(std::process::Stdio::null());
    command
}

/// `uetcdctl` with a server's endpoint.
pub(crate) fn uetcdctl(server: &Server) -> Command {
    let mut command = bare(UETCDCTL);
    command.arg("--endpoints").arg(server.url(""));
    command
}

/// Ends a child with a signal, by its id.
pub(crate) fn signal(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).expect("a pid fits an i32");
    // SAFETY: kill(2) touches no memory; the pid is that of our own child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "kill({pid}, {signal})");
}

/// The text of a file beside the repository's root.
pub(crate) fn document(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}
