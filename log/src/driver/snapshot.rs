//! Writing snapshots without holding the core up.

use std::io;
use std::path::{Path, PathBuf};

use glommio::io::{DmaFile, OpenOptions, remove, rename};

use super::files::{sync_dir, write_all};
use super::system;
use crate::ids::GroupId;
use crate::sector::BLOCK;
use crate::snapshot::{
    SnapshotEncoder, SnapshotError, SnapshotHead, TEMPORARY, list_snapshots, parse_snapshot_name, snapshot_file_name,
};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// One snapshot being written. Not there until [`SnapshotWriter::finish`] has returned; what a crash before leaves behind
/// has no snapshot's name, and [`prune_snapshots`] removes it.
#[derive(Debug)]
pub struct SnapshotWriter {
    file: DmaFile,
    dir: PathBuf,
    temporary: PathBuf,
    path: PathBuf,
    encoder: SnapshotEncoder,
    pending: Vec<u8>,
    written: u64,
}

fn at(file: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    move |source| SnapshotError::Io { file: file.to_owned(), source }
}

impl SnapshotWriter {
    /// Begins a snapshot in `dir` (`DATA/member/snap`). If there is one of the same position, this becomes its copy.
    pub async fn create(dir: &Path, head: SnapshotHead) -> Result<Self, SnapshotError> {
        const OWNER_ONLY: u32 = 0o600;
        let name = |copy| snapshot_file_name(head.group, head.position.index, copy);
        let name = name(dir.join(name(false)).exists());
        let (path, temporary) = (dir.join(&name), dir.join(format!("{name}{TEMPORARY}")));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(OWNER_ONLY);
        let file = options.dma_open(&temporary).await.map_err(system).map_err(at(&temporary))?;
        let mut pending = Vec::with_capacity(WRITE_BYTES * 2);
        let encoder = SnapshotEncoder::new(head, &mut pending);
        Ok(Self { file, dir: dir.to_owned(), temporary, path, encoder, pending, written: 0 })
    }

    /// Adds a chunk, of at most [`crate::SNAPSHOT_CHUNK_MAX`] bytes, and lets other tasks of the core have their turn. An
    /// error (a full disk, say) ends this snapshot: [`SnapshotWriter::abort`] it.
    pub async fn chunk(&mut self, payload: &[u8]) -> Result<(), SnapshotError> {
        self.encoder.chunk(payload, &mut self.pending);
        if self.pending.len() >= WRITE_BYTES {
            self.write(self.pending.len() / BLOCK * BLOCK).await?;
        }
        glommio::executor().yield_now().await;
        Ok(())
    }

    /// Bytes so far, those that are gathered included.
    pub fn bytes(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Ends the snapshot. When this returns it is durable under its name, which is returned.
    pub async fn finish(mut self) -> Result<PathBuf, SnapshotError> {
        self.encoder.finish(&mut self.pending);
        self.write(self.pending.len()).await?;
        self.file.fdatasync().await.map_err(system).map_err(at(&self.temporary))?;
        self.file.close().await.map_err(system).map_err(at(&self.temporary))?;
        rename(&self.temporary, &self.path).await.map_err(system).map_err(at(&self.path))?;
        sync_dir(&self.dir).await.map_err(at(&self.dir))?;
        Ok(self.path)
    }

    /// Gives up and removes what was written.
    pub async fn abort(self) -> Result<(), SnapshotError> {
        remove(&self.temporary).await.map_err(system).map_err(at(&self.temporary))?;
        self.file.close().await.map_err(system).map_err(at(&self.temporary))
    }

    async fn write(&mut self, length: usize) -> Result<(), SnapshotError> {
        let mut buffer = self.file.alloc_dma_buffer(length);
        buffer.trim_to_size(length);
        buffer.as_bytes_mut().copy_from_slice(&self.pending[..length]);
        write_all(&self.file, buffer, self.written).await.map_err(at(&self.temporary))?;
        self.written += length as u64;
        self.pending.drain(..length);
        Ok(())
    }
}

/// Removes a group's snapshots but the newest `keep`, at least one. Call it after a newer one is durable
/// ([`SnapshotWriter::finish`] has returned) and none of the group is being written, and keep at least two: the older one
/// is what a damaged one falls back to. Returns how many files were removed, unfinished ones included.
pub async fn prune_snapshots(dir: &Path, group: GroupId, keep: usize) -> Result<usize, SnapshotError> {
    let files = list_snapshots(dir).map_err(at(dir))?;
    let older = files.into_iter().filter(|file| file.group == group).skip(keep.max(1)).map(|file| file.path);
    let unfinished = unfinished(dir, group).map_err(at(dir))?;
    let mut removed = 0;
    for path in older.chain(unfinished) {
        remove(&path).await.map_err(system).map_err(at(&path))?;
        removed += 1;
    }
    if removed > 0 {
        sync_dir(dir).await.map_err(at(dir))?;
    }
    Ok(removed)
}

/// What writers of the group's snapshots left behind when they were cut off.
fn unfinished(dir: &Path, group: GroupId) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in dir.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(TEMPORARY));
        let ours = name.is_some_and(|name| parse_snapshot_name(name).is_some_and(|(owner, ..)| owner == group));
        paths.extend(ours.then_some(path));
    }
    Ok(paths)
}
