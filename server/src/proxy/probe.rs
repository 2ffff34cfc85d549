//! Finding out who hangs.
//!
//! A member that has stopped (or its machine, or the network to it) takes connections and answers nothing, so no failed
//! exchange gives it away; and a member may well take long to answer, or have no event for a watch. So one that is waited
//! for and says nothing for [`SILENCE`] is asked for its version on a connection of its own, which needs no quorum. If it
//! does not answer within [`PATIENCE`], it hangs: who waits for it is told, and it is left alone until it answers.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use net::http::client::{ResponseHead, decode_head};

use super::endpoint::Endpoint;
use super::front::Front;
use super::upstream::Upstream;
use crate::peer::within;

/// How long a member that is waited for may say nothing.
const SILENCE: Duration = Duration::from_secs(2);
/// How long it has for its version.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// A member with a great many URLs is still shorter.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// From one look to the next.
const GLANCE: Duration = Duration::from_millis(500);

/// Looks after all endpoints until it is cancelled; one executor does it for all.
pub(super) async fn keep(front: Rc<Front>) {
    loop {
        glommio::timer::sleep(GLANCE).await;
        let known = front.shared.director.known();
        let suspects = known.into_iter().filter(|endpoint| is_suspect(endpoint));
        let probes: Vec<_> =
            suspects.map(|endpoint| glommio::spawn_local(probe(Rc::clone(&front), endpoint))).collect();
        for probe in probes {
            probe.await;
        }
    }
}

fn is_suspect(endpoint: &Endpoint) -> bool {
    endpoint.is_hung() && endpoint.is_listed() || endpoint.silence().is_some_and(|silence| silence >= SILENCE)
}

async fn probe(front: Rc<Front>, endpoint: Arc<Endpoint>) {
    match within(PATIENCE, ask(&front, &endpoint, "/version")).await {
        Ok(_) => endpoint.revive(),
        Err(_) => front.shared.director.give_up(&endpoint),
    }
}

/// Asks for a page on a connection of its own: the head of the answer, whatever it is, and where the body comes.
pub(super) async fn ask(front: &Front, endpoint: &Arc<Endpoint>, path: &str) -> io::Result<(Upstream, ResponseHead)> {
    let mut upstream = Upstream::dial(&front.shared.own, endpoint, Some(PATIENCE)).await?;
    let head = request(front, &mut upstream, path, "Connection: close\r\n").await?;
    Ok((upstream, head))
}

/// Has a member show on a new connection that it serves there; whether the connection can be used on.
pub(super) async fn prove(front: &Front, upstream: &mut Upstream) -> io::Result<bool> {
    let head = request(front, upstream, "/version", "").await?;
    let (_, is_complete) = body(front, upstream, &head).await?;
    Ok(is_complete && head.keep_alive && upstream.input.is_empty())
}

async fn request(front: &Front, upstream: &mut Upstream, path: &str, more: &str) -> io::Result<ResponseHead> {
    let host = upstream.endpoint.url().host_port();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: uetcd\r\n{more}\r\n");
    let mut written = 0;
    while written < request.len() {
        written += upstream.write(&request.as_bytes()[written..], None).await?;
    }
    loop {
        if let Some((head, length)) = decode_head(&upstream.input, false).map_err(io::Error::other)? {
            upstream.input.drain(..length);
            return Ok(head);
        }
        if read(front, upstream).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The rest of an answer, and whether it is all of it.
pub(super) async fn body(front: &Front, upstream: &mut Upstream, head: &ResponseHead) -> io::Result<(Vec<u8>, bool)> {
    let (mut decoder, mut body) = (head.body(), Vec::new());
    while body.len() < ANSWER_BYTES_MAX {
        let progress = decoder.decode(&upstream.input, &mut body).map_err(io::Error::other)?;
        upstream.input.drain(..progress.consumed);
        if progress.finished {
            return Ok((body, true));
        }
        if read(front, upstream).await? == 0 {
            break;
        }
    }
    Ok((body, false))
}

async fn read(front: &Front, upstream: &mut Upstream) -> io::Result<usize> {
    poll_fn(|cx| upstream.poll_read(cx, &mut front.scratch())).await
}
