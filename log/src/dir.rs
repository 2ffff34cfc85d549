//! The data directory: its shape, its lock, and the files that say whose it is and which logs there must be.
//!
//! ```text
//! DATA/member/            mode 0700
//!      lock               flock, for as long as the process lives
//!      identity           written once
//!      logs               which logs the newest start has begun
//!      peers              what the other members' disks have held
//!      wal/<core>/<%016x segment>.log      or where --wal-dir says
//!      wal/mended/        a log that is to take the place of those beside it, while that is prepared
//!      snap/<group>-<%016x raft index>.snap
//!      staged/            snapshots that are to take the place of everything, while that is prepared
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use thiserror::Error;

use crate::begun::BegunLogs;
use crate::disk::{Disk, OsDisk};
use crate::ids::{CoreId, Epoch};
use crate::recovery::{core_dir, cores_below};
use crate::sealed::{SEALED_MAX, Sealed};
use crate::sector::BLOCK;
use crate::segment::SegmentHeader;

/// Only the owner reads what clients stored.
const DIR_MODE: u32 = 0o700;
/// See [`DIR_MODE`].
pub(crate) const FILE_MODE: u32 = 0o600;

/// Makes a directory for what clients stored, with what is missing above it; one that is there stays as it is.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
}

/// Why the data directory cannot be used.
#[derive(Debug, Error)]
pub enum DirError {
    /// Another process has it. The text is etcd's, which scripts look for.
    #[error("open wal error: file already locked ({}: another process uses this data directory; stop it, or give --data-dir)", .0.display())]
    AlreadyLocked(PathBuf),
    /// A file that says who or what is here was damaged.
    #[error(
        "{} is damaged: {what}. Nothing was changed. Restore it from a backup of this member, or remove the member and add \
         it again with an empty data directory",
        .file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The system refused.
    #[error("cannot use {}: {source}. Check the disk, and the owner and mode of the data directory", .file.display())]
    Io {
        /// The file or directory.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn at(file: &Path) -> impl FnOnce(io::Error) -> DirError {
    move |source| DirError::Io { file: file.to_owned(), source }
}

/// A locked data directory. Blocking: for use before the executors serve. The lock ends when this is dropped, or the
/// process ends.
#[derive(Debug)]
pub struct DataDir {
    member: PathBuf,
    _lock: Option<File>,
}

impl DataDir {
    /// Creates what is missing of `data` and its folders, and locks it.
    pub fn open(data: &Path) -> Result<Self, DirError> {
        let member = data.join("member");
        let dirs = [member.clone(), member.join("snap")];
        for dir in &dirs {
            make_dir(dir).map_err(at(dir))?;
        }
        let lock = lock(&member.join("lock"))?;
        for dir in [data, &member] {
            sync_dir(dir).map_err(at(dir))?;
        }
        Ok(Self { member, _lock: Some(lock) })
    }

