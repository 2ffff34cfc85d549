//! The data directory: its shape, its lock, and the file that says whose it is.
//!
//! ```text
//! DATA/member/            mode 0700
//!      lock               flock, for as long as the process lives
//!      identity           written once
//!      wal/<core>/<%016x segment>.log      or where --wal-dir says
//!      snap/<group>-<%016x raft index>.snap
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use thiserror::Error;

use crate::disk::{Disk, OsDisk};
use crate::sector::{u32_at, u64_at};

/// Only the owner reads what clients stored.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Why the data directory cannot be used.
#[derive(Debug, Error)]
pub enum DirError {
    /// Another process has it. The text is etcd's, which scripts look for.
    #[error("open wal error: file already locked ({}: another process uses this data directory; stop it, or give --data-dir)", .0.display())]
    AlreadyLocked(PathBuf),
    /// The identity file was damaged.
    #[error(
        "{} is damaged: {what}. Nothing was changed. Restore it from a backup of this member, or remove the member and add \
         it again with an empty data directory",
        .file.display()
    )]
    DamagedIdentity {
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
    _lock: File,
}

impl DataDir {
    /// Creates what is missing of `data` and its folders, and locks it.
    pub fn open(data: &Path) -> Result<Self, DirError> {
        let member = data.join("member");
        let dirs = [member.clone(), member.join("snap")];
        for dir in &dirs {
            DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(at(dir))?;
        }
        let lock = lock(&member.join("lock"))?;
        for dir in [data, &member] {
            sync_dir(dir).map_err(at(dir))?;
        }
        Ok(Self { member, _lock: lock })
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
        let file = self.identity();
        let bytes = match OsDisk::new(1).read(&file, IDENTITY_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&file)(error)),
        };
        match open_identity(&bytes) {
            Ok(payload) => Ok(Some(payload)),
            Err(what) => Err(DirError::DamagedIdentity { file, what }),
        }
    }

    /// Writes the identity: durable and read back when it returns, and either all of it or nothing after a crash. Meant to
    /// be written once; at most 1 MiB.
    pub fn write_identity(&self, payload: &[u8]) -> Result<(), DirError> {
        let (file, temporary) = (self.identity(), self.member.join("identity.tmp"));
        write_new(&temporary, &seal_identity(payload)).map_err(at(&temporary))?;
        fs::rename(&temporary, &file).map_err(at(&file))?;
        sync_dir(&self.member).map_err(at(&self.member))?;
        match self.read_identity()? {
            Some(read) if read == payload => Ok(()),
            _ => Err(DirError::DamagedIdentity { file, what: "what was just written reads back otherwise" }),
        }
    }

    fn identity(&self) -> PathBuf {
        self.member.join("identity")
    }
}

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
fn sync_dir(dir: &Path) -> io::Result<()> {
    // An empty path is the working directory.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

/// ```text
///  0       8         12       16        24    28
///  | magic | version | 0      | length  | crc | payload
/// ```
/// Little endian; `crc` is CRC-32C over bytes 0..24 and the payload.
const IDENTITY_MAGIC: [u8; 8] = *b"uetcd-id";
const IDENTITY_VERSION: u32 = 1;
const IDENTITY_HEADER: usize = 28;
const IDENTITY_MAX: u64 = 1 << 20;

fn seal_identity(payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() + IDENTITY_HEADER <= IDENTITY_MAX as usize);
    let mut bytes = Vec::with_capacity(IDENTITY_HEADER + payload.len());
    bytes.extend_from_slice(&IDENTITY_MAGIC);
    bytes.extend_from_slice(&IDENTITY_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn open_identity(bytes: &[u8]) -> Result<Bytes, &'static str> {
    let (header, payload) = bytes.split_at_checked(IDENTITY_HEADER).ok_or("it is too short")?;
    if crc32c::crc32c_append(crc32c::crc32c(&header[..24]), payload) != u32_at(header, 24) {
        return Err("its checksum is wrong");
    }
    if header[..8] != IDENTITY_MAGIC || u64_at(header, 16) != payload.len() as u64 {
        return Err("it is not an identity file");
    }
    if u32_at(header, 8) != IDENTITY_VERSION {
        return Err("it was written by another version of uetcd");
    }
    Ok(Bytes::copy_from_slice(payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_an_identity_is_noticed() {
        let good = seal_identity(b"member 7 of cluster 9");
        assert_eq!(open_identity(&good).as_deref(), Ok(&b"member 7 of cluster 9"[..]));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open_identity(&bad).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(open_identity(&good[..length]).is_err(), "{length} bytes");
        }
    }
}
