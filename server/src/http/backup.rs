//! `GET /uetcd/backup`: the whole state at one index, streamed as the client takes it.
//!
//! Not etcd's, whose tool copies a member's files. What is cut short has no trailer, and is no backup.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Waker;

use net::http::request::Request;
use net::http::response::{Head, Next, content_type, finish_stream, write_chunk};
use net::http::status::Status;
use shard::ids::{Index, ShardId};

use super::session::{Handled, Pending, Session, allowed};
use super::streaming::Stream;
use crate::backup::{About, Encoder};
use crate::core::message::Answer;
use crate::core::{Asked, Backup, NoBackup, Phase};
use crate::page::Page;

/// A backup on its way to a client.
pub(super) struct Download {
    pending: Pending,
    state: State,
}

enum State {
    /// The executors are taking the cut.
    Beginning(Rc<Begun>),
    Going(Box<Going>),
}

/// A backup and its index, or why there is none.
type Taken = Result<(Backup, Index), NoBackup>;

/// Where the task that begins a backup leaves it.
#[derive(Default)]
struct Begun {
    arrived: RefCell<(Option<Taken>, Option<Waker>)>,
}

struct Going {
    backup: Backup,
    encoder: Encoder,
    /// The shard whose turn it is.
    shard: ShardId,
    /// Its next chunk.
    asked: Asked,
}

/// How a step ended.
enum Step {
    /// Go on when there is more.
    Waits,
    Goes,
    Over,
    /// Too much is under way: it can not be finished.
    Failed,
}

impl Download {
    pub(super) fn register(&self, waker: &Waker) {
        match &self.state {
            State::Beginning(begun) => begun.arrived.borrow_mut().1 = Some(waker.clone()),
            State::Going(going) => going.asked.register(waker),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        match &self.state {
            State::Beginning(begun) => begun.arrived.borrow().0.is_some(),
            State::Going(going) => going.asked.is_ready(),
        }
    }
}

impl Session {
    /// Begins a backup. Nothing else is outstanding.
    pub(super) fn back_up(&mut self, request: &Request<'_>) -> Handled {
        let begun = Rc::new(Begun::default());
        let (core, there) = (Rc::clone(&self.core), Rc::clone(&begun));
        glommio::spawn_local(async move {
            let backup = core.back_up().await;
            let mut arrived = there.arrived.borrow_mut();
            arrived.0 = Some(backup);
            if let Some(waker) = arrived.1.take() {
                waker.wake();
            }
        })
        .detach();
        let download = Download { pending: self.pending_of(request, None), state: State::Beginning(begun) };
        self.stream = Some(Box::new(Stream::Backup(download)));
        Handled::Taken
    }

    /// Writes the next chunk, if it is there; true if the answer is over.
    pub(super) fn pump_backup(&mut self, download: &mut Download) -> bool {
        if self.core.node.phase() == Phase::Stopping {
            self.after_stream(Next::Close);
            return true;
        }
        if let State::Beginning(begun) = &download.state {
            let Some(backup) = begun.arrived.borrow_mut().0.take() else { return false };
            match self.begin(&download.pending, backup) {
                Some(going) => download.state = State::Going(Box::new(going)),
                None => return true,
            }
        }
        let State::Going(going) = &mut download.state else { return false };
        let exchange = download.pending.exchange;
        // One at a time: it is sent before the next one is made.
        let mut bytes = Vec::new();
        let step = going.step(self.core.node.shards, &mut bytes);
        if !bytes.is_empty() {
            write_chunk(&mut self.out, exchange, &bytes);
        }
        match step {
            Step::Waits | Step::Goes => false,
            Step::Over => {
                let next = finish_stream(&mut self.out, exchange);
                self.after_stream(next);
                true
            }
            Step::Failed => {
                self.after_stream(Next::Close);
                true
            }
        }
    }

    /// Answers that there is none, or writes the head and the begin.
    fn begin(&mut self, pending: &Pending, taken: Taken) -> Option<Going> {
        let (backup, at) = match taken {
            Ok(begun) => begun,
            Err(why) => {
                self.respond_page(pending, &refusal(why));
                return None;
            }
        };
        let shard = ShardId(0);
        let Some(asked) = backup.ask(shard) else {
            self.respond_page(pending, &refusal(NoBackup::Overloaded));
            return None;
        };
        let core = Rc::clone(&self.core);
        let node = &core.node;
        let head = Head::new(Status::Ok).content_type(content_type::BYTES).cluster_id(&node.cluster_id);
        let head = head.etcd_index(at.0).cors(allowed(&node.config.cors, pending.cors));
        let date = self.date();
        head.write_stream_head(&mut self.out, pending.exchange, &date);
        let mut bytes = Vec::new();
        let encoder = Encoder::new(&About::new(node.cluster_id.clone(), node.member, node.shards, at), &mut bytes);
        write_chunk(&mut self.out, pending.exchange, &bytes);
        Some(Going { backup, encoder, shard, asked })
    }
}

impl Going {
    fn step(&mut self, shards: u16, out: &mut Vec<u8>) -> Step {
        match self.asked.try_next() {
            None => return Step::Waits,
            Some(Answer::Chunk(Some(chunk))) => self.encoder.chunk(&chunk, out),
            Some(Answer::Chunk(None)) => {
                self.encoder.end_shard(out);
                self.shard.0 += 1;
            }
            Some(other) => panic!("a question for a chunk was answered with {other:?}"),
        }
        if self.shard.0 == shards {
            self.encoder.finish(out);
            return Step::Over;
        }
        let Some(asked) = self.backup.ask(self.shard) else { return Step::Failed };
        self.asked = asked;
        Step::Goes
    }
}

fn refusal(why: NoBackup) -> Page {
    Page::message(
        503,
        match why {
            NoBackup::Busy => "uetcd: another backup is being taken",
            NoBackup::Overloaded => "etcdserver: too many requests",
        },
    )
}
