//! A disk that fails when a test wants it to, and that forgets in a power cut what was not synced: a file system of this process (FUSE), with
//! its files in memory.

mod calls;
mod tree;

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

/// What a call on a file of a log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Sync,
}

struct State {
    tree: Tree,
    /// Which call fails, and how many of its kind do not before.
    fault: Option<(Call, u64)>,
    failed: Option<Instant>,
}

impl FaultyDisk {
    /// Mounts one at a path that does not exist yet.
    pub(crate) fn mount(at: &Path) -> Self {
        std::fs::create_dir(at).expect("a directory can be made");
        own_mounts();
        let state = Arc::new(Mutex::new(State { tree: Tree::new(), fault: None, failed: None }));
        let session = fuser::spawn_mount(Calls(Arc::clone(&state)), at, &Config::default())
            .unwrap_or_else(|e| panic!("no file system can be mounted ({e}): these tests want /dev/fuse, and root"));
        Self { mounted: at.to_owned(), state, _session: session }
    }

    /// Where data may be kept on it.
    pub(crate) fn data(&self) -> PathBuf {
        self.mounted.join("data")
    }

    /// The `nth` call of this kind on a file of a log fails with an input/output error, counted from now and from 1. Later ones succeed
    /// again: that is what a second attempt would be deceived by.
    pub(crate) fn fail(&self, call: Call, nth: u64) {
        let mut state = self.state();
        state.fault = Some((call, nth - 1));
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call panics")
    }
}

impl State {
    /// True once for the call that is to fail.
    fn fails(&mut self, call: Call, number: u64) -> bool {
        let Some((_, left)) = self.fault.filter(|(kind, _)| *kind == call) else { return false };
        if !self.tree.path(number).starts_with("/data/member/wal") {
            return false;
        }
        if left > 0 {
            self.fault = Some((call, left - 1));
            return false;
        }
        self.fault = None;
        self.failed = Some(Instant::now());
        println!("{call:?} of {} fails", self.tree.path(number).display());
        true
    }
}