    /// A directory that is only looked at, another member's or a copy; nothing in it is made or changed. Locked as far as
    /// there is something to lock, so that no process uses it meanwhile.
    pub fn look(data: &Path) -> Result<Self, DirError> {
        let member = data.join("member");
        let path = member.join("lock");
        let lock = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened.map_err(at(&path))?),
        };
        match lock.as_ref().map(File::try_lock_shared) {
            Some(Err(TryLockError::WouldBlock)) => Err(DirError::AlreadyLocked(path)),
            Some(Err(TryLockError::Error(error))) => Err(at(&path)(error)),
            Some(Ok(())) | None => Ok(Self { member, _lock: lock }),
        }
    }

    /// `DATA/member`.
    pub fn member(&self) -> &Path {
        &self.member
    }

    /// Where the snapshots are.
    pub fn snap(&self) -> PathBuf {
        self.member.join("snap")
    }

    /// The identity as written by [`DataDir::write_identity`], or `None` if it never was.
    pub fn read_identity(&self) -> Result<Option<Bytes>, DirError> {
        self.read(IDENTITY)
    }

    /// Writes the identity: durable and read back when it returns, and either all of it or nothing after a crash. Meant to
    /// be written once; at most 1 MiB.
    pub fn write_identity(&self, payload: &[u8]) -> Result<(), DirError> {
        self.write(IDENTITY, payload)
    }

    /// Which logs there must be at least, or `None` if no start has got as far as noting it.
    pub fn read_begun(&self) -> Result<Option<BegunLogs>, DirError> {
        let Some(payload) = self.read(BEGUN)? else { return Ok(None) };
        let damaged = || DirError::Damaged { file: self.member.join(BEGUN.name), what: "its length is wrong" };
        BegunLogs::decode(&payload).map(Some).ok_or_else(damaged)
    }

    /// Notes which logs there must be from now on, like [`DataDir::write_identity`]. To be called when each of them has
    /// something durable in it.
    pub fn write_begun(&self, begun: BegunLogs) -> Result<(), DirError> {
        self.write(BEGUN, &begun.encode())
    }

    /// What is remembered of the other members, as written by [`DataDir::write_peers`], or `None` if it never was.
    pub fn read_peers(&self) -> Result<Option<Bytes>, DirError> {
        self.read(PEERS)
    }

    /// Writes it, like [`DataDir::write_identity`].
    pub fn write_peers(&self, payload: &[u8]) -> Result<(), DirError> {
        self.write(PEERS, payload)
    }

    /// An empty folder for snapshots that will be [taken over](Self::adopt_staged). What an earlier attempt left is removed.
    pub fn stage(&self) -> Result<PathBuf, DirError> {
        self.drop_staged()?;
        let staged = self.staged();
        make_dir(&staged).map_err(at(&staged))?;
        sync_dir(&self.member).map_err(at(&self.member))?;
        Ok(staged)
    }

    /// Moves what is staged to the snapshots, durably; interrupted, it can be done again, and done again it does nothing.
    /// `log`: where the logs are. If there is none yet, the folder of the first is made: snapshots without a log look lost.
    pub fn adopt_staged(&self, log: &Path) -> Result<(), DirError> {
        let first = core_dir(log, CoreId::new(0));
        make_dir(&first).map_err(at(&first))?;
        sync_dir(log).map_err(at(log))?;
        let (staged, snap) = (self.staged(), self.snap());
        let names = match staged.read_dir() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            names => names.map_err(at(&staged))?,
        };
        for name in names {
            let from = name.map_err(at(&staged))?.path();
            let to = snap.join(from.file_name().unwrap_or_default());
            fs::rename(&from, &to).map_err(at(&from))?;
        }
        sync_dir(&snap).map_err(at(&snap))?;
        self.drop_staged()
    }

    /// Removes what is staged and was not taken over.
    pub fn drop_staged(&self) -> Result<(), DirError> {
        let staged = self.staged();
        match fs::remove_dir_all(&staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&staged)(error)),
            _ => Ok(()),
        }
    }

    /// Renames the logs of all cores, so that they count no more: `0` becomes `0.broken`, which takes the place of what was
    /// set aside before. Nothing notes any more that they must be there. Returns where they are; interrupted, it can be done again.
    pub fn set_logs_aside(&self, log: &Path) -> Result<Vec<PathBuf>, DirError> {
        let note = self.member.join(BEGUN.name);
        match fs::remove_file(&note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&note)(error)),
            _ => sync_dir(&self.member).map_err(at(&self.member))?,
        }
        let mut aside = Vec::new();
        for core in cores_in(log)? {
            let (from, to) = (core_dir(log, core), log.join(format!("{core}.broken")));
            match fs::remove_dir_all(&to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&to)(error)),
                _ => fs::rename(&from, &to).map_err(at(&from))?,
            }
            aside.push(to);
        }
        sync_dir(log).map_err(at(log))?;
        Ok(aside)
    }

    /// An empty folder beside the logs for a log that will [take their place](Self::adopt_mended). What an earlier attempt left
    /// is removed.
    pub fn begin_mended(&self, log: &Path) -> Result<PathBuf, DirError> {
        self.drop_mended(log)?;
        let mended = log.join(MENDED);
        make_dir(&mended).map_err(at(&mended))?;
        sync_dir(log).map_err(at(log))?;
        Ok(mended)
    }

    /// Sets the logs aside, under names that nothing has had, and puts what was written beside them in their place; durably.
    /// From then on there must be that log. Interrupted, it can be done again, and done again it does nothing. Returns where the
    /// old logs are.
    pub fn adopt_mended(&self, log: &Path) -> Result<Vec<PathBuf>, DirError> {
        let (new, place) = (core_dir(&log.join(MENDED), CoreId::new(0)), core_dir(log, CoreId::new(0)));
        let mut aside = Vec::new();
        if new.exists() {
            // First: nobody looks at it before this is done, and afterwards nothing would say that it is yet to be written.
            self.write_begun(BegunLogs { epoch: newest_epoch(&new)?, logs: 1 })?;
            for core in cores_in(log)? {
                let (from, to) = (core_dir(log, core), unused(log, core));
                fs::rename(&from, &to).map_err(at(&from))?;
                aside.push(to);
            }
            sync_dir(log).map_err(at(log))?;
            fs::rename(&new, &place).map_err(at(&new))?;
            sync_dir(log).map_err(at(log))?;
        }
        self.drop_mended(log)?;
        Ok(aside)
    }

    /// Removes what was written to take the place of the logs, and does not.
    pub fn drop_mended(&self, log: &Path) -> Result<(), DirError> {
        let mended = log.join(MENDED);
        match fs::remove_dir_all(&mended) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&mended)(error)),
            _ => Ok(()),
        }
    }

    fn staged(&self) -> PathBuf {
        self.member.join("staged")
    }

    fn read(&self, what: Sealed) -> Result<Option<Bytes>, DirError> {
        let file = self.member.join(what.name);
        let bytes = match OsDisk::new(1).read(&file, SEALED_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&file)(error)),
        };
        match what.open(&bytes) {
            Ok(payload) => Ok(Some(payload)),
            Err(what) => Err(DirError::Damaged { file, what }),
        }
    }

    fn write(&self, what: Sealed, payload: &[u8]) -> Result<(), DirError> {
        let (file, temporary) = (self.member.join(what.name), self.member.join(format!("{}.tmp", what.name)));
        write_new(&temporary, &what.seal(payload)).map_err(at(&temporary))?;
        fs::rename(&temporary, &file).map_err(at(&file))?;
        sync_dir(&self.member).map_err(at(&self.member))?;
        match self.read(what)? {
            Some(read) if read == payload => Ok(()),
            _ => Err(DirError::Damaged { file, what: "what was just written reads back otherwise" }),
        }
    }
}

