//! One connection: bytes in, requests out to their endpoints, answers in order, one write for all of them.

use std::future::poll_fn;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead, AsyncWrite};
use net::http::reject::Reject;
use net::http::request::{CONTINUE, Decoder, Limits, Progress};

use super::registry::{Registered, Registry};
use super::rounds::{self, Reader};
use super::session::{Handled, Session};
use super::{debug, hangup};
use crate::core::budget::{FREE_BYTES, Share};
use crate::core::{Core, Phase, SCRATCH_BYTES};
use crate::listen::Side;

/// Bytes that a connection without unread input may keep allocated for it.
const INPUT_KEPT: usize = 4 << 10;
/// Bytes read at most after the last answer, so that the client sees it instead of a reset: somewhat more than the
/// longest body that is accepted.
const LINGER_BYTES: usize = 32 << 20;

/// For how long an idle connection is still listened to when the process stops.
const LAST_LOOK: Duration = Duration::from_millis(1);

/// A connection in its executor.
struct Connection<S> {
    stream: S,
    /// The descriptor of `stream`, if it tells.
    socket: Option<RawFd>,
    /// How it becomes known that there is something to read.
    reader: Reader,
    /// Its client has sent a request before it had the answer to the one before.
    sends_ahead: bool,
    place: Registered,
    decoder: Decoder,
    /// Received and not consumed.
    input: Vec<u8>,
    /// What input holds of the executor's memory: what has come, and is about to come, beyond [`FREE_BYTES`].
    input_share: Share,
    /// Nothing more will come.
    input_ended: bool,
    /// When the first byte of `input` came.
    since: Instant,
    /// The session has looked at the clock since `input` grew last.
    has_looked: bool,
    session: Session,
    /// What comes next is no HTTP; to be said after the answers before it.
    rejected: Option<Reject>,
}

/// A stream that was accepted.
pub(crate) struct Opened<S> {
    pub(crate) stream: S,
    /// Its descriptor, if it is TCP and nothing else.
    pub(crate) socket: Option<RawFd>,
    /// Whom it is from.
    pub(crate) side: Side,
    /// Bytes that have been read from it already.
    pub(crate) first: Vec<u8>,
}

/// Serves a connection until it ends.
pub(super) async fn serve<S>(core: Rc<Core>, registry: Rc<Registry>, opened: Opened<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    core.count(|metrics| metrics.connections.inc());
    let Opened { stream, socket, side, first } = opened;
    let mut connection = Connection {
        stream,
        socket,
        reader: Reader::new(socket),
        sends_ahead: false,
        place: registry.enter(socket),
        decoder: decoder(&core),
        input: first,
        input_share: Share::of(&core.budget.input, 0),
        input_ended: false,
        since: Instant::now(),
        has_looked: false,
        session: Session::new(Rc::clone(&core), side),
        rejected: None,
    };
    // An error is the client's: it went away, or was too slow.
    let _ = connection.run().await;
    drop(connection);
    core.count(|metrics| metrics.connections.dec());
}

