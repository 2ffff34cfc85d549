//! The answer to a watch: a head at once, then events as chunks.

use std::rc::Rc;
use std::task::Waker;

use bytes::Bytes;
use net::http::request::Exchange;
use net::http::response::{Next as After, begin_chunk, end_chunk, finish_stream, write_chunk};

use super::keys::watch_head;
use super::session::{Pending, Session, Shared, allowed};
use crate::core::Phase;
use crate::core::bodies::When;
use crate::core::feed::Next;
use crate::core::watch::Watching;

/// Bytes of events that are put together into one write. A client that does not read keeps so many from being freed. A larger event is sent from
/// where all who watch it have it.
const WRITE_BYTES: usize = 16 << 10;

/// A watch that has its connection for itself.
pub(super) struct Watch {
    watching: Watching,
    pending: Pending,
    /// More than one event.
    goes_on: bool,
    head_sent: bool,
}

impl Watch {
    pub(super) fn new(watching: Watching, pending: Pending, goes_on: bool) -> Self {
        Self { watching, pending, goes_on, head_sent: false }
    }

    pub(super) fn register(&self, waker: &Waker) {
        self.watching.register(waker);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.watching.is_ready()
    }

    fn exchange(&self) -> Exchange {
        self.pending.exchange
    }
}

impl Session {
    /// Writes what the watch has; true if it is over.
    pub(super) fn pump_watch(&mut self, stream: &mut Watch) -> bool {
        while self.out.len() < WRITE_BYTES && self.shared.is_none() {
            match stream.watching.next() {
                None => break,
                Some(Next::Standing(standing)) => {
                    let core = Rc::clone(&self.core);
                    let head = watch_head(&core.node.cluster_id, &standing)
                        .cors(allowed(&core.node.config.cors, stream.pending.cors));
                    let date = self.date();
                    head.write_stream_head(&mut self.out, stream.exchange(), &date);
                    stream.head_sent = true;
                }
                Some(Next::Refused(answer)) => {
                    self.respond_keys(&stream.pending, &answer);
                    return true;
                }
                Some(Next::Event(event, when)) => {
                    self.write_event(stream.exchange(), event, when);
                    if !stream.goes_on {
                        return self.finish(stream);
                    }
                }
                // Whoever was too slow for its events is not trusted with the connection's rest.
                Some(Next::Cut) => return self.break_off(stream),
            }
        }
        if self.is_ending() && !stream.is_ready() && !stream.watching.owes() {
            // As etcd does: whoever shuts its side down gets the head, and what had happened by then.
            self.finish(stream);
            self.after_stream(After::Close);
            return true;
        }
        self.core.node.phase() == Phase::Stopping && !stream.is_ready() && self.break_off(stream)
    }

    fn write_event(&mut self, exchange: Exchange, event: Bytes, when: When) {
        if event.len() <= WRITE_BYTES || exchange.head {
            return write_chunk(&mut self.out, exchange, &event);
        }
        begin_chunk(&mut self.out, exchange, event.len());
        self.shared = Some(Shared { at: self.out.len(), body: event, when });
        end_chunk(&mut self.out, exchange);
    }

    /// Ends a watch that would go on, and the connection. A stream ends in order: it may have shown events, and what it lacks can be
    /// asked for. An answer that was to be one event must not look whole without it: clients take it for that event.
    fn break_off(&mut self, stream: &Watch) -> bool {
        if stream.head_sent && stream.goes_on {
            self.finish(stream);
        }
        self.after_stream(After::Close);
        true
    }

    fn finish(&mut self, stream: &Watch) -> bool {
        let next = finish_stream(&mut self.out, stream.exchange());
        self.after_stream(next);
        true
    }
}