/// Where a log is written that is to take the place of those beside it.
const MENDED: &str = "mended";

fn cores_in(log: &Path) -> Result<Vec<CoreId>, DirError> {
    cores_below(&OsDisk::new(1), log).map_err(|error| at(log)(io::Error::other(error.to_string())))
}

/// The newest start that has a segment in this folder of a log.
fn newest_epoch(folder: &Path) -> Result<Epoch, DirError> {
    let disk = OsDisk::new(1);
    let mut newest = None;
    for name in disk.names(folder).map_err(at(folder))? {
        let file = folder.join(name);
        let begin = disk.read(&file, BLOCK as u64).map_err(at(&file))?;
        newest = newest.max(SegmentHeader::decode(&begin).ok().map(|header| header.epoch));
    }
    newest.ok_or_else(|| DirError::Damaged { file: folder.to_owned(), what: "there is no log in it" })
}

/// A name for a core's log that does not count any more; nothing that was set aside before is touched.
fn unused(log: &Path, core: CoreId) -> PathBuf {
    let names = std::iter::once(format!("{core}.damaged")).chain((2..).map(|nth| format!("{core}.damaged.{nth}")));
    let free = names.map(|name| log.join(name)).find(|path| !path.exists());
    free.unwrap_or_else(|| log.join(format!("{core}.damaged")))
}

const IDENTITY: Sealed = Sealed { name: "identity", magic: *b"uetcd-id" };
const BEGUN: Sealed = Sealed { name: "logs", magic: *b"uetcd-lg" };
const PEERS: Sealed = Sealed { name: "peers", magic: *b"uetcd-pr" };

