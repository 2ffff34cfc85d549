//! What members say to each other: the handshake, and frames.

use net::peer::{Answer, Decoder, Frame, FrameError, HANDSHAKE_BYTES, Hello};

/// Where a frame's header has its checksums, and how long it is; `docs/wire-format.md`.
const BODY_CRC: usize = 16;
const HEAD_CRC: usize = 28;
const HEADER: usize = 32;

/// As the bytes are, and with good checksums.
pub(crate) fn check(input: &[u8]) {
    check_stream(input);
    check_stream(&resealed(input));
    if let Some((first, _)) = input.split_first_chunk::<HANDSHAKE_BYTES>() {
        if let Ok(hello) = Hello::decode(first) {
            assert_eq!(Hello::decode(&hello.encode()).as_ref(), Ok(&hello));
        }
        if let Ok(answer) = Answer::decode(first) {
            assert_eq!(Answer::decode(&answer.encode()).as_ref(), Ok(&answer));
        }
    }
}

/// However a stream is cut, the same frames; and each comes back from its own bytes.
fn check_stream(input: &[u8]) {
    let (frames, error) = listen(input, usize::MAX);
    for length in [1, 7] {
        let (again, other) = listen(input, length);
        assert_eq!((again, other.map(kind_of)), (frames.clone(), error.clone().map(kind_of)), "in pieces of {length}");
    }
    for frame in frames {
        let mut out = Vec::new();
        frame.encode(&mut out).expect("what was received can be sent");
        assert_eq!(listen(&out, usize::MAX), (vec![frame], None));
    }
}

/// What is wrong in an archive is said with addresses, which are others each time.
#[allow(clippy::needless_pass_by_value, reason = "for `Option::map`")]
fn kind_of(error: FrameError) -> std::mem::Discriminant<FrameError> {
    std::mem::discriminant(&error)
}

fn listen(input: &[u8], piece: usize) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    for mut piece in input.chunks(piece.min(input.len()).max(1)) {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// Frame after frame as far as their lengths lead, with the checksums that they should have.
fn resealed(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let mut rest = bytes.as_mut_slice();
    while rest.len() >= HEADER {
        let length = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        let end = HEADER.saturating_add(length).min(rest.len());
        let (frame, behind) = rest.split_at_mut(end);
        let body = crc32c::crc32c(&frame[HEADER..]);
        frame[BODY_CRC..BODY_CRC + 4].copy_from_slice(&body.to_le_bytes());
        let head = crc32c::crc32c(&frame[..HEAD_CRC]);
        frame[HEAD_CRC..HEADER].copy_from_slice(&head.to_le_bytes());
        rest = behind;
    }
    bytes
}
