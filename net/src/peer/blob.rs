//! Bytes that stand behind a frame's archive instead of in it.
//!
//! A field `#[rkyv(with = Blob)] data: Bytes` is archived as its length. The bytes themselves follow the archive, in the
//! order of the fields, each from a multiple of 16 on: written once, straight into the buffer that is sent, and
//! handed out as slices of the buffer that was received.

use std::fmt;

use bytes::Bytes;
use rkyv::rancor::{Fallible, Strategy};
use rkyv::rend::unaligned::u32_ule;
use rkyv::ser::{Positional, Serializer, Writer};
use rkyv::with::{ArchiveWith, DeserializeWith, SerializeWith};
use rkyv::{Archive, Place};

use super::ALIGN;

/// The wrapper for such a field.
pub(super) struct Blob;

impl ArchiveWith<Bytes> for Blob {
    type Archived = u32_ule;
    type Resolver = ();

    fn resolve_with(field: &Bytes, (): (), out: Place<u32_ule>) {
        (field.len() as u32).resolve((), out);
    }
}

/// What takes the blobs of a value while it is serialized.
pub(super) trait TakeBlob {
    /// One more, in the order of the fields.
    fn take(&mut self, blob: &Bytes);
}

impl<S: Fallible + TakeBlob + ?Sized> SerializeWith<Bytes, S> for Blob {
    fn serialize_with(field: &Bytes, serializer: &mut S) -> Result<(), S::Error> {
        serializer.take(field);
        Ok(())
    }
}

/// Appends an archive to a buffer, and remembers the blobs that belong behind it.
pub(super) struct FrameWriter<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// Where the archive begins.
    pub(super) start: usize,
    pub(super) blobs: Vec<Bytes>,
}

impl Positional for FrameWriter<'_> {
    fn pos(&self) -> usize {
        self.out.len() - self.start
    }
}

impl<E> Writer<E> for FrameWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

impl<A, S, E> TakeBlob for Strategy<Serializer<FrameWriter<'_>, A, S>, E> {
    fn take(&mut self, blob: &Bytes) {
        if !blob.is_empty() {
            self.writer.blobs.push(blob.clone());
        }
    }
}

/// What hands the blobs of a value out while it is deserialized.
pub(super) trait GiveBlob {
    /// The next one, which has this length; nothing if it is not there.
    fn give(&mut self, length: usize) -> Bytes;
}

impl<D: Fallible + GiveBlob + ?Sized> DeserializeWith<u32_ule, Bytes, D> for Blob {
    fn deserialize_with(field: &u32_ule, deserializer: &mut D) -> Result<Bytes, D::Error> {
        Ok(deserializer.give(field.to_native() as usize))
    }
}

/// The payload of a received frame, and how far its blobs have been handed out.
///
/// That one is missing is said at the end: rkyv leaks the vectors that it was filling when a field can not be read.
pub(super) struct FrameReader {
    payload: Bytes,
    next: usize,
    missing: Option<Missing>,
}

impl FrameReader {
    /// `record`: the length of the archive.
    pub(super) fn new(payload: Bytes, record: usize) -> Self {
        Self { payload, next: record.next_multiple_of(ALIGN), missing: None }
    }

    /// The first blob that was not there.
    pub(super) fn missing(&self) -> Option<&Missing> {
        self.missing.as_ref()
    }

    /// Everything has been handed out.
    pub(super) fn is_finished(&self) -> bool {
        self.next == self.payload.len()
    }
}

impl<E> GiveBlob for Strategy<FrameReader, E> {
    fn give(&mut self, length: usize) -> Bytes {
        if length == 0 {
            return Bytes::new();
        }
        let (start, whole) = (self.next, self.payload.len());
        match start.checked_add(length) {
            Some(end) if end <= whole => {
                self.next = end.next_multiple_of(ALIGN);
                self.payload.slice(start..end)
            }
            _ => {
                self.missing.get_or_insert(Missing { start, length, whole });
                Bytes::new()
            }
        }
    }
}

/// A blob that is not there.
#[derive(Debug)]
pub(super) struct Missing {
    start: usize,
    length: usize,
    whole: usize,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, length, whole } = self;
        write!(f, "{length} bytes were to stand at {start}, but the frame has {whole}")
    }
}
