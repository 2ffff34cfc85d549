//! Writing a snapshot where there is no executor: before a start.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{SnapshotEncoder, SnapshotError, SnapshotHead, TEMPORARY, snapshot_file_name};
use crate::dir::{FILE_MODE, sync_dir};

/// Writes a whole snapshot into `dir`, or the `copy` of one, in `pieces` of at most [`super::SNAPSHOT_CHUNK_MAX`] bytes each;
/// what has its name is replaced. When this returns it is durable under its name, which is returned. Blocks.
pub fn write_snapshot<P: AsRef<[u8]>>(
    dir: &Path,
    head: SnapshotHead,
    copy: bool,
    pieces: impl IntoIterator<Item = P>,
) -> Result<PathBuf, SnapshotError> {
    let name = snapshot_file_name(head.group, head.position.index, copy);
    let (path, temporary) = (dir.join(&name), dir.join(format!("{name}{TEMPORARY}")));
    let written = write(&temporary, head, pieces).and_then(|()| std::fs::rename(&temporary, &path));
    written.and_then(|()| sync_dir(dir)).map_err(|source| SnapshotError::Io { file: path.clone(), source })?;
    Ok(path)
}

fn write<P: AsRef<[u8]>>(file: &Path, head: SnapshotHead, pieces: impl IntoIterator<Item = P>) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(FILE_MODE).open(file)?;
    let mut out = Vec::new();
    let mut encoder = SnapshotEncoder::new(head, &mut out);
    for piece in pieces {
        encoder.chunk(piece.as_ref(), &mut out);
        file.write_all(&out)?;
        out.clear();
    }
    encoder.finish(&mut out);
    file.write_all(&out)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::read_snapshot;
    use super::*;
    use crate::ids::{GroupId, Position, RaftIndex};

    #[test]
    fn what_is_written_here_reads_back() {
        let dir = tempfile::tempdir().expect("a directory for temporary files");
        let position = Position { index: RaftIndex::new(7), term: 3 };
        let head = SnapshotHead { group: GroupId::new(2), position };
        for (pieces, copy, files) in
            [(vec![], false, 1), (vec![&b"one"[..], &[5; 9000], b""], false, 1), (vec![&b"two"[..]], true, 2)]
        {
            let path = write_snapshot(dir.path(), head, copy, &pieces).expect("there is room");
            let (read, chunks) = read_snapshot(&path).expect("whole");
            assert_eq!((read, chunks.iter().map(|chunk| &chunk[..]).collect::<Vec<_>>()), (head, pieces));
            assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), files);
        }
    }
}
