//! Workloads: what one connection asks, and what must be answered. Each is a value that is stepped by `driver.rs`; none
//! does I/O.

mod cas;
mod keyed;
mod lifecycle;
mod list;
mod post;
mod prefill;
mod ttl;

use std::sync::Arc;
use std::time::Instant;

pub(crate) use cas::{Ledger, count_in, push_key as push_counter_key, push_padded};
pub(crate) use prefill::Prefill;

use crate::cli::Workload;
use crate::fanout::{Fanout, Writer};
use crate::http::{Answer, RequestWriter, body};
use crate::keys::{KeyPicker, KeySpace};
use crate::op::Op;
use crate::plan::Plan;
use crate::random::Random;

/// One request, as far as its answer's check needs it. What the numbers mean is the script's own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) op: Op,
    pub(crate) number: u64,
    pub(crate) detail: u64,
}

/// A right answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    /// What its latency counts as.
    pub(crate) op: Op,
    /// The index of the change, if it was one.
    pub(crate) written: Option<u64>,
}

impl Right {
    /// An answer to what changes nothing.
    fn read(op: Op) -> Self {
        Self { op, written: None }
    }

    /// The answer to a change; its body tells the index.
    pub(crate) fn change(op: Op, answer: &Answer<'_>) -> Result<Self, String> {
        let written = body::MODIFIED.number(answer.body).ok_or_else(|| wrong("no modifiedIndex", answer))?;
        Ok(Self { op, written: Some(written) })
    }
}

/// One connection's side of a workload. Answers are checked in the order of the requests.
pub(crate) trait Script {
    /// Appends the next request, which is due at `at`, to `out`. `None` when there is nothing more to ask.
    fn next(&mut self, at: Instant, out: &mut Vec<u8>) -> Option<Ask>;

    /// Checks the answer; the error says what is wrong with it.
    fn check(&mut self, ask: Ask, answer: &Answer<'_>) -> Result<Right, String>;

    /// The request's method and key, for messages.
    fn describe(&self, ask: Ask) -> String;
}

/// What the scripts of all connections share.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) plan: Arc<Plan>,
    pub(crate) space: Arc<KeySpace>,
    pub(crate) ledger: Ledger,
    pub(crate) fanout: Fanout,
}

impl Stage {
    /// Before the run.
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        let space = KeySpace::new(&plan.prefix, plan.keys, plan.directories, plan.depth, plan.distribution);
        let counters = if plan.workload == Workload::Cas { plan.keys } else { 0 };
        let fanout = Fanout::new(&plan);
        Self { space: Arc::new(space), ledger: Ledger::new(counters), fanout, plan }
    }

    /// The keys of a connection.
    fn picker(&self, connection: u32) -> KeyPicker {
        let random = Random::new(self.plan.seed, connection);
        KeyPicker::new(Arc::clone(&self.space), random, connection, self.plan.connections)
    }

    /// What a connection asks.
    pub(crate) fn script(self: &Arc<Self>, connection: u32) -> Box<dyn Script> {
        let requests = RequestWriter::new(&self.plan.endpoint(connection).host);
        let stage = Arc::clone(self);
        match self.plan.workload {
            Workload::Cas => Box::new(cas::Cas::new(stage, connection, requests)),
            Workload::CreateDelete => Box::new(lifecycle::CreateDelete::new(stage, connection, requests)),
            Workload::Post => Box::new(post::Post::new(stage, connection, requests)),
            Workload::Ttl => Box::new(ttl::Ttl::new(stage, connection, requests)),
            Workload::Wide | Workload::List => Box::new(list::List::new(stage, connection, requests)),
            Workload::Watch => Box::new(Writer::new(stage, connection, requests)),
            _ => Box::new(keyed::Keyed::new(stage, connection, requests)),
        }
    }
}

/// Refuses an answer whose status is not one of `statuses`.
pub(crate) fn expect_status(answer: &Answer<'_>, statuses: &[u16]) -> Result<(), String> {
    if statuses.contains(&answer.status) { Ok(()) } else { Err(wrong("unexpected status", answer)) }
}

/// Refuses an answer that is not this error of the store.
fn expect_error(answer: &Answer<'_>, status: u16, number: u64) -> Result<(), String> {
    expect_status(answer, &[status])?;
    if body::ERROR.number(answer.body) == Some(number) { Ok(()) } else { Err(wrong("another error", answer)) }
}

/// A message about an answer: what is wrong, and what was answered.
fn wrong(what: &str, answer: &Answer<'_>) -> String {
    /// More says nothing more.
    const SHOWN: usize = 300;
    let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(SHOWN)]);
    format!("{what}: {} {}", answer.status, text.trim_end())
}

/// Keys as messages show them.
pub(crate) fn text_of(push: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    push(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
pub(crate) mod testing {
    //! What the scripts' tests share.

    use clap::Parser;

    use super::*;
    use crate::cli::Options;

    /// A stage for these flags.
    pub(crate) fn stage(arguments: &[&str]) -> Arc<Stage> {
        let all = std::iter::once("loadgen").chain(arguments.iter().copied());
        let options = Options::try_parse_from(all).expect("flags that exist");
        Arc::new(Stage::new(Arc::new(Plan::new(&options).expect("a valid plan"))))
    }

    /// An answer of this status and body.
    pub(crate) fn answer(status: u16, body: &str) -> Answer<'_> {
        Answer { status, index: Some(9), closes: false, body: body.as_bytes() }
    }

    /// The next request: its first line and what is kept of it.
    pub(crate) fn ask(script: &mut dyn Script) -> (String, Ask) {
        let mut out = Vec::new();
        let ask = script.next(Instant::now(), &mut out).expect("there is always more");
        let text = String::from_utf8(out).expect("ASCII");
        (text.lines().next().expect("a line").to_owned(), ask)
    }
}
