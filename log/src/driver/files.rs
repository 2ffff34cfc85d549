//! The files of one core's folder: made, recycled, given up.
//!
//! A name ending in `.log` is a promise (a good header, valid stamps everywhere), so a file gets it last and loses it
//! first: whatever happens in between happens under the name of a spare.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glommio::io::{DmaFile, OpenOptions, remove, rename};

use super::{is_out_of_space, system};
use crate::appender::Closed;
use crate::ids::CoreId;
use crate::recovery::{NewHeader, Spare};
use crate::sector::BLOCK;
use crate::segment::{SEGMENT_BYTES_MIN, SegmentHeader, file_name, format_block, spare_name};

/// One spare is what a steady log needs (a segment is given up for each that is begun); more would hold space for nothing.
const SPARES_MAX: usize = 1;

/// Formatting goes in steps of this many blocks (256 KiB), so that other tasks of the core get their turn.
const FORMAT_STEP_BLOCKS: u32 = 64;

/// A file that only holds space: for the small segment of a start that finds the disk full.
const BALLAST: &str = "ballast";

/// A file that only exists while the device is looked at.
const PROBE: &str = "probe";

/// The part of a segment's size that such a start makes do with, and that the ballast holds.
const EMERGENCY_DIVISOR: u32 = 16;

/// One core's folder, and the files kept to be recycled.
#[derive(Debug)]
pub(super) struct Folder {
    core: CoreId,
    path: PathBuf,
    spares: Vec<Spare>,
    has_ballast: bool,
}

