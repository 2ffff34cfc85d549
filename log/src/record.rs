//! What a batch is made of.
//!
//! ```text
//!  0      1      2       4       8           16           24            32        36    40
//!  | kind | type | group | count | raft term | raft index | etcd first  | length  | crc |
//! ```
//! Little endian, followed by `length` bytes of payload and zeroes up to a multiple of 8. `crc` is CRC-32C over bytes
//! 0..36 and the payload: it is computed when the record is pushed and checked when it is read back, so that it covers
//! the record's whole way through memory, which the sectors' checksums (computed at the last moment) do not.
//!
//! | kind | `raft term` | `raft index` | `etcd first` | the rest |
//! |---|---|---|---|---|
//! | 1 entry | its term | its index | first index of its batch | `type`, `count`, payload |
//! | 2 hard state | current term | commit | vote | |
//! | 3 frontier | clock | 0 | visible | |
//! | 4 snapshot mark | term of the last entry covered | its index | 0 | `type` 1: it replaced the log |
//! | 5 end of the log | term of the last entry, 0 if not known | its index | 0 | |

use std::mem::{offset_of, size_of};
use std::ops::Range;

use bytes::Bytes;

use crate::ids::{GroupId, Position, RaftIndex, is_counted};
use crate::sector::{u16_at, u32_at, u64_at};

/// Largest payload of one record. Raft entries are at most a few MiB; a length above this in a record is not ours.
pub const PAYLOAD_MAX: usize = 1 << 30;

#[repr(C)]
struct RecordHeader {
    kind: u8,
    entry_type: u8,
    group: u16,
    count: u32,
    term: u64,
    index: u64,
    first: u64,
    length: u32,
    crc: u32,
}

/// Bytes of a record before its payload.
pub const RECORD_HEADER: usize = size_of::<RecordHeader>();
const CRC_AT: usize = offset_of!(RecordHeader, crc);
const _: () = assert!(RECORD_HEADER == 40 && CRC_AT == 36);
const _: () = assert!(offset_of!(RecordHeader, term) == 8 && offset_of!(RecordHeader, length) == 32);

/// What a raft entry is to raft. The log only keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryType {
    /// Commands, or the empty entry of a new leader.
    Normal = 0,
    /// A change of the membership.
    ConfChange = 1,
    /// A change of the membership by joint consensus.
    ConfChangeV2 = 2,
}

impl EntryType {
    const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Self::Normal),
            1 => Some(Self::ConfChange),
            2 => Some(Self::ConfChangeV2),
            _ => None,
        }
    }
}

/// What a raft group must not forget besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The term the group is in.
    pub term: u64,
    /// Whom it voted for in that term; 0 is nobody.
    pub vote: u64,
    /// The last entry known to be committed.
    pub commit: RaftIndex,
}

/// One record. `payload` is borrowed from the caller: pushing copies it into the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// One raft entry. It overrides an earlier one with the same or a higher index in its group (raft's conflict rule).
    Entry {
        /// The group.
        group: GroupId,
        /// Its term.
        term: u64,
        /// Its index.
        index: RaftIndex,
        /// What raft takes it for.
        entry_type: EntryType,
        /// The first etcd index of its commands; 0 when it has none.
        first: u64,
        /// How many commands it holds.
        count: u32,
        /// Its bytes, at most [`PAYLOAD_MAX`].
        payload: &'a [u8],
    },
    /// The group's newest term, vote and commit.
    HardState {
        /// The group.
        group: GroupId,
        /// The state.
        state: HardState,
    },
    /// How far the node may show what it holds.
    Frontier {
        /// The group that it was learned in.
        group: GroupId,
        /// Everything up to this etcd index is complete on this node.
        visible: u64,
        /// What the primary's clock read then, in nanoseconds of the Unix epoch.
        clock: u64,
    },
    /// A snapshot of the group up to `position` is durable.
    SnapshotMark {
        /// The group.
        group: GroupId,
        /// What the snapshot covers.
        position: Position,
    },
    /// A snapshot of the group that was received from a peer is durable, and has taken the place of the group's whole
    /// log: no earlier entry stands.
    SnapshotReceived {
        /// The group.
        group: GroupId,
        /// What the snapshot covers.
        position: Position,
    },
    /// Where the group's log ended when a segment was begun: no earlier entry beyond it stands, and what it needs up to there is in
    /// the segments before, or something is missing. Written by the log itself: what overrode entries may be given up before they are
    /// (they can be in another core's log).
    LogEnd {
        /// The group.
        group: GroupId,
        /// Its last entry, or what its snapshot covers. Term 0: not known, in logs of older builds.
        last: Position,
    },
}

