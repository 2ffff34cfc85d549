//! A disk that is slow when a test wants it to be: a file behind a loop device, throttled by the kernel for one process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::mounts::own_mounts;
use super::{need, shell};

/// Where version 1 of the control groups for block devices is mounted.
const GROUPS: &str = "/sys/fs/cgroup/blkio";
/// What the names of all groups begin with; then comes the pid of the test.
const PREFIX: &str = "uetcd-slow-";

/// A file system on a loop device that only this thread, and what it starts, can see. Mount and device vanish with them.
pub(crate) struct SlowDisk {
    mounted: PathBuf,
    /// Its number, as the kernel writes it.
    device: String,
    /// The control group of whoever it is slow for.
    group: PathBuf,
}

impl SlowDisk {
    /// Mounts one of so many bytes, as fast as any, below a directory that does not exist yet.
    pub(crate) fn mount(below: &Path, bytes: u64) -> Self {
        need("mkfs.ext4");
        own_mounts();
        let (image, mounted) = (below.join("image"), below.join("disk"));
        fs::create_dir_all(&mounted).expect("a directory can be made");
        let (image, at) = (image.display(), mounted.display());
        // The device goes with the mount: `mount` sees to that.
        let made = shell(&format!("truncate -s {bytes} {image} && mkfs.ext4 -q {image} && mount -o loop {image} {at}"));
        assert!(made.status.success(), "{}: run the tests as root", String::from_utf8_lossy(&made.stderr));
        let number = fs::metadata(&mounted).expect("it is mounted").dev();
        let device = format!("{}:{}", libc::major(number), libc::minor(number));
        Self { mounted, device, group: group() }
    }

    /// Where data may be kept on it.
    pub(crate) fn data(&self) -> PathBuf {
        self.mounted.join("data")
    }

    /// What a shell does first that then becomes the process the disk is slow for.
    pub(crate) fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.group.display())
    }

    /// No more than so many writes a second from now on.
    pub(crate) fn limit(&self, writes: u32) {
        assert!(writes > 0, "that would be no limit");
        self.throttle(writes);
    }

    /// As fast as any again.
    pub(crate) fn lift(&self) {
        self.throttle(0);
    }

    fn throttle(&self, writes: u32) {
        let file = self.group.join("blkio.throttle.write_iops_device");
        fs::write(&file, format!("{} {writes}", self.device)).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // Else whoever still writes would end no sooner than that is written.
        self.lift();
        let _ = fs::remove_dir(&self.group);
    }
}

/// A new control group without limits. Those that tests left which were killed go.
fn group() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let entries = fs::read_dir(GROUPS)
        .unwrap_or_else(|e| panic!("{GROUPS}: {e}: slow disks want version 1 of the control groups for block devices"));
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('x')).map(|(pid, _)| pid);
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(&path);
        }
    }
    let group = format!("{GROUPS}/{PREFIX}{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    fs::create_dir(&group).unwrap_or_else(|e| panic!("{group}: {e}"));
    group.into()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_limit_slows_down_who_has_entered_until_it_is_lifted() {
        let home = tempfile::tempdir().expect("a directory");
        let disk = SlowDisk::mount(home.path(), 32 << 20);
        let write = || {
            let (enter, begun) = (disk.enter(), Instant::now());
            let file = disk.data();
            let done =
                shell(&format!("{enter}; dd if=/dev/zero of={} bs=4k count=8 oflag=direct,dsync", file.display()));
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            begun.elapsed()
        };
        write();
        disk.limit(4);
        let limited = write();
        assert!(limited > Duration::from_secs(1), "eight writes took {limited:?}");
        disk.lift();
        let lifted = write();
        assert!(lifted < limited, "{lifted:?} after {limited:?}");
    }
}
