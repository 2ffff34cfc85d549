//! The task of a link: dial, shake hands, send, and all of it again.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::{AsyncRead as _, AsyncWrite as _};
use net::peer::{Address, Answer, Frame, HANDSHAKE_BYTES, Hello, HelloError, Outdated, Refusal, Standing};

use super::backoff::Backoff;
use super::link::{Link, Next};
use super::links::Shared;
use super::stream::{self, Stream, within};
use crate::config::{Url, go_reason};

/// How long the kernel is given to make a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// How long dialling and the handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A stream that held for this long was good: after it is lost, dialling begins with short pauses again.
const GOOD: Duration = Duration::from_secs(1);

/// Why there is no stream, or none any more.
enum Fault {
    Io(io::Error),
    Hello(HelloError),
    /// Who answers is not to be talked to, or says so of this member.
    Refused(Refusal, Box<Hello>),
    /// Who answers has an older disk than it had.
    Outdated,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => f.write_str("the other side has closed the stream"),
                io::ErrorKind::TimedOut => f.write_str("the other side does not answer in time"),
                io::ErrorKind::ConnectionAborted => f.write_str("this side has closed the stream"),
                _ => f.write_str(&go_reason(error)),
            },
            Self::Hello(error) => error.fmt(f),
            Self::Refused(refusal, _) => refusal.fmt(f),
            Self::Outdated => f.write_str("its disk holds less than it did: an older one was put in its place"),
        }
    }
}

impl Fault {
    /// Says once in a while what is wrong, and tells the core who refuses this member. All executors dial the same members,
    /// so one of them speaks.
    fn report(&self, shared: &Shared, link: &Link, url: &Url) {
        if shared.local.executor == 0 {
            self.log(shared, link, url);
        }
        if let Self::Refused(refusal, _) = self {
            shared.ears.refused(link.to, *refusal);
        }
    }

    /// In etcd's words where it has some.
    fn log(&self, shared: &Shared, link: &Link, url: &Url) {
        let (to, own) = (link.to.0, &shared.local.identity);
        match self {
            Self::Io(_) => shared.say(to, 0, || format!("failed to dial {to:x} at {url} ({self})")),
            Self::Outdated => shared.say(to, 150, || {
                format!("failed to dial {to:x} at {url}: {self}. It is told so, and has no vote until it has caught up")
            }),
            Self::Hello(error) => shared.say(to, 1, || format!("failed to dial {to:x} at {url}: {error}")),
            Self::Refused(refusal, theirs) => {
                let theirs = &theirs.identity;
                shared.say(to, 2 + *refusal as u16, || match refusal {
                    Refusal::Cluster => format!(
                        "request sent was ignored (cluster ID mismatch: remote[{to:x}]={:x}, local={:x})",
                        theirs.cluster, own.cluster
                    ),
                    Refusal::Shards => format!(
                        "request sent was ignored (number of shards mismatch: remote[{to:x}]={}, local={})",
                        theirs.shards, own.shards
                    ),
                    Refusal::Format => format!(
                        "request sent was ignored by peer {to:x} (data format version mismatch: remote={}, local={})",
                        theirs.format, own.format
                    ),
                    Refusal::Receiver => format!(
                        "request sent was ignored: {url} should be the member {to:x}, but is {:x}",
                        theirs.member
                    ),
                    Refusal::UnknownMember => {
                        format!("request sent was ignored by peer {to:x}: it does not know the member {:x}", own.member)
                    }
                    Refusal::Protocol | Refusal::RemovedMember | Refusal::OwnEcho | Refusal::Outdated => {
                        format!("failed to dial {to:x} at {url} ({refusal})")
                    }
                });
            }
        }
    }
}