fn lock(path: &Path) -> Result<File, DirError> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(path).map_err(at(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DirError::AlreadyLocked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(at(path)(error)),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // An empty path is the working directory.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::BatchSeq;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = dir.read_dir().expect("there").map(|name| name.expect("read").file_name()).collect();
        names.sort();
        names.into_iter().map(|name| name.into_string().expect("text")).collect()
    }

    #[test]
    fn what_is_staged_is_taken_over_also_after_an_interruption() {
        let home = tempfile::tempdir().expect("a directory for temporary files");
        let (dir, wal) = (DataDir::open(home.path()).expect("free"), home.path().join("member/wal"));
        fs::write(dir.snap().join("old"), "x").expect("written");
        let staged = dir.stage().expect("made");
        fs::write(staged.join("left over"), "x").expect("written");
        let staged = dir.stage().expect("made anew");
        assert!(names(&staged).is_empty());
        for name in ["a", "b"] {
            fs::write(staged.join(name), name).expect("written");
        }
        fs::rename(staged.join("a"), dir.snap().join("a")).expect("the interrupted attempt");
        for _ in 0..2 {
            dir.adopt_staged(&wal).expect("finished");
            assert_eq!(
                (names(&dir.snap()), names(&wal)),
                (vec!["a".into(), "b".into(), "old".into()], vec!["0".into()])
            );
            assert!(!staged.exists());
        }
        dir.stage().and_then(|_| dir.drop_staged()).and_then(|()| dir.drop_staged()).expect("dropped twice");
        assert!(!staged.exists());
    }

    fn a_header(epoch: Epoch) -> SegmentHeader {
        SegmentHeader { epoch, first_batch: BatchSeq::new(1), ..SegmentHeader::sample(1) }
    }

    #[test]
    fn a_mended_log_takes_the_place_of_the_old_ones_also_after_an_interruption() {
        let home = tempfile::tempdir().expect("a directory for temporary files");
        let (dir, wal) = (DataDir::open(home.path()).expect("free"), home.path().join("member/wal"));
        let old = |core: &str| {
            fs::create_dir_all(wal.join(core)).expect("made");
            fs::write(wal.join(core).join("old"), core).expect("written");
        };
        let new = |epoch: u64| {
            let mended = dir.begin_mended(&wal).expect("made");
            fs::create_dir(mended.join("0")).expect("made");
            let mut block = [0; BLOCK];
            a_header(Epoch::new(epoch)).encode(&mut block);
            fs::write(mended.join("0/new"), block).expect("written");
        };
        ["0", "1"].into_iter().for_each(old);
        new(9);
        dir.drop_mended(&wal).expect("dropped");
        let noted = BegunLogs { epoch: Epoch::new(2), logs: 2 };
        dir.write_begun(noted).expect("noted");
        assert_eq!((names(&wal), names(&wal.join("0"))), (vec!["0".into(), "1".into()], vec!["old".into()]));
        for nth in 1..4 {
            new(2 + nth);
            // Killed after so many renames: of neither log, of one, of both.
            if nth > 1 {
                fs::rename(wal.join("0"), unused(&wal, CoreId::new(0))).expect("renamed");
            }
            if nth > 2 {
                let mended = BegunLogs { epoch: Epoch::new(2 + nth), logs: 1 };
                dir.write_begun(mended).expect("noted");
                fs::rename(wal.join("mended/0"), wal.join("0")).expect("renamed");
            }
            for _ in 0..2 {
                dir.adopt_mended(&wal).expect("finished");
                assert_eq!(names(&wal.join("0")), ["new"]);
                assert!(!wal.join("mended").exists() && !wal.join("1").exists());
                let noted = dir.read_begun().expect("readable").expect("it must be there");
                assert_eq!((noted.epoch, noted.logs), (Epoch::new(2 + nth), 1));
            }
        }
        let want = ["0", "0.damaged", "0.damaged.2", "0.damaged.3", "1.damaged"];
        assert_eq!(names(&wal), want);
        assert_eq!(
            (names(&wal.join("0.damaged")), names(&wal.join("1.damaged"))),
            (vec!["old".into()], vec!["old".into()])
        );
    }
}