const ENTRY: u8 = 1;
const HARD_STATE: u8 = 2;
const FRONTIER: u8 = 3;
const SNAPSHOT_MARK: u8 = 4;
const LOG_END: u8 = 5;

/// The `type` of a snapshot mark.
const OWN: u8 = 0;
const RECEIVED: u8 = 1;

impl Record<'_> {
    /// The group it belongs to.
    pub const fn group(&self) -> GroupId {
        match self {
            Self::Entry { group, .. }
            | Self::HardState { group, .. }
            | Self::Frontier { group, .. }
            | Self::SnapshotMark { group, .. }
            | Self::SnapshotReceived { group, .. }
            | Self::LogEnd { group, .. } => *group,
        }
    }

    /// Bytes it takes in a batch.
    pub const fn size_bytes(&self) -> usize {
        let payload = match self {
            Self::Entry { payload, .. } => payload.len(),
            _ => 0,
        };
        padded(RECORD_HEADER + payload)
    }

    fn header(&self) -> (RecordHeader, &[u8]) {
        let blank = |kind| RecordHeader {
            kind,
            entry_type: 0,
            group: 0,
            count: 0,
            term: 0,
            index: 0,
            first: 0,
            length: 0,
            crc: 0,
        };
        let marked = |position: Position, entry_type| {
            let (term, index) = (position.term, position.index.get());
            RecordHeader { entry_type, term, index, ..blank(SNAPSHOT_MARK) }
        };
        let (mut header, payload): (_, &[u8]) = match *self {
            Self::Entry { term, index, entry_type, first, count, payload, .. } => {
                let index = index.get();
                (RecordHeader { entry_type: entry_type as u8, count, term, index, first, ..blank(ENTRY) }, payload)
            }
            Self::HardState { state, .. } => {
                let (term, index, first) = (state.term, state.commit.get(), state.vote);
                (RecordHeader { term, index, first, ..blank(HARD_STATE) }, &[])
            }
            Self::Frontier { visible, clock, .. } => {
                (RecordHeader { term: clock, first: visible, ..blank(FRONTIER) }, &[])
            }
            Self::SnapshotMark { position, .. } => (marked(position, OWN), &[]),
            Self::SnapshotReceived { position, .. } => (marked(position, RECEIVED), &[]),
            Self::LogEnd { last, .. } => {
                (RecordHeader { term: last.term, index: last.index.get(), ..blank(LOG_END) }, &[])
            }
        };
        header.group = self.group().get();
        header.length = payload.len() as u32;
        (header, payload)
    }

    /// Appends its bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (header, payload) = self.header();
        assert!(payload.len() <= PAYLOAD_MAX, "a record of {} bytes", payload.len());
        let start = out.len();
        out.extend_from_slice(&[header.kind, header.entry_type]);
        out.extend_from_slice(&header.group.to_le_bytes());
        out.extend_from_slice(&header.count.to_le_bytes());
        out.extend_from_slice(&header.term.to_le_bytes());
        out.extend_from_slice(&header.index.to_le_bytes());
        out.extend_from_slice(&header.first.to_le_bytes());
        out.extend_from_slice(&header.length.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&out[start..]), payload);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(payload);
        out.resize(start + padded(RECORD_HEADER + payload.len()), 0);
    }
}

const fn padded(length: usize) -> usize {
    length.next_multiple_of(8)
}

