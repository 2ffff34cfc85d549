//! Single keys, read and written as the mix says.

use std::sync::Arc;
use std::time::Instant;

use super::{Ask, Right, Script, Stage, expect_error, expect_status, text_of, wrong};
use crate::http::{Answer, RequestWriter, body};
use crate::keys::KeyPicker;
use crate::op::Op;
use crate::value;

/// Gets, quorum gets, puts and deletes. Values tell their key, so any run's are recognized.
pub(crate) struct Keyed {
    stage: Arc<Stage>,
    picker: KeyPicker,
    requests: RequestWriter,
    /// A key that is read need not be there.
    may_miss: bool,
}

impl Keyed {
    pub(crate) fn new(stage: Arc<Stage>, connection: u32, requests: RequestWriter) -> Self {
        let may_miss = !stage.plan.prefill || stage.plan.mix.has(Op::Delete);
        Self { picker: stage.picker(connection), stage, requests, may_miss }
    }
}

impl Script for Keyed {
    fn next(&mut self, _: Instant, out: &mut Vec<u8>) -> Option<Ask> {
        let op = self.stage.plan.mix.pick(self.picker.random());
        let key = self.picker.pick();
        let space = self.picker.space();
        let requests = self.requests.key(|path| space.push_key(path, key));
        match op {
            Op::QuorumGet => requests.plain(out, "GET", "?quorum=true"),
            Op::Put => {
                let size = self.stage.plan.sizes.pick(self.picker.random());
                requests.form(out, "PUT", "", |form| {
                    form.extend_from_slice(b"value=");
                    value::push_pattern(form, key, size);
                });
            }
            Op::Delete => requests.plain(out, "DELETE", ""),
            _ => requests.plain(out, "GET", ""),
        }
        Some(Ask { op, number: key, detail: 0 })
    }

    fn check(&mut self, ask: Ask, answer: &Answer<'_>) -> Result<Right, String> {
        if answer.status == 404 && ask.op != Op::Put && self.may_miss {
            expect_error(answer, 404, 100)?;
            return Ok(Right::read(ask.op));
        }
        expect_status(answer, if ask.op == Op::Put { &[200, 201] } else { &[200] })?;
        if ask.op == Op::Delete {
            return Right::change(ask.op, answer);
        }
        if !body::VALUE.text(answer.body).is_some_and(|text| value::is_pattern(text, ask.number)) {
            return Err(wrong("not the value that was written", answer));
        }
        if ask.op == Op::Put { Right::change(ask.op, answer) } else { Ok(Right::read(ask.op)) }
    }

    fn describe(&self, ask: Ask) -> String {
        let key = text_of(|out| self.picker.space().push_key(out, ask.number));
        match ask.op {
            Op::Put => format!("PUT {key}"),
            Op::Delete => format!("DELETE {key}"),
            Op::QuorumGet => format!("GET {key}?quorum=true"),
            _ => format!("GET {key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, ask, stage};
    use super::*;

    fn node(value: &str) -> String {
        format!(r#"{{"action":"set","node":{{"key":"/k","value":"{value}","modifiedIndex":8,"createdIndex":8}}}}"#)
    }

    #[test]
    fn values_must_be_those_of_the_key() {
        let mut script = stage(&["-w", "get", "--keys", "5"]).script(0);
        let (line, asked) = ask(script.as_mut());
        assert_eq!(line, format!("GET /v2/keys/lg-d{0}/k{0} HTTP/1.1", asked.number));
        let right = text_of(|out| value::push_pattern(out, asked.number, 64));
        assert_eq!(script.check(asked, &answer(200, &node(&right))), Ok(Right::read(Op::Get)));
        assert!(script.check(asked, &answer(200, &node(&right.replace('a', "b")))).is_err());
        assert!(script.check(asked, &answer(500, &node(&right))).is_err());
        assert!(script.check(asked, &answer(404, r#"{"errorCode":100}"#)).is_err(), "it was written before");
    }

    #[test]
    fn without_prefill_a_key_may_be_missing() {
        let mut script = stage(&["-w", "get", "--no-prefill"]).script(0);
        let (_, asked) = ask(script.as_mut());
        assert_eq!(script.check(asked, &answer(404, r#"{"errorCode":100}"#)), Ok(Right::read(Op::Get)));
        assert!(script.check(asked, &answer(404, "404 page not found")).is_err());
    }

    #[test]
    fn writes_tell_their_index() {
        let mut script = stage(&["-w", "put"]).script(0);
        let (line, asked) = ask(script.as_mut());
        assert!(line.starts_with("PUT /v2/keys/lg-d"), "{line}");
        let right = text_of(|out| value::push_pattern(out, asked.number, 64));
        assert_eq!(script.check(asked, &answer(201, &node(&right))), Ok(Right { op: Op::Put, written: Some(8) }));
        assert!(script.check(asked, &answer(201, &right)).is_err());
    }
}
