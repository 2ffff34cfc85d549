//! What the machine, or the control group that this process runs in, allows it.

use std::fs;
use std::path::{Path, PathBuf};

/// Memory that this process may have, in bytes: that of the machine, or what a control group allows. Where neither can be read, as
/// much as anybody may ask for.
pub(crate) fn memory_bytes() -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| limit_in(&file));
    limits.chain(total_memory()).min().unwrap_or(u64::MAX)
}

fn total_memory() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files with the limits of a process' control groups and of those above, by its `/proc/self/cgroup` (cgroups(7)): lines of
/// hierarchy, controllers and path. No controllers: that is version 2.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let own = Path::new(path.trim_start_matches('/'));
        files.extend(own.ancestors().map(|group| Path::new(root).join(group).join(file)));
    }
    files
}

/// The limit that a file names; `max`, or a file that is not there, is none.
fn limit_in(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_versions_and_of_groups_above_are_looked_at() {
        let v1 = "7:cpu,cpuacct:/a\n4:memory:/a/b\n1:name=systemd:/\n";
        let v2 = "0::/system.slice/uetcd.service\n";
        let names = |groups| limit_files(groups).into_iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            names(v1),
            [
                "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(
            names(v2),
            [
                "/sys/fs/cgroup/system.slice/uetcd.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert!(names("nonsense\n").is_empty());
    }

    #[test]
    fn a_limit_is_a_number() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("memory.max");
        for (text, limit) in [("max\n", None), ("268435456\n", Some(256 << 20)), ("", None)] {
            fs::write(&file, text).expect("writable");
            assert_eq!(limit_in(&file), limit, "{text:?}");
        }
        assert_eq!(limit_in(&dir.path().join("absent")), None);
        assert!((1 << 20..=1 << 50).contains(&memory_bytes()));
    }
}
