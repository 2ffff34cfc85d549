//! What waits to be sent to one member.

use net::peer::{Frame, FrameError};

use super::Unsent;

/// Bytes that may wait before a large frame is refused: what a link of 10 Gbit/s moves in about 13 ms, so that a
/// heartbeat behind them is not late. Raft sends again.
const LARGE_WAITING_MAX: usize = 16 << 20;
/// Bytes that may wait before any frame is refused. What is above [`LARGE_WAITING_MAX`] is kept for the small frames that
/// elections and answers depend on.
const WAITING_MAX: usize = 24 << 20;
/// From here on a frame is large.
const LARGE: usize = 16 << 10;
/// Frames that may wait.
const FRAMES_MAX: usize = 1 << 16;
/// Capacity that an empty buffer may keep.
const KEPT: usize = 1 << 20;

/// The frames of a turn, encoded one after the other. The frame that passes a limit is the last one to be taken, so a
/// link holds at most the limit and one frame, once here and once in the write that is under way.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    frames: usize,
}

impl Outbox {
    /// Takes a frame, or says why not.
    pub(super) fn push(&mut self, frame: &Frame) -> Result<(), Unsent> {
        let waiting = self.bytes.len();
        if waiting >= WAITING_MAX || self.frames >= FRAMES_MAX {
            return Err(Unsent::Full);
        }
        frame.encode(&mut self.bytes).map_err(|error| unfit(&error))?;
        if waiting >= LARGE_WAITING_MAX && self.bytes.len() - waiting >= LARGE {
            self.bytes.truncate(waiting);
            return Err(Unsent::Full);
        }
        self.frames += 1;
        Ok(())
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Exchanges what waits for `sent`, a buffer whose content is done with.
    pub(super) fn take(&mut self, sent: &mut Vec<u8>) {
        sent.clear();
        if sent.capacity() > KEPT {
            *sent = Vec::new();
        }
        std::mem::swap(&mut self.bytes, sent);
        self.frames = 0;
    }
}

fn unfit(error: &FrameError) -> Unsent {
    tracing::error!(target: "rafthttp", "a frame can not be sent: {error}");
    Unsent::Unfit
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use net::peer::{Confirm, Forward};

    use super::*;

    fn forward(bytes: usize) -> Frame {
        Forward { ticket: 1, process: 1, term: 1, shard: 1, command: Bytes::from(vec![0; bytes]) }.into()
    }

    #[test]
    fn large_frames_are_refused_before_small_ones() {
        let mut outbox = Outbox::default();
        while outbox.bytes.len() < LARGE_WAITING_MAX {
            assert_eq!(outbox.push(&forward(1 << 20)), Ok(()));
        }
        let waiting = outbox.bytes.len();
        assert_eq!(outbox.push(&forward(LARGE)), Err(Unsent::Full));
        assert_eq!(outbox.bytes.len(), waiting, "what was refused leaves nothing behind");
        let mut taken = 0;
        while outbox.push(&Confirm { ticket: 1 }.into()) == Ok(()) {
            taken += 1;
        }
        assert_eq!(taken, FRAMES_MAX - 16, "only the number of frames is a limit for these");
        let mut buffer = Vec::new();
        outbox.take(&mut buffer);
        assert!(outbox.is_empty() && buffer.len() > waiting);
        assert_eq!(outbox.push(&forward(1 << 20)), Ok(()));
    }

    #[test]
    fn what_no_peer_would_take_is_not_sent() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(&forward(net::peer::FRAME_BYTES_MAX)), Err(Unsent::Unfit));
        assert!(outbox.is_empty());
    }
}
