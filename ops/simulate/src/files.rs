//! The files of one core's log, made, recycled and given up by the same calls as the driver's `files.rs` makes.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use log::sector::BLOCK;
use log::segment::{file_name, format_block, spare_name};
use log::{Closed, CoreId, Disk, NewHeader, Resume, SegmentHeader, Spare};

use crate::disk::{Call, SimDisk};

/// Where the logs of all cores are.
pub(crate) const LOGS: &str = "/log";

/// Spares that are kept, as the driver does.
const SPARES_MAX: usize = 1;

/// One core's folder.
#[derive(Debug)]
pub(crate) struct Folder {
    core: CoreId,
    spares: Vec<Spare>,
}

/// A segment in the making.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// As it will be written.
    pub(crate) header: SegmentHeader,
    pub(crate) recycled: bool,
    pub(crate) calls: VecDeque<Call>,
}

impl Folder {
    /// Takes over the folder after a start; the calls that this needs.
    pub(crate) fn open(resume: &Resume) -> (Self, VecDeque<Call>) {
        let mut folder = Self { core: resume.core, spares: Vec::new() };
        let headers = resume.headers.iter().flat_map(|NewHeader { file, header }| write_header(file, header));
        let mut calls: VecDeque<Call> = headers.chain(resume.litter.iter().cloned().map(Call::Remove)).collect();
        for spare in &resume.spares {
            calls.extend(folder.keep_or_remove(spare.clone()));
        }
        calls.push_back(Call::SyncDir);
        (folder, calls)
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new(LOGS).join(self.core.to_string())
    }

    pub(crate) fn segment(&self, header: &SegmentHeader) -> PathBuf {
        self.path().join(file_name(header.seq))
    }

    /// Gives up a segment.
    pub(crate) fn retire(&mut self, closed: Closed) -> VecDeque<Call> {
        let mut calls = VecDeque::new();
        let call = match closed {
            Closed::Own(header) => self.keep_or_remove(self.spare(&header)),
            Closed::Unused { header, before } => {
                calls.extend(write_header(&self.segment(&before), &before));
                self.keep_or_remove(self.spare(&header))
            }
            Closed::Inherited(segment) if segment.core == self.core => {
                self.keep_or_remove(Spare { file: segment.file, birth: segment.birth, blocks: segment.blocks })
            }
            Closed::Inherited(segment) => Some(Call::Remove(segment.file)),
        };
        calls.extend(call.into_iter().chain([Call::SyncDir]));
        calls
    }

    fn spare(&self, header: &SegmentHeader) -> Spare {
        Spare { file: self.segment(header), birth: header.birth, blocks: header.blocks }
    }

    fn keep_or_remove(&mut self, spare: Spare) -> Option<Call> {
        if self.spares.len() >= SPARES_MAX {
            return Some(Call::Remove(spare.file));
        }
        let file = self.path().join(spare_name(spare.birth));
        let call = (file != spare.file).then(|| Call::Rename(spare.file.clone(), file.clone()));
        self.spares.push(Spare { file, ..spare });
        call
    }

    /// Makes the segment `wanted` ready, from a spare or anew; `before` is the header that names it.
    pub(crate) fn prepare(&mut self, wanted: SegmentHeader, before: Option<SegmentHeader>) -> Prepared {
        let fitting = self.spares.iter().position(|spare| spare.blocks == wanted.blocks);
        let (header, path, mut calls) = if let Some(place) = fitting {
            let spare = self.spares.swap_remove(place);
            (SegmentHeader { birth: spare.birth, ..wanted }, spare.file, VecDeque::new())
        } else {
            let mut calls: VecDeque<Call> = self.spares.drain(..).map(|spare| Call::Remove(spare.file)).collect();
            let path = self.path().join(spare_name(wanted.birth));
            calls.push_back(Call::Make(path.clone(), formatted(&wanted)));
            calls.push_back(Call::Sync(path.clone()));
            (wanted, path, calls)
        };
        calls.extend(write_header(&path, &header));
        calls.push_back(Call::Rename(path, self.segment(&header)));
        calls.push_back(Call::SyncDir);
        calls.extend(before.into_iter().flat_map(|before| write_header(&self.segment(&before), &before)));
        Prepared { header, recycled: fitting.is_some(), calls }
    }

    /// The bytes of a segment.
    pub(crate) fn read(&self, disk: &SimDisk, header: &SegmentHeader) -> Option<Vec<u8>> {
        disk.read(&self.segment(header), u64::MAX).ok().map(|bytes| bytes.to_vec())
    }
}

fn write_header(path: &Path, header: &SegmentHeader) -> [Call; 2] {
    let mut block = vec![0; BLOCK];
    header.encode(&mut block);
    [Call::Write(path.to_owned(), 0, block), Call::Sync(path.to_owned())]
}

fn formatted(header: &SegmentHeader) -> Vec<u8> {
    let mut bytes = vec![0; header.size_bytes() as usize];
    for (block, number) in bytes.chunks_exact_mut(BLOCK).zip(0..) {
        format_block(block, header.seed(), number, header.birth);
    }
    bytes
}
