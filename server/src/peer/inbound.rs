//! A stream that another member dialled: the other half of [`dial`](super::dial).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_lite::AsyncRead as _;
use net::peer::{Answer, Decoder, Frame, HANDSHAKE_BYTES, Hello, HelloError, MAGIC, PROTOCOL, Refusal, Standing};
use shard::ids::MemberId;

use super::links::{Links, Shared};
use super::stream::{self, Stream, Wire, within};
use super::{Ears, Origin};

/// How long who connects is given to say what it wants.
const OPENING: Duration = Duration::from_secs(30);
/// How long the handshake may take from there on.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Sweeps (of 100 ms) without a byte after which the other side is gone: it says once a second that it lives. Counted in
/// sweeps, so that the time in which this process itself was stopped does not count.
const SILENT_SWEEPS: u32 = 50;
/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// The first bytes that somebody sends on a peer port; none: nothing came.
pub(crate) async fn opening(stream: &mut (impl Wire + ?Sized)) -> Option<Vec<u8>> {
    let mut first = vec![0; HANDSHAKE_BYTES];
    let read = within(OPENING, poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut first))).await.ok()?;
    first.truncate(read);
    (read > 0).then_some(first)
}

/// Whether these are the first bytes of a member; else they are those of an HTTP request.
pub(crate) fn is_peer(first: &[u8]) -> bool {
    first.first() == MAGIC.first()
}

