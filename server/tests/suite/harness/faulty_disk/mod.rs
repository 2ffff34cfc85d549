//! A disk that fails when a test wants it to, and that forgets in a power cut what was not synced: a file system of this process (FUSE), with
//! its files in memory.

mod calls;
mod tree;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use fuser::{BackgroundSession, Config};

use super::Rng;
use super::mounts::own_mounts;
use calls::Calls;
use tree::Tree;

/// A file system that only this thread, and what it starts, can see.
pub(crate) struct FaultyDisk {
    mounted: PathBuf,
    state: Arc<Mutex<State>>,
    _session: BackgroundSession,
}

/// Which files a call is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    Log,
    Snapshots,
}

impl Files {
    fn folder(self) -> &'static str {
        match self {
            Self::Log => "/data/member/wal",
            Self::Snapshots => "/data/member/snap",
        }
    }
}

/// What a call on a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Sync,
}

struct State {
    tree: Tree,
    fault: Option<Fault>,
    failed: Option<Instant>,
    /// Files of the log and snapshots that were read through the kernel's cache, which can hold what the device does not.
    read_through_cache: BTreeSet<PathBuf>,
}

/// Which call fails.
struct Fault {
    files: Files,
    call: Call,
    /// How many of its kind do not before.
    left: u64,
}

impl FaultyDisk {
    /// Mounts one at a path that does not exist yet.
    pub(crate) fn mount(at: &Path) -> Self {
        std::fs::create_dir(at).expect("a directory can be made");
        own_mounts();
        let state = Arc::new(Mutex::new(State {
            tree: Tree::new(),
            fault: None,
            failed: None,
            read_through_cache: BTreeSet::new(),
        }));
        let session = fuser::spawn_mount(Calls(Arc::clone(&state)), at, &Config::default())
            .unwrap_or_else(|e| panic!("no file system can be mounted ({e}): these tests want /dev/fuse, and root"));
        Self { mounted: at.to_owned(), state, _session: session }
    }

    /// Where data may be kept on it.
    pub(crate) fn data(&self) -> PathBuf {
        self.mounted.join("data")
    }

    /// The `nth` call of this kind on one of these files fails with an input/output error, counted from now and from 1. Later ones succeed
    /// again: that is what a second attempt would be deceived by.
    pub(crate) fn fail(&self, files: Files, call: Call, nth: u64) {
        let mut state = self.state();
        state.fault = Some(Fault { files, call, left: nth - 1 });
        state.failed = None;
    }

    /// When the call failed that was to, if it has come to that.
    pub(crate) fn failed(&self) -> Option<Instant> {
        self.state().failed
    }

    /// The machine has lost power and is there again: of what was not synced, some is there. Nobody must use the disk meanwhile.
    pub(crate) fn cut_power(&self, rng: &mut Rng) {
        let mut state = self.state();
        state.fault = None;
        state.tree.lose_unsynced(rng);
    }

    /// Whatever was read of the log and of snapshots was read from the device.
    pub(crate) fn assert_read_from_device(&self) {
        let state = self.state();
        assert!(state.read_through_cache.is_empty(), "read through the cache: {:?}", state.read_through_cache);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call panics")
    }
}

impl State {
    /// True once for the call that is to fail.
    fn fails(&mut self, call: Call, number: u64) -> bool {
        let Some(fault) = self.fault.as_mut().filter(|fault| fault.call == call) else { return false };
        if !self.tree.path(number).starts_with(fault.files.folder()) {
            return false;
        }
        if fault.left > 0 {
            fault.left -= 1;
            return false;
        }
        self.fault = None;
        self.failed = Some(Instant::now());
        println!("{call:?} of {} fails", self.tree.path(number).display());
        true
    }

    fn note_read(&mut self, number: u64, is_direct: bool) {
        let path = self.tree.path(number);
        if !is_direct && [Files::Log, Files::Snapshots].iter().any(|files| path.starts_with(files.folder())) {
            self.read_through_cache.insert(path);
        }
    }
}
