//! A request to a member, and its answer to the client.
//!
//! Endpoints are asked in their order until one answers, whatever it answers. One that could not be sent the whole request is
//! out of rotation, and the next is asked. One that may have got the request and does not answer is, too; but then the next
//! is asked only what does no harm when it is done twice: etcd repeats everything. [`leader`] keeps writes from members that
//! would lose them.
//!
//! A member that dies takes connections for a moment longer, and those that it has look sound. So after the loss of one no
//! other that was made before is used again, and a write is sent on a new one only when the member has answered there.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures_lite::{AsyncRead, AsyncWrite};
use net::http::client::{ResponseHead, decode_head};
use net::http::relay::{Additions, BodyRelay};
use net::http::response::Next;

use super::client::Client;
use super::endpoint::{Endpoint, Waiting};
use super::front::{Front, Trouble};
use super::leader;
use super::plan::{self, Job};
use super::probe;
use super::upstream::Upstream;
use crate::config::go_reason;
use crate::http::allowed;
use crate::metrics::proxy::Dropped;
use crate::peer::within;

/// Bytes of an answer that a waiting exchange may keep allocated.
const OUT_KEPT: usize = 4 << 10;

/// Why an endpoint has not answered.
enum Fault {
    /// No process has got the request.
    Unsent(io::Error),
    /// It may have got it. `kept`: on a connection that had been idle, which may have ended for that alone.
    Lost { error: io::Error, kept: bool },
    /// Nobody is there any more to be answered.
    Abandoned,
}

/// A member that has answered, and what it has said so far.
struct Answered {
    upstream: Upstream,
    head: ResponseHead,
    _waiting: Waiting,
}

/// Has a member do a job. An error ends the client's connection at once.
pub(super) async fn forward<S>(front: &Front, client: &mut Client<S>, job: &Job) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let begun = Instant::now();
    front.count(|metrics| metrics.request(job.method));
    let mut tried = 0;
    for endpoint in front.endpoints().iter().filter(|endpoint| endpoint.is_available()) {
        tried += 1;
        if job.needs_leader {
            leader::wait(front, endpoint).await;
        }
        match ask(front, client, job, endpoint).await {
            Ok(answered) => {
                let status = answered.head.status;
                front.count(|metrics| metrics.handled(job.method, status, begun.elapsed()));
                return pass(front, client, job, answered).await;
            }
            Err(Fault::Abandoned) => {
                tracing::debug!(target: "proxy", "a client closed its request prematurely");
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Err(Fault::Unsent(error)) => failed(front, job, endpoint, &error),
            Err(Fault::Lost { error, kept }) => {
                if !kept {
                    failed(front, job, endpoint, &error);
                }
                if !job.is_safe {
                    break;
                }
            }
        }
    }
    refuse(front, client, job, tried).await
}

/// The endpoint is out of rotation.
fn failed(front: &Front, job: &Job, endpoint: &Endpoint, error: &io::Error) {
    front.count(|metrics| metrics.dropped(job.method, Dropped::FailedSending));
    front.tell(Trouble::Failed, || format!("failed to direct request to {}: {}", endpoint.url(), go_reason(error)));
    endpoint.lose();
    endpoint.mark(front.shared.config.proxying.failure_wait);
    front.shared.director.shake();
}

/// Nobody has answered.
async fn refuse<S>(front: &Front, client: &mut Client<S>, job: &Job, tried: usize) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (status, text, why, trouble) = if tried == 0 {
        let text = "zero endpoints currently available".to_owned();
        (503, text, Dropped::ZeroEndpoints, Trouble::NobodyToAsk)
    } else {
        let text = format!("unable to get response from {tried} endpoint(s)");
        (502, text, Dropped::FailedGettingResponse, Trouble::NobodyAnswers)
    };
    front.count(|metrics| metrics.dropped(job.method, why));
    front.tell(trouble, || text.clone());
    let page = plan::message(status, &format!("proxy: {text}"));
    let answer = plan::answer(front, &page, job.exchange, job.cors);
    client.send(&answer.bytes).await?;
    Ok(answer.next)
}

/// Asks one endpoint, on a connection that is there or on a new one.
async fn ask<S>(front: &Front, client: &mut Client<S>, job: &Job, endpoint: &Arc<Endpoint>) -> Result<Answered, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(upstream) = front.pool.take(endpoint) {
        let outcome = exchange(front, client, job, upstream).await;
        match outcome {
            Err(Fault::Unsent(_)) => endpoint.lose(),
            Err(Fault::Lost { .. }) if job.is_safe && !endpoint.is_hung() => endpoint.lose(),
            Err(Fault::Lost { .. }) => {
                endpoint.lose();
                return outcome;
            }
            Ok(_) | Err(Fault::Abandoned) => return outcome,
        }
    }
    match connect(front, job, endpoint).await {
        Ok(upstream) => exchange(front, client, job, upstream).await,
        Err(error) => {
            if error.kind() == io::ErrorKind::TimedOut {
                front.shared.director.give_up(endpoint);
            }
            Err(Fault::Unsent(error))
        }
    }
}