/// Keeps a link until it is closed.
pub(super) async fn keep(shared: Rc<Shared>, link: Rc<Link>, seed: u64) {
    let mut backoff = Backoff::new(seed);
    let mut attempt = 0;
    while !link.is_closed() {
        let urls = link.urls();
        let url = &urls[attempt % urls.len()];
        attempt += 1;
        let fault = match open(&shared, &link, url).await {
            Ok(stream) => {
                let opened = Instant::now();
                let fault = send(&shared, &link, stream).await;
                if opened.elapsed() >= GOOD {
                    backoff.reset();
                }
                fault
            }
            Err(fault) => fault,
        };
        let was_up = link.down();
        if was_up {
            shared.lost(&link, &fault.to_string());
        }
        if link.is_closed() {
            return;
        }
        if !was_up {
            fault.report(&shared, &link, url);
        }
        glommio::timer::sleep(backoff.pause()).await;
    }
}

/// Dials and shakes hands.
async fn open(shared: &Shared, link: &Link, url: &Url) -> Result<Stream, Fault> {
    let hello = shared.hello(link.to);
    let (mut stream, answer) = within(HANDSHAKE, async {
        let mut stream = stream::connect(url, CONNECT).await?.stream;
        stream::write_all(&mut *stream, &hello.encode()).await?;
        let mut answer = [0; HANDSHAKE_BYTES];
        stream::read_exact(&mut *stream, &mut answer).await?;
        Ok((stream, answer))
    })
    .await?;
    let answer = Answer::decode(&answer).map_err(Fault::Hello)?;
    let refused = |refusal| Err(Fault::Refused(refusal, Box::new(answer.hello)));
    if let Some(refusal) = answer.refusal.filter(|refusal| *refusal != Refusal::UnknownMember) {
        return refused(refusal);
    }
    // Who answers must be whom the membership has there, too.
    let standing = |member| if member == link.to.0 { Standing::Member } else { Standing::Unknown };
    match answer.hello.judge(&shared.local.identity, standing) {
        Err(refusal) => refused(refusal),
        Ok(()) if shared.ears.is_outdated(&answer.hello) => {
            // It may not know this member any more, and so does not dial it either.
            let mut frame = Vec::new();
            if Frame::from(Outdated { urls: shared.urls.clone() }).encode(&mut frame).is_ok() {
                within(HANDSHAKE, stream::write_all(&mut *stream, &frame)).await?;
            }
            Err(Fault::Outdated)
        }
        Ok(()) => answer.refusal.map_or(Ok(stream), refused),
    }
}

/// Sends what comes until the stream or the link ends.
async fn send(shared: &Shared, link: &Link, mut stream: Stream) -> Fault {
    link.up();
    shared.opened(link);
    let mut buffer = Vec::new();
    let address = Address { urls: shared.urls.clone() };
    if let Err(error) = Frame::from(address).encode(&mut buffer) {
        shared.say(link.to.0, 201, || format!("the own peer URLs can not be told to {:x}: {error}", link.to));
    }
    if let Err(error) = write(link, &mut stream, &buffer).await {
        return error.into();
    }
    loop {
        if let Err(error) = poll_fn(|cx| poll_due(link, &mut stream, cx)).await {
            return error.into();
        }
        link.take(&mut buffer);
        if buffer.is_empty() && Frame::Alive.encode(&mut buffer).is_err() {
            continue;
        }
        link.wrote(true);
        let sent = write(link, &mut stream, &buffer).await;
        link.wrote(false);
        if let Err(error) = sent {
            return error.into();
        }
    }
}

/// Waits until something is to be sent. Nothing comes from the other side but its end.
fn poll_due(link: &Link, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    link.register(cx.waker());
    match link.next() {
        Next::Wait => {}
        Next::Send => return Poll::Ready(Ok(())),
        Next::Close => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
    }
    let mut scratch = [0; 16];
    match std::task::ready!(Pin::new(stream).poll_read(cx, &mut scratch))? {
        0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        _ => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
    }
}

/// One write, as long as the peer takes it.
async fn write(link: &Link, stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        let sent = poll_fn(|cx| match Pin::new(&mut *stream).poll_write(cx, &bytes[written..]) {
            Poll::Pending => {
                link.register(cx.waker());
                if link.is_stuck() { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
            }
            ready @ Poll::Ready(_) => ready,
        })
        .await?;
        if sent == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        written += sent;
        link.wrote(true);
    }
    Ok(())
}