/// A record read back: its payload shares the batch's memory, or was not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    fields: Fields,
    payload: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fields {
    Entry { group: GroupId, term: u64, index: RaftIndex, entry_type: EntryType, first: u64, count: u32 },
    Other(Record<'static>),
}

impl OwnedRecord {
    /// The same, borrowed.
    pub fn as_record(&self) -> Record<'_> {
        match self.fields {
            Fields::Entry { group, term, index, entry_type, first, count } => {
                Record::Entry { group, term, index, entry_type, first, count, payload: &self.payload }
            }
            Fields::Other(record) => record,
        }
    }

    /// Where it stands in a group's log, if it says so.
    pub(crate) fn position(&self) -> Option<(GroupId, RaftIndex)> {
        match self.as_record() {
            Record::Entry { group, index, .. } => Some((group, index)),
            Record::SnapshotMark { group, position }
            | Record::SnapshotReceived { group, position }
            | Record::LogEnd { group, last: position } => Some((group, position.index)),
            Record::HardState { .. } | Record::Frontier { .. } => None,
        }
    }

    /// The payload; empty for all but entries, and where it was not asked for.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Gives it its payload.
    pub(crate) fn set_payload(&mut self, payload: Bytes) {
        self.payload = payload;
    }

    /// Which entry it is, if it is one.
    pub(crate) fn entry(&self) -> Option<(GroupId, RaftIndex)> {
        match self.fields {
            Fields::Entry { group, index, .. } => Some((group, index)),
            Fields::Other(_) => None,
        }
    }
}

/// What the header at the start of `bytes` claims, unchecked: the group and index to name in a report of damage, and the
/// record's padded size.
pub(crate) fn claim(bytes: &[u8]) -> Option<(GroupId, Option<RaftIndex>, usize)> {
    if bytes.len() < RECORD_HEADER || !(ENTRY..=LOG_END).contains(&bytes[0]) {
        return None;
    }
    let length = u32_at(bytes, offset_of!(RecordHeader, length)) as usize;
    if length > PAYLOAD_MAX {
        return None;
    }
    let index = (bytes[0] == ENTRY).then(|| RaftIndex::new(u64_at(bytes, offset_of!(RecordHeader, index))));
    Some((GroupId::new(u16_at(bytes, offset_of!(RecordHeader, group))), index, padded(RECORD_HEADER + length)))
}

/// Which entry the header at the start of `bytes` is that of. For a header that is known to be as it was written: the checksum
/// covers the payload as well, and is not looked at.
pub(crate) fn claimed_entry(bytes: &[u8]) -> Option<(GroupId, Position)> {
    let (group, index, _) = claim(bytes)?;
    EntryType::from_raw(bytes[1])?;
    let index = index.filter(|index| is_counted(index.get()))?;
    Some((group, Position { index, term: u64_at(bytes, offset_of!(RecordHeader, term)) }))
}

/// Reads the record at the start of `bytes` and takes it off. `None`: it is not what [`Record::encode`] wrote.
pub fn decode(bytes: &mut Bytes) -> Option<OwnedRecord> {
    let Verified { record, payload, size } = verify(bytes)?;
    let payload = bytes.split_to(size).slice(payload);
    Some(OwnedRecord { payload, ..record })
}

/// A record that is as it was pushed.
pub(crate) struct Verified {
    /// The record, without its payload.
    pub(crate) record: OwnedRecord,
    /// Where that is.
    pub(crate) payload: Range<usize>,
    /// What the record takes, its padding included, in bytes.
    pub(crate) size: usize,
}

/// As [`decode`], without a copy or share of the payload.
pub(crate) fn verify(bytes: &[u8]) -> Option<Verified> {
    let (group, _, size) = claim(bytes)?;
    if bytes.len() < size {
        return None;
    }
    let length = u32_at(bytes, offset_of!(RecordHeader, length)) as usize;
    let payload = RECORD_HEADER..RECORD_HEADER + length;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), &bytes[payload.clone()]);
    if crc != u32_at(bytes, CRC_AT) || bytes[payload.end..size].iter().any(|byte| *byte != 0) {
        return None;
    }
    let record = OwnedRecord { fields: fields(bytes, group, length)?, payload: Bytes::new() };
    Some(Verified { record, payload, size })
}

