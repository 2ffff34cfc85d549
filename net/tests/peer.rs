//! The frames between members: what goes in comes out, however it is cut, and nothing else does.

use bytes::Bytes;
use net::peer::{
    ALIGN, Address, Confirm, ConfirmOutcome, Confirmed, Decoder, ENTRY_BYTES_MAX, Entry, EntryKind, FRAME_BYTES_MAX,
    Forward, ForwardOutcome, Forwarded, Frame, FrameError, Frontier, Held, MessageKind, Outdated, RaftBatch,
    RaftMessage, SnapshotAck, SnapshotBegin, SnapshotChunk, SnapshotEnd, SnapshotOutcome, SnapshotPosition,
    SnapshotVoters,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn encoded(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        frame.encode(&mut out).expect("within the limits");
    }
    out
}

/// The frames in `input`, which is handed over in pieces of the given lengths, and the rest at once.
fn decoded(input: &[u8], pieces: &[usize]) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    let mut rest = input;
    let mut pieces = pieces.iter();
    while !rest.is_empty() {
        let length = pieces.next().map_or(rest.len(), |piece| (*piece).clamp(1, rest.len()));
        let (mut piece, behind) = rest.split_at(length);
        while let Some(frame) = decoder.next(&mut piece)? {
            frames.push(frame);
        }
        assert!(piece.is_empty(), "what makes no frame is kept");
        rest = behind;
    }
    Ok(frames)
}

fn bytes(limit: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..limit).prop_map(Bytes::from)
}

fn kinds() -> impl Strategy<Value = MessageKind> {
    use MessageKind::{
        Append, AppendResponse, Heartbeat, HeartbeatResponse, ReadIndex, ReadIndexResponse, RequestPreVote,
        RequestPreVoteResponse, RequestVote, RequestVoteResponse, Snapshot, TimeoutNow, TransferLeader,
    };
    prop::sample::select(vec![
        Append,
        AppendResponse,
        RequestVote,
        RequestVoteResponse,
        Snapshot,
        Heartbeat,
        HeartbeatResponse,
        TransferLeader,
        TimeoutNow,
        ReadIndex,
        ReadIndexResponse,
        RequestPreVote,
        RequestPreVoteResponse,
    ])
}

fn entries() -> impl Strategy<Value = Entry> {
    let kinds = prop::sample::select(vec![EntryKind::Normal, EntryKind::ConfChange, EntryKind::ConfChangeV2]);
    (any::<u64>(), any::<u64>(), kinds, bytes(200), bytes(20)).prop_map(|(index, term, kind, data, context)| Entry {
        index,
        term,
        kind,
        data,
        context,
    })
}

fn positions() -> impl Strategy<Value = SnapshotPosition> {
    let list = || vec(any::<u64>(), 0..5);
    (any::<u64>(), any::<u64>(), list(), list(), list(), list(), any::<bool>()).prop_map(
        |(index, term, voters, learners, voters_outgoing, learners_next, auto_leave)| SnapshotPosition {
            index,
            term,
            voters: SnapshotVoters { voters, learners, voters_outgoing, learners_next, auto_leave },
        },
    )
}

fn messages() -> impl Strategy<Value = RaftMessage> {
    let numbers = (any::<[u64; 9]>(), any::<u32>(), any::<i64>(), any::<bool>());
    (numbers, kinds(), bytes(40), option::of(positions()), vec(entries(), 0..4)).prop_map(
        |((n, group, priority, reject), kind, context, snapshot, entries)| RaftMessage {
            group,
            kind,
            to: n[0],
            from: n[1],
            term: n[2],
            log_term: n[3],
            index: n[4],
            commit: n[5],
            commit_term: n[6],
            reject,
            reject_hint: n[7],
            request_snapshot: n[8],
            priority,
            context,
            snapshot,
            entries,
        },
    )
}

