//! In-order keys.

use std::sync::Arc;
use std::time::Instant;

use super::{Ask, Right, Script, Stage, expect_status, text_of, wrong};
use crate::http::{Answer, RequestWriter, body};
use crate::op::Op;
use crate::random::Random;
use crate::value;

/// Creates keys whose names are their indices.
pub(crate) struct Post {
    stage: Arc<Stage>,
    requests: RequestWriter,
    random: Random,
}

fn push_queue(stage: &Stage, out: &mut Vec<u8>, queue: u64) {
    stage.space.push_top(out, b"q", queue);
}

impl Post {
    pub(crate) fn new(stage: Arc<Stage>, connection: u32, requests: RequestWriter) -> Self {
        let random = Random::new(stage.plan.seed, connection);
        Self { stage, requests, random }
    }
}

impl Script for Post {
    fn next(&mut self, _: Instant, out: &mut Vec<u8>) -> Option<Ask> {
        let queue = self.random.below(self.stage.space.directories());
        let stage = &self.stage;
        let size = stage.plan.sizes.pick(&mut self.random);
        self.requests.key(|path| push_queue(stage, path, queue)).form(out, "POST", "", |form| {
            form.extend_from_slice(b"value=");
            value::push_pattern(form, queue, size);
        });
        Some(Ask { op: Op::Post, number: queue, detail: 0 })
    }

    fn check(&mut self, ask: Ask, answer: &Answer<'_>) -> Result<Right, String> {
        expect_status(answer, &[201])?;
        if !body::VALUE.text(answer.body).is_some_and(|text| value::is_pattern(text, ask.number)) {
            return Err(wrong("not the value that was written", answer));
        }
        let name = body::KEY.text(answer.body).and_then(|key| key.rsplit(|byte| *byte == b'/').next());
        let index = body::CREATED.number(answer.body);
        if index.is_none() || name.and_then(net::decimal::parse_u64) != index {
            return Err(wrong("the name is not the index", answer));
        }
        Right::change(ask.op, answer)
    }

    fn describe(&self, ask: Ask) -> String {
        format!("POST {}", text_of(|out| push_queue(&self.stage, out, ask.number)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, ask, stage};
    use super::*;

    #[test]
    fn names_are_indices() {
        let mut script = stage(&["-w", "post", "--directories", "1"]).script(0);
        let (line, asked) = ask(script.as_mut());
        assert_eq!(line, "POST /v2/keys/lg-q0 HTTP/1.1");
        let value = text_of(|out| value::push_pattern(out, 0, 64));
        let node = |name: u64| {
            format!(r#"{{"node":{{"key":"/lg-q0/{name:020}","value":"{value}","modifiedIndex":6,"createdIndex":6}}}}"#)
        };
        assert!(script.check(asked, &answer(201, &node(6))).is_ok());
        assert!(script.check(asked, &answer(201, &node(7))).is_err());
        assert!(script.check(asked, &answer(200, &node(6))).is_err());
    }
}
