//! Keys that come and go.

use std::sync::Arc;
use std::time::Instant;

use net::decimal::push_u64;

use super::{Ask, Right, Script, Stage, expect_status, text_of, wrong};
use crate::http::{Answer, RequestWriter, body};
use crate::op::Op;
use crate::random::Random;
use crate::value;

/// Creates a key that nobody else has, then deletes it.
pub(crate) struct CreateDelete {
    stage: Arc<Stage>,
    requests: RequestWriter,
    random: Random,
    connection: u32,
    /// Twice the number of the key; odd when it is to be deleted next.
    step: u64,
}

/// Appends the name of an object that is the run's and the connection's own.
pub(super) fn push_own(stage: &Stage, out: &mut Vec<u8>, connection: u32, number: u64) {
    stage.space.push_directory(out, number.wrapping_add(u64::from(connection)));
    out.push(b'/');
    out.extend_from_slice(stage.plan.run.as_bytes());
    out.push(b'-');
    push_u64(out, u64::from(connection));
    out.push(b'-');
    push_u64(out, number);
}

impl CreateDelete {
    pub(crate) fn new(stage: Arc<Stage>, connection: u32, requests: RequestWriter) -> Self {
        let random = Random::new(stage.plan.seed, connection);
        Self { stage, requests, random, connection, step: 0 }
    }
}

impl Script for CreateDelete {
    fn next(&mut self, _: Instant, out: &mut Vec<u8>) -> Option<Ask> {
        let (number, deletes) = (self.step / 2, self.step % 2 == 1);
        self.step += 1;
        let (stage, connection) = (&self.stage, self.connection);
        let requests = self.requests.key(|path| push_own(stage, path, connection, number));
        if deletes {
            requests.plain(out, "DELETE", "");
            return Some(Ask { op: Op::Delete, number, detail: 0 });
        }
        let size = stage.plan.sizes.pick(&mut self.random);
        requests.form(out, "PUT", "?prevExist=false", |form| {
            form.extend_from_slice(b"value=");
            value::push_pattern(form, number, size);
        });
        Some(Ask { op: Op::Create, number, detail: 0 })
    }

    fn check(&mut self, ask: Ask, answer: &Answer<'_>) -> Result<Right, String> {
        expect_status(answer, if ask.op == Op::Create { &[201] } else { &[200] })?;
        // A deletion shows the value in `prevNode`: the first there is.
        if !body::VALUE.text(answer.body).is_some_and(|text| value::is_pattern(text, ask.number)) {
            return Err(wrong("not the value that was written", answer));
        }
        Right::change(ask.op, answer)
    }

    fn describe(&self, ask: Ask) -> String {
        let key = text_of(|out| push_own(&self.stage, out, self.connection, ask.number));
        if ask.op == Op::Create { format!("PUT {key}?prevExist=false") } else { format!("DELETE {key}") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, ask, stage};

    #[test]
    fn every_key_is_created_once_and_deleted() {
        let mut script = stage(&["-w", "create-delete"]).script(3);
        let (create, created) = ask(script.as_mut());
        let (delete, _) = ask(script.as_mut());
        let (next, _) = ask(script.as_mut());
        assert!(create.starts_with("PUT ") && create.contains("-3-0?prevExist=false "), "{create}");
        assert!(delete.starts_with("DELETE ") && delete.contains("-3-0 "), "{delete}");
        assert!(next.starts_with("PUT ") && next.contains("-3-1?"), "{next}");
        let exists = answer(412, r#"{"errorCode":105}"#);
        assert!(script.check(created, &exists).is_err(), "nobody else has this key");
    }
}