fn decoder(core: &Core) -> Decoder {
    Decoder::new(Limits { body_bytes: core.node.config.max_request_bytes, ..Limits::default() })
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            self.take_requests();
            if self.input_ended {
                self.session.input_ended();
            }
            self.session.take_answers();
            if self.session.unsent() > 0 {
                self.flush().await?;
                continue;
            }
            if self.is_done() && !self.hears_last().await? {
                return self.linger().await;
            }
            if !self.finds_room() {
                self.give_up_the_rest();
                continue;
            }
            self.rest();
            poll_fn(|cx| self.poll_wait(cx)).await?;
        }
    }

    /// Decodes what has arrived and hands it out, as far as the order of the answers allows.
    fn take_requests(&mut self) {
        let now = if self.input.is_empty() || std::mem::take(&mut self.has_looked) {
            self.session.now()
        } else {
            self.session.look_at_the_clock()
        };
        self.reject_when_idle();
        let stops = self.session.core.node.phase() == Phase::Stopping;
        let (mut consumed, mut taken) = (0, 0);
        while self.rejected.is_none()
            && self.session.takes_requests()
            && self.session.out.len() < self.session.high_water()
        {
            let input = &self.input[consumed..];
            if input.is_empty() {
                break;
            }
            let (mut request, bytes) = match self.decoder.decode(input) {
                Ok(Progress::Partial) => break,
                Ok(Progress::Complete { request, consumed }) => (request, consumed),
                // `100 Continue` must not overtake the answers before it.
                Ok(Progress::Undecided { wants_continue: true, .. }) if !self.session.is_idle() => break,
                Ok(Progress::Undecided { request, wants_continue, consumed }) => {
                    if self.session.reads_body(&request) {
                        if !self.input_share.may_be(self.decoder.expects().saturating_sub(FREE_BYTES)) {
                            self.give_up_the_rest();
                            self.reject_when_idle();
                            return;
                        }
                        self.session.out.extend_from_slice(if wants_continue { CONTINUE } else { &[] });
                        self.decoder.read_body();
                        continue;
                    }
                    (request, consumed)
                }
                Err(reject) => {
                    self.rejected = Some(reject);
                    self.reject_when_idle();
                    break;
                }
            };
            // A client that is told so sends nothing that would not be read.
            request.keep_alive &= !(stops && bytes == input.len());
            match self.session.handle(&request) {
                Handled::Taken => {
                    debug::note(&request, self.socket);
                    consumed += bytes;
                    taken += 1;
                }
                Handled::Later => break,
            }
        }
        if consumed > 0 {
            self.input.drain(..consumed);
            self.since = now;
            self.sends_ahead |= taken > 1 || !self.input.is_empty();
        }
        self.shrink_input();
    }

    /// Gives back what is not needed for what has come.
    fn shrink_input(&mut self) {
        if self.input.is_empty() {
            self.decoder.let_go();
            if self.input.capacity() > INPUT_KEPT {
                self.input = Vec::new();
            }
        } else if self.input.capacity() > FREE_BYTES.max(4 * self.input.len()) && self.decoder.expects() == 0 {
            self.input.shrink_to(FREE_BYTES);
        }
    }

    /// Whether there is room for what has come and what is to come next of a request that is not there as a whole. If so, it is kept for
    /// it: for a large one in steps, or whoever announces much and sends nothing would take it from all others.
    fn finds_room(&mut self) -> bool {
        let waits_for_more = self.inside_request() && self.session.is_idle() && self.session.takes_requests();
        let ahead = match self.decoder.expects() {
            _ if !waits_for_more || self.rejected.is_some() || self.input_ended => 0,
            // Nobody knows how long it will be: as much again.
            0 if self.input.len() >= FREE_BYTES => 2 * self.input.len(),
            known => known.min(SCRATCH_BYTES.max(4 * self.input.len())),
        };
        let needed = (self.input.capacity().max(ahead) + self.decoder.buffered()).saturating_sub(FREE_BYTES);
        if ahead > 0 && !self.input_share.may_be(needed) {
            return false;
        }
        self.input_share.set(needed);
        self.input.reserve_exact(ahead.saturating_sub(self.input.len()));
        true
    }

    /// What has come of a large request goes at once, so that others find room; it is said so after the answers before it.
    fn give_up_the_rest(&mut self) {
        self.forget_input();
        self.rejected = Some(Reject::NoRoom);
    }

    /// Nothing of what has come will be looked at.
    fn forget_input(&mut self) {
        self.input = Vec::new();
        self.decoder = decoder(&self.session.core);
        self.input_share.set(0);
    }

    /// Bytes that may be read now. There is always room for some of a request that is waited for ([`Connection::finds_room`]); what is sent ahead
    /// waits in the socket when there is none.
    fn readable(&self) -> usize {
        if self.rejected.is_some() {
            return 0;
        }
        let own = (FREE_BYTES + self.input_share.bytes()).saturating_sub(self.input.len());
        let grows = self.input_share.may_be(self.input_share.bytes() + SCRATCH_BYTES);
        let room = if grows { own.max(SCRATCH_BYTES) } else { own };
        room.min(self.session.wants(self.input.len()))
    }

    /// Says that the input is no HTTP, once all answers before it are out.
    fn reject_when_idle(&mut self) {
        if let Some(reject) = self.rejected
            && self.session.is_idle()
            && !self.session.is_closed()
        {
            self.session.reject(reject);
        }
    }

    /// Nothing is left to be answered, and nothing more will be asked.
    fn is_done(&self) -> bool {
        self.session.is_closed() || (self.session.is_idle() && (self.input_ended || self.is_stopped()))
    }

    /// Before an idle connection is ended since the process stops: whether something has come meanwhile. A request that has and is not
    /// answered may have been executed, for all that its client knows.
    async fn hears_last(&mut self) -> io::Result<bool> {
        if self.session.is_closed() || self.input_ended || self.place.hears_no_more() {
            return Ok(false);
        }
        // So that the executor learns of what is there.
        glommio::timer::sleep(LAST_LOOK).await;
        self.reader.look_now();
        poll_fn(|cx| match self.poll_input(cx) {
            Poll::Ready(read) => Poll::Ready(read.map(|()| true)),
            Poll::Pending => Poll::Ready(Ok(false)),
        })
        .await
    }

    /// The process stops, and nothing that comes is waited for: part of a request, for a moment.
    fn is_stopped(&self) -> bool {
        let stopping = self.session.core.node.phase() == Phase::Stopping;
        stopping && (!self.inside_request() || self.place.hears_no_more())
    }

    fn inside_request(&self) -> bool {
        !self.input.is_empty()
    }

    /// Before sleeping: what the client may take its time for, and what it may not.
    fn rest(&mut self) {
        let receiving = self.inside_request() && self.session.takes_requests() && !self.input_ended;
        if receiving {
            self.place.entry.hurry(self.since, self.input.len() as u64);
        } else {
            self.place.entry.at_ease();
        }
        self.session.shrink();
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.place.entry.register(cx.waker());
        self.session.register(cx.waker());
        if self.place.entry.is_expired() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let ends = || self.is_done() || self.session.is_watching();
        if self.session.has_news() || self.session.core.node.phase() == Phase::Stopping && ends() {
            return Poll::Ready(Ok(()));
        }
        if self.input_ended {
            return Poll::Pending;
        }
        let deaf = self.readable() == 0;
        self.place.entry.listen(!deaf);
        if deaf {
            self.poll_hangup()
        } else if self.awaits_its_turn() {
            Poll::Pending
        } else {
            self.poll_input(cx)
        }
    }

    /// While rounds are fast, a client that always waits for its answer is not listened to until it has it.
    fn awaits_its_turn(&self) -> bool {
        !self.sends_ahead
            && !self.session.is_idle()
            && !self.session.is_watching()
            && rounds::are_fast(self.session.now())
    }

    /// A client that has sent much ahead is not read from: that it has given up its watch shows otherwise.
    fn poll_hangup(&mut self) -> Poll<io::Result<()>> {
        if !self.session.is_watching() || !self.socket.is_some_and(hangup::is_gone) {
            return Poll::Pending;
        }
        self.input_ended = true;
        self.session.input_ended();
        Poll::Ready(Ok(()))
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let core = Rc::clone(&self.session.core);
        let mut scratch = core.scratch();
        let most = self.readable().clamp(1, scratch.len());
        let read = std::task::ready!(self.poll_read(cx, &mut scratch[..most]))?;
        if read > 0 {
            let now = self.session.look_at_the_clock();
            self.has_looked = true;
            if self.input.is_empty() {
                self.since = now;
            }
            self.input.extend_from_slice(&scratch[..read]);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads into the executor's scratch buffer: an idle connection holds none.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let looked = self.reader.poll_read(cx, self.session.now(), scratch);
        let read = std::task::ready!(looked.unwrap_or_else(|| Pin::new(&mut self.stream).poll_read(cx, scratch)))?;
        self.reader.has_read();
        if read == 0 {
            // A client that shuts its side down gets what it has asked for; a watch ends.
            self.input_ended = true;
            self.session.input_ended();
        }
        self.session.core.count(|metrics| metrics.bytes_in.add(read as u64));
        Poll::Ready(Ok(read))
    }

    /// Sends everything that is to be sent.
    async fn flush(&mut self) -> io::Result<()> {
        // Of what is there now, and in all.
        let (mut written, mut sent_in_all) = (0, 0);
        let mut begun = None;
        while written < self.session.unsent() {
            let entry = Rc::clone(&self.place.entry);
            let sent = poll_fn(|cx| {
                match Pin::new(&mut self.stream).poll_write(cx, self.session.next_unsent(written)) {
                    Poll::Pending => {
                        // Only a client that does not read makes this wait.
                        entry.hurry(*begun.get_or_insert_with(Instant::now), sent_in_all);
                        self.session.count_out();
                        entry.stalls(self.session.out.capacity());
                        entry.shares(self.session.shared.as_ref().map(|shared| shared.when));
                        entry.register(cx.waker());
                        if entry.is_expired() {
                            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                        } else {
                            Poll::Pending
                        }
                    }
                    ready @ Poll::Ready(_) => ready,
                }
            })
            .await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.session.core.count(|metrics| metrics.bytes_out.add(sent as u64));
            self.place.entry.moves_on();
            sent_in_all += sent as u64;
            written = self.session.let_go(written + sent);
            if self.session.shared.is_none() {
                self.place.entry.shares(None);
            }
            let left = self.session.out.len().saturating_sub(written);
            if left > 0 && left <= written && self.session.is_watching() && self.session.shared.is_none() {
                // Thousands may stop reading, and it may be long before they go on. No byte is moved twice for that.
                self.session.out.drain(..std::mem::take(&mut written));
                self.session.out.shrink_to_fit();
            }
        }
        self.session.sent();
        Ok(())
    }

    /// Ends the sending side, and reads on a little: closing a socket with unread bytes resets it, and the client may
    /// lose the answer that it has not read yet (RFC 9112 section 9.6).
    async fn linger(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.stream).poll_close(cx)).await?;
        if self.input_ended || !self.session.lingers() {
            return Ok(());
        }
        self.forget_input();
        let begun = Instant::now();
        let mut left = LINGER_BYTES;
        while left > 0 && !self.input_ended {
            self.place.entry.hurry(begun, 0);
            let read = poll_fn(|cx| {
                self.place.entry.register(cx.waker());
                if self.lingers_no_more() {
                    return Poll::Ready(Ok(0));
                }
                let core = Rc::clone(&self.session.core);
                self.poll_read(cx, &mut core.scratch())
            })
            .await?;
            if self.lingers_no_more() {
                break;
            }
            left = left.saturating_sub(read);
        }
        Ok(())
    }

    fn lingers_no_more(&self) -> bool {
        self.place.entry.is_expired() || self.place.hears_no_more()
    }
}
