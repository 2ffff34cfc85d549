//! The writing side.

use std::sync::Arc;
use std::time::Instant;

use net::decimal::push_u64;

use super::event::Event;
use crate::http::{Answer, RequestWriter};
use crate::op::Op;
use crate::random::Random;
use crate::script::{Ask, Right, Script, Stage, expect_status, text_of};

/// Sets one key, over and over; the values tell watchers what they must get.
pub(crate) struct Writer {
    stage: Arc<Stage>,
    requests: RequestWriter,
    random: Random,
    number: u32,
    next: u64,
}

/// Appends the name of a watched directory. It is this run's own: another's events would not be understood.
pub(super) fn push_directory(stage: &Stage, out: &mut Vec<u8>, directory: u32) {
    stage.space.push_top(out, b"watch", directory.into());
    out.push(b'-');
    out.extend_from_slice(stage.plan.run.as_bytes());
}

impl Writer {
    pub(crate) fn new(stage: Arc<Stage>, number: u32, requests: RequestWriter) -> Self {
        let random = Random::new(stage.plan.seed, number);
        Self { stage, requests, random, number, next: 1 }
    }

    fn push_key(&self, out: &mut Vec<u8>) {
        push_directory(&self.stage, out, self.stage.fanout.directory(self.number));
        out.extend_from_slice(b"/k");
        push_u64(out, self.number.into());
    }
}

impl Script for Writer {
    fn next(&mut self, at: Instant, out: &mut Vec<u8>) -> Option<Ask> {
        let (stage, writer) = (&self.stage, self.number);
        let event = Event { writer, number: self.next, due_ns: stage.fanout.time_of(at) };
        self.next += 1;
        let size = stage.plan.sizes.pick(&mut self.random);
        let requests = self.requests.key(|path| {
            push_directory(stage, path, stage.fanout.directory(writer));
            path.extend_from_slice(b"/k");
            push_u64(path, writer.into());
        });
        requests.form(out, "PUT", "", |form| {
            form.extend_from_slice(b"value=");
            event.push(form, size);
        });
        Some(Ask { op: Op::Put, number: event.number, detail: 0 })
    }

    fn check(&mut self, ask: Ask, answer: &Answer<'_>) -> Result<Right, String> {
        expect_status(answer, &[200, 201])?;
        self.stage.fanout.acknowledge(self.number);
        Right::change(ask.op, answer)
    }

    fn describe(&self, _: Ask) -> String {
        format!("PUT {}", text_of(|out| self.push_key(out)))
    }
}