/// A new connection that can be used for a job.
async fn connect(front: &Front, job: &Job, endpoint: &Arc<Endpoint>) -> io::Result<Upstream> {
    let dial = || Upstream::dial(&front.shared.own, endpoint, front.shared.config.proxying.dial_timeout);
    let mut upstream = dial().await?;
    if !job.is_safe
        && let Some(lost) = endpoint.is_in_doubt()
    {
        let stays = within(probe::PATIENCE, probe::prove(front, &mut upstream)).await?;
        endpoint.prove(lost);
        if !stays {
            upstream = dial().await?;
        }
    }
    Ok(upstream)
}

/// Sends the request and waits for the head of the answer.
async fn exchange<S>(
    front: &Front,
    client: &mut Client<S>,
    job: &Job,
    mut upstream: Upstream,
) -> Result<Answered, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let waiting = Waiting::on(&upstream.endpoint);
    let kept = upstream.is_used;
    let lost = |error| Fault::Lost { error, kept };
    let mut written = 0;
    while written < job.request.len() {
        let rest = &job.request[written..];
        written += match upstream.write(rest, front.shared.config.proxying.write_timeout).await {
            Ok(sent) => sent,
            // The kernel may still send what it was given.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(lost(error)),
            // Without its end it is no request, so it was not executed.
            Err(error) => return Err(Fault::Unsent(error)),
        };
    }
    loop {
        match decode_head(&upstream.input, job.exchange.head) {
            Ok(Some((head, length))) => {
                upstream.input.drain(..length);
                return Ok(Answered { upstream, head, _waiting: waiting });
            }
            Ok(None) => {}
            Err(error) => return Err(lost(io::Error::other(error))),
        }
        match next_event(front, client, job, &mut upstream).await {
            Event::Bytes => {}
            Event::Ended if upstream.has_ended_unread() => {
                return Err(Fault::Unsent(io::ErrorKind::UnexpectedEof.into()));
            }
            Event::Ended => return Err(lost(io::ErrorKind::UnexpectedEof.into())),
            Event::Failed(error) => return Err(lost(error)),
            Event::Abandoned | Event::Stopped => return Err(Fault::Abandoned),
        }
    }
}

/// What can happen while a member is waited for.
enum Event {
    /// More of the answer.
    Bytes,
    /// The member has ended the connection.
    Ended,
    /// The connection has failed, or the endpoint is given up.
    Failed(io::Error),
    /// The client has gone.
    Abandoned,
    /// The process stops, and this is a watch.
    Stopped,
}

async fn next_event<S>(front: &Front, client: &mut Client<S>, job: &Job, upstream: &mut Upstream) -> Event
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let event = poll_fn(|cx| {
        if upstream.is_given_up() {
            return Poll::Ready(Ok(Event::Failed(io::ErrorKind::TimedOut.into())));
        }
        match upstream.poll_read(cx, &mut front.scratch()) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Event::Ended)),
            Poll::Ready(Ok(_)) => return Poll::Ready(Ok(Event::Bytes)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {}
        }
        // A client that has shut its side down gets what it has asked for, but waits for no events.
        match client.poll_end(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(Event::Abandoned)),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        match job.is_watch {
            true if client.input_ended => Poll::Ready(Ok(Event::Abandoned)),
            true if front.is_stopping() => Poll::Ready(Ok(Event::Stopped)),
            _ => Poll::Pending,
        }
    });
    let event = match front.shared.config.proxying.read_timeout {
        Some(limit) => within(limit, event).await,
        None => event.await,
    };
    event.unwrap_or_else(Event::Failed)
}

/// Passes an answer on as it comes: what the client does not take is not read.
async fn pass<S>(front: &Front, client: &mut Client<S>, job: &Job, answered: Answered) -> io::Result<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Answered { mut upstream, head, _waiting } = answered;
    let date = front.date();
    let cors_origin = allowed(&front.shared.config.cors, job.cors);
    let mut out = Vec::new();
    let mut body = BodyRelay::begin(&mut out, &head, job.exchange, Additions { cors_origin, date: &date });
    loop {
        let progress = body.pass(&upstream.input, &mut out).map_err(io::Error::other)?;
        upstream.input.drain(..progress.consumed);
        if progress.finished {
            client.send(&out).await?;
            if head.keep_alive {
                front.pool.keep(upstream);
            }
            return Ok(body.next());
        }
        client.send(&out).await?;
        out.clear();
        if out.capacity() > OUT_KEPT {
            out = Vec::new();
        }
        if upstream.input.is_empty() && upstream.input.capacity() > OUT_KEPT {
            upstream.input = Vec::new();
        }
        let end = match next_event(front, client, job, &mut upstream).await {
            Event::Bytes => continue,
            Event::Abandoned => return Err(io::ErrorKind::ConnectionAborted.into()),
            Event::Ended => body.input_ended(&mut out),
            Event::Failed(_) | Event::Stopped => None,
        };
        // A watch whose member has died ends between two events like any other: its client asks again.
        let may_end = job.is_watch && upstream.input.is_empty();
        let end = if may_end { end.or_else(|| body.finish_early(&mut out)) } else { end };
        let Some(next) = end else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        client.send(&out).await?;
        return Ok(next);
    }
}