fn frames() -> impl Strategy<Value = Frame> {
    let forward = prop_oneof![
        Just(ForwardOutcome::Proposed),
        Just(ForwardOutcome::NotPrimary),
        ".{0,40}".prop_map(ForwardOutcome::Refused)
    ];
    let confirm = prop_oneof![
        any::<u64>().prop_map(ConfirmOutcome::Visible),
        Just(ConfirmOutcome::NotPrimary),
        ".{0,40}".prop_map(ConfirmOutcome::Refused)
    ];
    let snapshot = prop_oneof![
        Just(SnapshotOutcome::Going),
        Just(SnapshotOutcome::Done),
        ".{0,40}".prop_map(SnapshotOutcome::Failed)
    ];
    prop_oneof![
        Just(Frame::Alive),
        vec(messages(), 0..5).prop_map(|messages| RaftBatch { messages }.into()),
        (any::<u64>(), any::<u64>(), any::<u64>(), vec(any::<u64>(), 0..20))
            .prop_map(|(term, visible, clock, positions)| Frontier { term, visible, clock, positions }.into()),
        (any::<(u64, u64, u64, u32)>(), bytes(300)).prop_map(|((ticket, process, term, shard), command)| Forward {
            ticket,
            process,
            term,
            shard,
            command
        }
        .into()),
        (any::<u64>(), forward).prop_map(|(ticket, outcome)| Forwarded { ticket, outcome }.into()),
        any::<u64>().prop_map(|ticket| Confirm { ticket }.into()),
        (any::<u64>(), confirm).prop_map(|(ticket, outcome)| Confirmed { ticket, outcome }.into()),
        vec(".{0,40}", 0..4).prop_map(|urls| Address { urls }.into()),
        vec(".{0,40}", 0..4).prop_map(|urls| Outdated { urls }.into()),
        any::<(u64, u64, bool)>().prop_map(|(visible, terms, forgetful)| Held { visible, terms, forgetful }.into()),
        any::<(u64, u32, u64, u64)>().prop_map(|(transfer, group, index, term)| SnapshotBegin {
            transfer,
            group,
            index,
            term
        }
        .into()),
        (any::<(u64, u32, u32)>(), bytes(500))
            .prop_map(|((transfer, group, number), data)| SnapshotChunk::new(transfer, group, number, data).into()),
        (any::<(u64, u32, u32)>(), messages()).prop_map(|((transfer, chunks, crc), message)| SnapshotEnd {
            transfer,
            chunks,
            crc,
            message: Box::new(message)
        }
        .into()),
        (any::<(u64, u32, u32)>(), snapshot).prop_map(|((transfer, group, next), outcome)| SnapshotAck {
            transfer,
            group,
            next,
            outcome
        }
        .into()),
    ]
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_however_it_is_cut(
        frames in vec(frames(), 0..6),
        pieces in vec(1_usize..200, 0..60),
    ) {
        let bytes = encoded(&frames);
        prop_assert!(bytes.len().is_multiple_of(ALIGN));
        prop_assert_eq!(decoded(&bytes, &pieces).expect("valid"), frames);
    }

    #[test]
    fn any_flipped_bit_is_refused(frame in frames(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = encoded(&[frame]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // A length that was not changed is waited for, and a frame that has not ended is no frame.
        let got = decoded(&bytes, &[]);
        prop_assert!(got.is_err(), "byte {} bit {}: {:?}", at, bit, got);
    }

    #[test]
    fn garbage_is_refused(garbage in vec(any::<u8>(), 32..300)) {
        prop_assert_eq!(decoded(&garbage, &[]), Err(FrameError::Header));
    }

    /// The checksums are no defence against somebody who makes them: whatever stands under them, nothing panics.
    #[test]
    fn a_resealed_forgery_is_refused_or_read(
        frame in frames(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        header in any::<bool>(),
    ) {
        let mut bytes = encoded(&[frame]);
        for (at, value) in changes {
            let at = if header { at.index(28) } else { at.index(bytes.len()) };
            bytes[at] = value;
        }
        reseal(&mut bytes);
        let _ = decoded(&bytes, &[]);
    }

    #[test]
    fn a_message_is_no_longer_than_it_says(message in messages()) {
        let alone = encoded(&[RaftBatch { messages: Vec::new() }.into()]).len();
        let size = message.size_bytes();
        let length = encoded(&[RaftBatch { messages: vec![message] }.into()]).len() - alone;
        prop_assert!(length <= size, "{} > {}", length, size);
    }
}

/// Makes the checksums fit again.
fn reseal(frame: &mut [u8]) {
    let body = crc32c::crc32c(&frame[32..]);
    frame[16..20].copy_from_slice(&body.to_le_bytes());
    let head = crc32c::crc32c(&frame[..28]);
    frame[28..32].copy_from_slice(&head.to_le_bytes());
}

fn append(group: u32, data: &[&[u8]]) -> RaftMessage {
    let entry = |(at, data): (usize, &&[u8])| Entry {
        index: 10 + at as u64,
        term: 3,
        kind: EntryKind::Normal,
        data: Bytes::copy_from_slice(data),
        context: Bytes::new(),
    };
    RaftMessage { entries: data.iter().enumerate().map(entry).collect(), ..message(group) }
}

fn message(group: u32) -> RaftMessage {
    RaftMessage::new(group, MessageKind::Append, 1, 2, 3)
}

#[test]
fn a_stream_may_be_cut_at_every_byte() {
    let frames = [
        RaftBatch { messages: vec![append(3, &[b"one", b"", b"three"]), message(4)] }.into(),
        Frame::Alive,
        Frontier { term: 3, visible: 99, clock: 7, positions: vec![1, 2, 3] }.into(),
    ];
    let bytes = encoded(&frames);
    for cut in 1..bytes.len() {
        assert_eq!(decoded(&bytes, &[cut]).expect("valid"), frames, "cut at {cut}");
        let whole = decoded(&bytes[..cut], &[]).expect("the beginning is valid");
        assert!(whole.len() < frames.len() && frames.starts_with(&whole), "cut at {cut}");
    }
    let every = vec![1; bytes.len()];
    assert_eq!(decoded(&bytes, &every).expect("valid"), frames);
}

#[test]
fn data_is_aligned_and_shares_the_received_frame() {
    let data: Vec<Vec<u8>> = (0..40_usize).map(|length| vec![length as u8; length]).collect();
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let bytes = encoded(&[Frame::Alive, RaftBatch { messages: vec![append(1, &data)] }.into()]);
    let frames = decoded(&bytes, &[7, 40]).expect("valid");
    let Some(Frame::RaftBatch(batch)) = frames.get(1) else { panic!("{frames:?}") };
    let got = &batch.messages[0].entries;
    let places: Vec<usize> = got.iter().filter(|e| !e.data.is_empty()).map(|e| e.data.as_ptr() as usize).collect();
    assert!(places.iter().all(|place| place.is_multiple_of(ALIGN)), "{places:?}");
    let apart: Vec<usize> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let want: Vec<usize> = (1..39_usize).map(|length| length.next_multiple_of(ALIGN)).collect();
    assert_eq!(apart, want, "slices of one buffer, side by side");
}

#[test]
fn what_is_too_long_is_refused_on_both_sides() {
    let mut out = b"before".to_vec();
    let big = Bytes::from(vec![0; ENTRY_BYTES_MAX]);
    let fits = RaftMessage { entries: vec![Entry { data: big.clone(), ..entry() }], ..message(1) };
    assert!(fits.size_bytes() <= FRAME_BYTES_MAX);
    let frame: Frame = RaftBatch { messages: vec![fits] }.into();
    assert_eq!(decoded(&encoded(std::slice::from_ref(&frame)), &[100, 1 << 20]).expect("valid"), [frame]);

    let twice = RaftMessage { entries: vec![Entry { data: big, ..entry() }, entry()], ..message(1) };
    let both = RaftBatch { messages: vec![twice.clone(), twice] };
    assert!(matches!(Frame::from(both).encode(&mut out), Err(FrameError::TooLarge(_))));
    for (what, frame) in [
        ("messages", RaftBatch { messages: vec![message(1); 4097] }.into()),
        ("positions", Frontier { term: 1, visible: 1, clock: 1, positions: vec![0; 1025] }.into()),
        ("bytes of text", Forwarded { ticket: 1, outcome: ForwardOutcome::Refused("x".repeat(4097)) }.into()),
        ("bytes of a chunk", SnapshotChunk::new(1, 1, 1, Bytes::from(vec![0; (1 << 20) + 1])).into()),
        (
            "bytes of context",
            RaftBatch { messages: vec![RaftMessage { context: Bytes::from(vec![0; 4097]), ..message(1) }] }.into(),
        ),
    ] {
        let frame: Frame = frame;
        match frame.encode(&mut out) {
            Err(FrameError::TooMany { what: named, .. }) => assert_eq!(named, what),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(out, b"before", "what could not be made leaves nothing behind");
}

fn entry() -> Entry {
    Entry { index: 1, term: 1, kind: EntryKind::Normal, data: Bytes::new(), context: Bytes::new() }
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    let frame = encoded(&[Confirm { ticket: 7 }.into()]);
    let with = |at: usize, value: &[u8]| {
        let mut bytes = frame.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        reseal(&mut bytes);
        decoded(&bytes, &[])
    };
    assert!(matches!(with(0, &(FRAME_BYTES_MAX as u32 + 16).to_le_bytes()), Err(FrameError::TooLarge(_))));
    assert!(matches!(with(0, &15_u32.to_le_bytes()), Err(FrameError::Contradiction(_))));
    assert!(matches!(with(12, &17_u32.to_le_bytes()), Err(FrameError::Contradiction(_))));
    assert!(matches!(with(4, &999_u16.to_le_bytes()), Err(FrameError::UnknownKind(999))));
    assert!(matches!(with(4, &1_u16.to_le_bytes()), Err(FrameError::Contradiction(_))), "nothing, at length");
}

#[test]
fn a_blob_that_is_not_there_is_refused() {
    let forward =
        Forward { ticket: 1, process: 2, term: 1, shard: 3, command: Bytes::from_static(b"0123456789abcdef") };
    let whole = encoded(&[forward.into()]);
    let mut short = whole[..whole.len() - 16].to_vec();
    let length = (short.len() - 32) as u32;
    short[..4].copy_from_slice(&length.to_le_bytes());
    reseal(&mut short);
    assert!(matches!(decoded(&short, &[]), Err(FrameError::Malformed { .. })));
    let mut long = [whole, vec![0; 16]].concat();
    let length = (long.len() - 32) as u32;
    long[..4].copy_from_slice(&length.to_le_bytes());
    reseal(&mut long);
    assert!(matches!(decoded(&long, &[]), Err(FrameError::Contradiction(_))));
}
