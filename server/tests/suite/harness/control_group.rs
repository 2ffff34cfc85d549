//! Control groups of the kernel, version 1: what one process, and what it starts, may have of the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where each controller is mounted.
const GROUPS: &str = "/sys/fs/cgroup";
/// What the names of all groups begin with; then comes the pid of the test.
const PREFIX: &str = "uetcd-test-";

/// A group of its own, which goes with it.
pub(crate) struct ControlGroup(PathBuf);

impl ControlGroup {
    /// A new one without limits, below a controller such as `blkio`. Those that tests left which were killed go.
    pub(crate) fn of(controller: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let groups = Path::new(GROUPS).join(controller);
        let entries = fs::read_dir(&groups).unwrap_or_else(|e| {
            panic!("{}: {e}: this wants version 1 of the control groups, and root", groups.display());
        });
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('x')).map(|(pid, _)| pid);
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_dir(&path);
            }
        }
        let group = groups.join(format!("{PREFIX}{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&group).unwrap_or_else(|e| panic!("{}: {e}", group.display()));
        Self(group)
    }

    /// What a shell does first that then becomes a process of the group.
    pub(crate) fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.0.display())
    }

    /// Writes one of its files.
    pub(crate) fn set(&self, file: &str, value: &str) {
        let file = self.0.join(file);
        fs::write(&file, value).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }

    /// What one of its files says.
    pub(crate) fn get(&self, file: &str) -> String {
        let file = self.0.join(file);
        fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