impl Folder {
    /// Takes over the folder after a start: what is not part of the log becomes a spare, or goes.
    pub(super) async fn open(
        core: CoreId,
        path: PathBuf,
        headers: Vec<NewHeader>,
        spares: Vec<Spare>,
        litter: Vec<PathBuf>,
    ) -> io::Result<Self> {
        let has_ballast = path.join(BALLAST).exists();
        let mut folder = Self { core, path, spares: Vec::new(), has_ballast };
        for NewHeader { file, header } in headers {
            wait_for_writes(&file, &header).await?;
            change_header(&file, &header).await?;
        }
        for file in litter {
            remove(&file).await.map_err(system)?;
        }
        for spare in spares {
            folder.keep_or_remove(spare).await?;
        }
        folder.sync().await?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn segment_path(&self, header: &SegmentHeader) -> PathBuf {
        self.path.join(file_name(header.seq))
    }

    /// Gives up a segment; durable when it returns.
    pub(super) async fn retire(&mut self, closed: Closed) -> io::Result<()> {
        match closed {
            Closed::Own(ref header) => {
                self.keep_or_remove(self.spare(header)).await?;
                self.sync().await
            }
            Closed::Unused { ref header, ref before } => {
                self.change_header(before).await?;
                self.keep_or_remove(self.spare(header)).await?;
                self.sync().await
            }
            Closed::Inherited(segment) if segment.core == self.core => {
                self.keep_or_remove(Spare { file: segment.file, birth: segment.birth, blocks: segment.blocks }).await?;
                self.sync().await
            }
            // Another core's file carries stamps of another seed.
            Closed::Inherited(_) => self.discard(&closed).await,
        }
    }

    /// A segment of this start, to be given up.
    fn spare(&self, header: &SegmentHeader) -> Spare {
        Spare { file: self.segment_path(header), birth: header.birth, blocks: header.blocks }
    }

    /// Gives up a segment that must not be recycled; durable when it returns.
    pub(super) async fn discard(&self, closed: &Closed) -> io::Result<()> {
        let file = match closed {
            Closed::Own(header) => self.segment_path(header),
            Closed::Unused { header, before } => {
                self.change_header(before).await?;
                self.segment_path(header)
            }
            Closed::Inherited(segment) => segment.file.clone(),
        };
        remove(&file).await.map_err(system)?;
        sync_dir(file.parent().unwrap_or(&self.path)).await
    }

    async fn keep_or_remove(&mut self, spare: Spare) -> io::Result<()> {
        if self.spares.len() >= SPARES_MAX {
            return remove(&spare.file).await.map_err(system);
        }
        let file = self.path.join(spare_name(spare.birth));
        if file != spare.file {
            rename(&spare.file, &file).await.map_err(system)?;
        }
        self.spares.push(Spare { file, ..spare });
        Ok(())
    }

    /// Writes the header of a segment of this start that has batches anew; durable when it returns.
    pub(super) async fn change_header(&self, header: &SegmentHeader) -> io::Result<()> {
        change_header(&self.segment_path(header), header).await
    }

    /// Makes the segment `wanted` ready, from a spare or anew. Returns the header as written, and the open file.
    pub(super) async fn prepare(&mut self, wanted: SegmentHeader) -> io::Result<(SegmentHeader, Rc<DmaFile>)> {
        let fitting = self.spares.iter().position(|spare| spare.blocks == wanted.blocks);
        let (header, path, file) = if let Some(place) = fitting {
            // Off the list before it is touched: should this fail, the file is as good as gone until the next start.
            let spare = self.spares.swap_remove(place);
            let header = SegmentHeader { birth: spare.birth, ..wanted };
            let file = open(&spare.file, false).await?;
            allocate(&file, &header).await?;
            (header, spare.file, file)
        } else {
            self.drop_spares().await?;
            let path = self.path.join(spare_name(wanted.birth));
            let file = match make(&path, &wanted).await {
                Ok(file) => file,
                Err(error) => {
                    // Space is what is short: a half-made file must not hold any. Its name makes it harmless if it stays.
                    let _ = remove(&path).await;
                    return Err(error);
                }
            };
            (wanted, path, file)
        };
        write_header(&file, &header).await?;
        file.fdatasync().await.map_err(system)?;
        rename(&path, self.segment_path(&header)).await.map_err(system)?;
        self.sync().await?;
        file.close().await.map_err(system)?;
        let file = open_for_batches(&self.segment_path(&header)).await?;
        Ok((header, Rc::new(file)))
    }

    /// Makes the first segment of a start ready; a small one where there is no space for more.
    pub(super) async fn prepare_first(&mut self, wanted: SegmentHeader) -> io::Result<(SegmentHeader, Rc<DmaFile>)> {
        match self.prepare(wanted).await {
            Err(error) if is_out_of_space(&error) => {
                if std::mem::take(&mut self.has_ballast) {
                    remove(self.path.join(BALLAST)).await.map_err(system)?;
                }
                self.prepare(SegmentHeader { blocks: emergency_blocks(wanted.blocks), ..wanted }).await
            }
            done => done,
        }
    }

    /// Puts space aside for a start on a full disk, once there is some to spare. To be called when space was found for a
    /// segment of `blocks`.
    pub(super) async fn keep_ballast(&mut self, blocks: u32) -> io::Result<()> {
        if self.has_ballast {
            return Ok(());
        }
        let path = self.path.join(BALLAST);
        match take_space(&path, u64::from(emergency_blocks(blocks)) * BLOCK as u64).await {
            Err(error) if is_out_of_space(&error) => {
                // Half of it is of no use; that there was no space even for the name is no news.
                let _ = remove(&path).await;
                Ok(())
            }
            taken => {
                self.has_ballast = taken.is_ok();
                taken
            }
        }
    }

    /// Spares of another size (an oversize segment's, or from before the size was changed) only hold space.
    async fn drop_spares(&mut self) -> io::Result<()> {
        for spare in std::mem::take(&mut self.spares) {
            remove(&spare.file).await.map_err(system)?;
        }
        Ok(())
    }

    async fn sync(&self) -> io::Result<()> {
        sync_dir(&self.path).await
    }
}

/// Has glommio learn, on this thread and before it opens any other file below `dir`, whether the device can be polled. It
/// finds out once per device by reading from the first file, and takes it that it can when that file is empty, as a new
/// segment is: then no read succeeds, and the core spins while it writes.
pub(super) async fn learn_device(dir: &Path) -> io::Result<()> {
    let path = dir.join(PROBE);
    if let Err(error) = std::fs::write(&path, [0; BLOCK]) {
        // What is there of it is of no use, and is overwritten by the next start if it stays.
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    let opened = OpenOptions::new().read(true).dma_open(&path).await.map_err(system);
    remove(&path).await.map_err(system)?;
    opened?.close().await.map_err(system)
}

fn emergency_blocks(blocks: u32) -> u32 {
    (blocks / EMERGENCY_DIVISOR).max((SEGMENT_BYTES_MIN / BLOCK as u64) as u32)
}

/// A file of this size that takes its space and holds nothing.
async fn take_space(path: &Path, bytes: u64) -> io::Result<()> {
    let file = open(path, true).await?;
    let taken = file.pre_allocate(bytes, false).await.map_err(system);
    file.close().await.map_err(system)?;
    match taken {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        taken => taken,
    }
}

/// Makes the names in `dir` durable, on a thread that may block: opening and syncing a directory can wait for the
/// filesystem's journal.
pub(super) async fn sync_dir(dir: &Path) -> io::Result<()> {
    // An empty path is the working directory.
    let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir.to_owned() };
    glommio::executor().spawn_blocking(move || std::fs::File::open(dir)?.sync_all()).await
}

async fn open(path: &Path, fresh: bool) -> io::Result<DmaFile> {
    const OWNER_ONLY: u32 = 0o600;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(fresh).truncate(fresh).mode(OWNER_ONLY);
    options.dma_open(path).await.map_err(system)
}

/// A segment that is ready, to write batches to: a write returns when it is durable (`O_DSYNC`). That is one trip to the disk and back for the
/// kernel alone, where a write and an fdatasync come back to the executor in between, and the fdatasync needs a thread.
async fn open_for_batches(path: &Path) -> io::Result<DmaFile> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_DSYNC).dma_open(path).await.map_err(system)
}