/// What a stream's task and the others share.
pub(super) struct Inbound {
    member: MemberId,
    silent: Cell<u32>,
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Inbound {
    /// Called ten times a second.
    pub(super) fn sweep(&self) {
        self.silent.set(self.silent.get() + 1);
        if self.silent.get() >= SILENT_SWEEPS {
            self.wake();
        }
    }

    /// Closes the stream of who is no member any more.
    pub(super) fn check_standing(&self, ears: &dyn Ears) {
        if ears.standing(self.member) != Standing::Member {
            self.close();
        }
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    fn is_over(&self) -> bool {
        self.closed.get() || self.silent.get() >= SILENT_SWEEPS
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Links {
    /// Serves a stream whose first bytes are those of a member, until it ends.
    pub(crate) async fn accept(self: Rc<Self>, mut stream: Stream, first: Vec<u8>) {
        let shared = Rc::clone(&self.shared);
        drop(self);
        let Ok(greeted) = within(HANDSHAKE, greet(&shared, &mut *stream, first)).await else { return };
        let Some((hello, refusal)) = greeted else { return };
        let from = Origin {
            member: MemberId(hello.identity.member),
            process: hello.identity.process,
            executor: hello.executor,
        };
        match refusal {
            None => {}
            // Who has an older disk than it had may not know the others any more.
            Some(Refusal::UnknownMember) => {
                let _ = within(HANDSHAKE, last_word(&shared, from, &mut *stream)).await;
                return;
            }
            Some(_) => return,
        }
        let inbound = Rc::new(Inbound {
            member: from.member,
            silent: Cell::new(0),
            closed: Cell::new(false),
            waker: RefCell::default(),
        });
        shared.enter(from, &inbound);
        receive(&shared, &inbound, from, stream).await;
        shared.leave(from, &inbound);
    }
}

/// Reads the rest of the hello and answers it: who it is, and why it is refused if it is; none: it is no hello.
async fn greet(shared: &Shared, stream: &mut dyn Wire, first: Vec<u8>) -> io::Result<Option<(Hello, Option<Refusal>)>> {
    let mut bytes = [0; HANDSHAKE_BYTES];
    let (start, rest) = bytes.split_at_mut(first.len());
    start.copy_from_slice(&first);
    stream::read_exact(&mut *stream, rest).await?;
    let own = &shared.local.identity;
    let standing = |hello: &Hello| match shared.ears.standing(MemberId(hello.identity.member)) {
        Standing::Member if shared.ears.is_outdated(hello) => Standing::Outdated,
        standing => standing,
    };
    let (hello, refusal) = match Hello::decode(&bytes) {
        Ok(hello) => (Some(hello), hello.judge(own, |_| standing(&hello)).err()),
        Err(error) => {
            shared.say(0, 0, || format!("a stream from a peer was refused: {error}"));
            if !matches!(error, HelloError::Protocol(_)) {
                return Ok(None);
            }
            (None, Some(Refusal::Protocol))
        }
    };
    if let (Some(hello), Some(refusal)) = (&hello, refusal) {
        shared.say(hello.identity.member, 100 + refusal as u16, || refused(hello, refusal, shared));
    }
    let to = hello.map_or(0, |hello| hello.identity.member);
    let answer = Answer { refusal, hello: shared.hello(MemberId(to)) };
    stream::write_all(&mut *stream, &answer.encode()).await?;
    Ok(hello.map(|hello| (hello, refusal)))
}

/// What a stranger says who remembers that this member's disk has held more; nothing else is heard of it.
async fn last_word(shared: &Shared, from: Origin, stream: &mut dyn Wire) -> io::Result<()> {
    let (mut decoder, mut buffer) = (Decoder::new(), vec![0; READ_BYTES]);
    loop {
        let read = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer)).await?;
        let mut input = &buffer[..read];
        match decoder.next(&mut input) {
            Ok(None) if read > 0 => {}
            Ok(Some(frame @ Frame::Outdated(_))) => {
                shared.ears.receive(from, frame);
                return Ok(());
            }
            Ok(_) | Err(_) => return Ok(()),
        }
    }
}

/// What is said here about a member that is refused, in etcd's words where it has some.
fn refused(hello: &Hello, refusal: Refusal, shared: &Shared) -> String {
    let (theirs, own) = (&hello.identity, &shared.local.identity);
    let member = theirs.member;
    match refusal {
        Refusal::Cluster => {
            format!("request cluster ID mismatch (got {:x} want {:x}) from {member:x}", theirs.cluster, own.cluster)
        }
        Refusal::Shards => format!(
            "request of {member:x} refused: number of shards mismatch (got {} want {}); all members must be started with the \
             same --shards",
            theirs.shards, own.shards
        ),
        Refusal::Format => format!(
            "request of {member:x} refused: data format version mismatch (got {} want {})",
            theirs.format, own.format
        ),
        Refusal::Receiver => {
            format!("request of {member:x} refused: it is for {:x}, this is {:x}", hello.to, own.member)
        }
        Refusal::Protocol => format!(
            "request of {member:x} refused: peer protocol version mismatch (got {} want {PROTOCOL})",
            hello.protocol
        ),
        Refusal::UnknownMember => {
            format!("failed to find member {member:x} in cluster {:x}", own.cluster)
        }
        Refusal::RemovedMember | Refusal::OwnEcho | Refusal::Outdated => {
            format!("request of {member:x} refused: {refusal}")
        }
    }
}

/// Hands frames to the core until the stream ends or is not to be trusted any more.
async fn receive(shared: &Shared, inbound: &Inbound, from: Origin, mut stream: Stream) {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = poll_fn(|cx| {
            if inbound.is_over() {
                return Poll::Ready(Ok(0));
            }
            inbound.waker.replace(Some(cx.waker().clone()));
            Pin::new(&mut stream).poll_read(cx, &mut buffer)
        });
        let Ok(read @ 1..) = read.await else { return };
        inbound.silent.set(0);
        let mut input = &buffer[..read];
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Frame::Alive)) => {}
                Ok(Some(frame)) => shared.ears.receive(from, frame),
                Ok(None) => break,
                Err(error) => {
                    shared.say(from.member.0, 200, || format!("the stream from {:x} is closed: {error}", from.member));
                    return;
                }
            }
        }
        glommio::yield_if_needed().await;
    }
}