fn fields(bytes: &[u8], group: GroupId, length: usize) -> Option<Fields> {
    let term = u64_at(bytes, offset_of!(RecordHeader, term));
    let index = u64_at(bytes, offset_of!(RecordHeader, index));
    let index = is_counted(index).then_some(RaftIndex::new(index))?;
    let first = u64_at(bytes, offset_of!(RecordHeader, first));
    let count = u32_at(bytes, offset_of!(RecordHeader, count));
    match (bytes[0], length) {
        (ENTRY, _) => {
            let entry_type = EntryType::from_raw(bytes[1])?;
            Some(Fields::Entry { group, term, index, entry_type, first, count })
        }
        (HARD_STATE, 0) => {
            Some(Fields::Other(Record::HardState { group, state: HardState { term, vote: first, commit: index } }))
        }
        (FRONTIER, 0) => Some(Fields::Other(Record::Frontier { group, visible: first, clock: term })),
        (SNAPSHOT_MARK, 0) => {
            let position = Position { index, term };
            match bytes[1] {
                OWN => Some(Fields::Other(Record::SnapshotMark { group, position })),
                RECEIVED => Some(Fields::Other(Record::SnapshotReceived { group, position })),
                _ => None,
            }
        }
        (LOG_END, 0) => Some(Fields::Other(Record::LogEnd { group, last: Position { index, term } })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId::new(3);

    fn records() -> Vec<Record<'static>> {
        let entry = |payload, entry_type| Record::Entry {
            group: GROUP,
            term: 4,
            index: RaftIndex::new(5),
            entry_type,
            first: 6,
            count: 7,
            payload,
        };
        vec![
            entry(b"", EntryType::Normal),
            entry(b"1234567", EntryType::ConfChange),
            entry(b"12345678", EntryType::ConfChangeV2),
            Record::HardState { group: GROUP, state: HardState { term: 1, vote: u64::MAX, commit: RaftIndex::new(2) } },
            Record::Frontier { group: GROUP, visible: 99, clock: 77 },
            Record::SnapshotMark { group: GROUP, position: Position { index: RaftIndex::new(8), term: 2 } },
            Record::SnapshotReceived { group: GROUP, position: Position { index: RaftIndex::new(8), term: 2 } },
            Record::LogEnd { group: GROUP, last: Position { index: RaftIndex::new(9), term: 2 } },
        ]
    }

    #[test]
    fn records_come_back_as_they_were_pushed() {
        let mut out = Vec::new();
        for record in records() {
            let before = out.len();
            record.encode(&mut out);
            assert_eq!(out.len() - before, record.size_bytes());
        }
        let mut bytes = Bytes::from(out);
        for record in records() {
            assert_eq!(decode(&mut bytes).expect("valid").as_record(), record);
        }
        assert!(bytes.is_empty());
    }

    #[test]
    fn nobody_counts_up_to_the_last_index() {
        let last = Position { index: RaftIndex::new(u64::MAX), term: 2 };
        let Position { index, term } = last;
        let (entry_type, payload) = (EntryType::Normal, b"".as_slice());
        for record in [
            Record::Entry { group: GROUP, term, index, entry_type, first: 6, count: 7, payload },
            Record::HardState { group: GROUP, state: HardState { term, vote: 1, commit: index } },
            Record::SnapshotMark { group: GROUP, position: last },
            Record::SnapshotReceived { group: GROUP, position: last },
            Record::LogEnd { group: GROUP, last },
        ] {
            let mut out = Vec::new();
            record.encode(&mut out);
            assert_eq!(claimed_entry(&out), None);
            assert_eq!(decode(&mut Bytes::from(out)), None, "{record:?}");
        }
    }

    #[test]
    fn a_flipped_or_missing_byte_is_not_a_record() {
        for record in records() {
            let mut out = Vec::new();
            record.encode(&mut out);
            for bit in 0..out.len() * 8 {
                let mut bad = out.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&mut Bytes::from(bad)), None, "{record:?}, bit {bit}");
            }
            for length in 0..out.len() {
                assert_eq!(decode(&mut Bytes::copy_from_slice(&out[..length])), None, "{record:?}, {length} bytes");
            }
        }
    }
}
