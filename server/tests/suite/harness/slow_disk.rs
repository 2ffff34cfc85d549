//! A disk that is slow when a test wants it to be, or rots below its file system: a file behind a loop device, throttled by the kernel for one
//! process.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::control_group::ControlGroup;
use super::mounts::own_mounts;
use super::{need, shell};

/// A file system on a loop device that only this thread, and what it starts, can see. Mount and device vanish with them.
pub(crate) struct SlowDisk {
    mounted: PathBuf,
    /// The file that holds all of it.
    image: PathBuf,
    /// Its number, as the kernel writes it.
    device: String,
    /// Whoever it is slow for.
    group: ControlGroup,
}

impl SlowDisk {
    /// Mounts one of so many bytes, as fast as any, below a directory that does not exist yet.
    pub(crate) fn mount(below: &Path, bytes: u64) -> Self {
        need("mkfs.ext4");
        own_mounts();
        let (image, mounted) = (below.join("image"), below.join("disk"));
        fs::create_dir_all(&mounted).expect("a directory can be made");
        let (path, at) = (image.display(), mounted.display());
        // The device goes with the mount: `mount` sees to that.
        let made = shell(&format!("truncate -s {bytes} {path} && mkfs.ext4 -q {path} && mount -o loop {path} {at}"));
        assert!(made.status.success(), "{}: run the tests as root", String::from_utf8_lossy(&made.stderr));
        let number = fs::metadata(&mounted).expect("it is mounted").dev();
        let device = format!("{}:{}", libc::major(number), libc::minor(number));
        Self { mounted, image, device, group: ControlGroup::of("blkio") }
    }

    /// Where data may be kept on it.
    pub(crate) fn data(&self) -> PathBuf {
        self.mounted.join("data")
    }

    /// What a shell does first that then becomes the process the disk is slow for.
    pub(crate) fn enter(&self) -> String {
        self.group.enter()
    }

    /// Changes one byte of a file where the device has it. The file system, and whoever has the file open, learns nothing of it.
    pub(crate) fn rot(&self, path: &Path, at: u64) {
        let file = File::open(path).expect("a readable file");
        let block_bytes = u64::from(ask_file_system(&file, FIGETBSZ, 0));
        let number = i32::try_from(at / block_bytes).expect("a small file");
        let block = u64::from(ask_file_system(&file, FIBMAP, number));
        assert!(block > 0, "{}: nothing is stored at {at}", path.display());
        let image = OpenOptions::new().read(true).write(true).open(&self.image).expect("a writable image");
        let (mut byte, place) = ([0], block * block_bytes + at % block_bytes);
        image.read_exact_at(&mut byte, place).expect("a byte");
        let stored = fs::read(path).expect("a readable file")[at as usize];
        assert_eq!(byte[0], stored, "{}: {at} is not at {place} of the image", path.display());
        image.write_all_at(&[byte[0] ^ 0x10], place).expect("written");
        image.sync_all().expect("on the disk");
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
        self.group.set("blkio.throttle.write_iops_device", &format!("{} {writes}", self.device));
    }
}

/// The block of the device that a block of a file is in, and how large blocks are (`linux/fs.h`).
const FIBMAP: libc::Ioctl = 1;
const FIGETBSZ: libc::Ioctl = 2;

fn ask_file_system(file: &File, what: libc::Ioctl, mut number: i32) -> u32 {
    // SAFETY: both requests read and write the one number, which outlives the call.
    let failed = unsafe { libc::ioctl(file.as_raw_fd(), what, &raw mut number) != 0 };
    assert!(!failed, "the file system does not say: {}", std::io::Error::last_os_error());
    number.cast_unsigned()
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // Else whoever still writes would end no sooner than that is written.
        self.lift();
    }
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