/// A new file with its space taken and every sector formatted.
async fn make(path: &Path, header: &SegmentHeader) -> io::Result<DmaFile> {
    let file = open(path, true).await?;
    allocate(&file, header).await?;
    let mut number = 0;
    while number < header.blocks {
        let step = FORMAT_STEP_BLOCKS.min(header.blocks - number);
        let mut buffer = file.alloc_dma_buffer(step as usize * BLOCK);
        for (block, number) in buffer.as_bytes_mut().chunks_exact_mut(BLOCK).zip(number..) {
            format_block(block, header.seed(), number, header.birth);
        }
        write_all(&file, buffer, u64::from(number) * BLOCK as u64).await?;
        number += step;
        glommio::executor().yield_now().await;
    }
    file.fdatasync().await.map_err(system)?;
    Ok(file)
}

/// Takes the file's space. On a recycled file it changes nothing, and waits for direct writes of a process that was killed.
async fn allocate(file: &DmaFile, header: &SegmentHeader) -> io::Result<()> {
    match file.pre_allocate(header.size_bytes(), false).await.map_err(system) {
        // Not every file system can; formatting writes every block anyway.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        other => other,
    }
}

/// What a killed process was still writing to a segment is written, or never will be.
async fn wait_for_writes(path: &Path, header: &SegmentHeader) -> io::Result<()> {
    let file = open(path, false).await?;
    allocate(&file, header).await?;
    file.close().await.map_err(system)
}

async fn write_header(file: &DmaFile, header: &SegmentHeader) -> io::Result<()> {
    let mut buffer = file.alloc_dma_buffer(BLOCK);
    header.encode(buffer.as_bytes_mut());
    write_all(file, buffer, 0).await
}

/// Writes the header of a segment with batches anew: the first sector is the old or the new one whatever happens, and nothing
/// else changes.
async fn change_header(path: &Path, header: &SegmentHeader) -> io::Result<()> {
    let file = open_for_batches(path).await?;
    write_header(&file, header).await?;
    file.close().await.map_err(system)
}

/// Writes the whole buffer, or fails: a short write means that space or the device gave out in the middle.
pub(super) async fn write_all(file: &DmaFile, buffer: glommio::io::DmaBuffer, at: u64) -> io::Result<()> {
    let length = buffer.len();
    let written = file.write_at(buffer, at).await.map_err(system)?;
    if written == length {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::WriteZero, format!("only {written} of {length} bytes were written")))
}
