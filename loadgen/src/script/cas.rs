//! Contention: all connections raise the same few counters by compare-and-swap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use net::decimal::push_u64;

use super::{Ask, Right, Script, Stage, expect_error, expect_status, text_of, wrong};
use crate::http::{Answer, RequestWriter, body};
use crate::keys::KeyPicker;
use crate::op::Op;

/// Digits of a counter's value, which may be padded to be as long as the values of the run.
const DIGITS: usize = 20;

/// How often each counter was raised: what was acknowledged, over all connections.
#[derive(Debug)]
pub(crate) struct Ledger(Vec<AtomicU64>);

impl Ledger {
    /// Nothing was raised yet.
    pub(crate) fn new(counters: u64) -> Self {
        Self((0..counters).map(|_| AtomicU64::new(0)).collect())
    }

    fn raised(&self, counter: u64) {
        self.0[counter as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The acknowledged raises of each counter.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, u64)> {
        (0..).zip(self.0.iter().map(|entry| entry.load(Ordering::Relaxed)))
    }
}

/// What is known of a counter.
#[derive(Clone, Copy)]
struct Known {
    index: u64,
    count: u64,
}

/// Reads a counter when its state is not known, else raises it.
pub(crate) struct Cas {
    stage: Arc<Stage>,
    picker: KeyPicker,
    requests: RequestWriter,
    query: String,
    known: Vec<Option<Known>>,
}

/// Appends the name of counter `counter`. It is this run's own: another run's raises are not in the ledger.
pub(crate) fn push_key(stage: &Stage, out: &mut Vec<u8>, counter: u64) {
    stage.space.push_directory(out, counter);
    out.extend_from_slice(b"/cas-");
    out.extend_from_slice(stage.plan.run.as_bytes());
    out.push(b'-');
    push_u64(out, counter);
}

/// Appends a counter's value.
pub(crate) fn push_counter(out: &mut Vec<u8>, count: u64, size: usize) {
    push_padded(out, count, DIGITS);
    out.resize(out.len() + size.saturating_sub(DIGITS), b'x');
}

/// Appends `number` with leading zeros.
pub(crate) fn push_padded(out: &mut Vec<u8>, number: u64, digits: usize) {
    let begin = out.len();
    push_u64(out, number);
    let missing = digits.saturating_sub(out.len() - begin);
    out.splice(begin..begin, std::iter::repeat_n(b'0', missing));
}

/// The counter in a node; the first value of the body must be its.
pub(crate) fn count_in(body: &[u8]) -> Option<u64> {
    net::decimal::parse_u64(body::VALUE.text(body)?.get(..DIGITS)?)
}

impl Cas {
    pub(crate) fn new(stage: Arc<Stage>, connection: u32, requests: RequestWriter) -> Self {
        let (picker, known) = (stage.picker(connection), vec![None; stage.plan.keys as usize]);
        Self { stage, picker, requests, query: String::new(), known }
    }

    fn learn(&mut self, counter: u64, answer: &Answer<'_>) -> Result<Known, String> {
        let (count, index) = (count_in(answer.body), body::MODIFIED.number(answer.body));
        let (Some(count), Some(index)) = (count, index) else { return Err(wrong("no counter", answer)) };
        let known = Known { index, count };
        self.known[counter as usize] = Some(known);
        Ok(known)
    }

    /// `ask.detail` is the index that was compared with.
    fn check_raised(&mut self, ask: Ask, answer: &Answer<'_>) -> Result<Right, String> {
        let before =
            body::PREVIOUS.rest(answer.body).and_then(|node| Some((body::MODIFIED.number(node)?, count_in(node)?)));
        let now = self.learn(ask.number, answer)?;
        let Some((index, count)) = before else { return Err(wrong("no prevNode", answer)) };
        if index != ask.detail || count + 1 != now.count || now.index <= index {
            return Err(wrong(&format!("swapped something else than index {}", ask.detail), answer));
        }
        self.stage.ledger.raised(ask.number);
        Right::change(Op::Cas, answer)
    }
}

impl Script for Cas {
    fn next(&mut self, _: Instant, out: &mut Vec<u8>) -> Option<Ask> {
        let counter = self.picker.pick();
        let stage = &self.stage;
        let requests = self.requests.key(|path| push_key(stage, path, counter));
        // Forgotten until the answer: a second swap from the same state would be refused for certain.
        let Some(known) = self.known[counter as usize].take() else {
            requests.plain(out, "GET", "");
            return Some(Ask { op: Op::Get, number: counter, detail: 0 });
        };
        self.query.clear();
        self.query.push_str("?prevIndex=");
        push_text(&mut self.query, known.index);
        let size = self.stage.plan.sizes.pick(self.picker.random());
        requests.form(out, "PUT", &self.query, |form| {
            form.extend_from_slice(b"value=");
            push_counter(form, known.count + 1, size);
        });
        Some(Ask { op: Op::Cas, number: counter, detail: known.index })
    }

    fn check(&mut self, ask: Ask, answer: &Answer<'_>) -> Result<Right, String> {
        if ask.op == Op::Cas && answer.status == 412 {
            expect_error(answer, 412, 101)?;
            return Ok(Right::read(Op::CasRefused));
        }
        expect_status(answer, &[200])?;
        if ask.op == Op::Cas {
            return self.check_raised(ask, answer);
        }
        self.learn(ask.number, answer)?;
        Ok(Right::read(Op::Get))
    }

    fn describe(&self, ask: Ask) -> String {
        let key = text_of(|out| push_key(&self.stage, out, ask.number));
        if ask.op == Op::Cas { format!("PUT {key}?prevIndex={}", ask.detail) } else { format!("GET {key}") }
    }
}

fn push_text(out: &mut String, number: u64) {
    use std::fmt::Write as _;
    // Writing to a string cannot fail.
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, ask, stage};
    use super::*;

    #[test]
    fn a_counter_is_read_and_raised_and_read_again_when_another_was_faster() {
        let stage = stage(&["-w", "cas", "--keys", "1"]);
        let mut script = stage.script(0);
        let (line, asked) = ask(script.as_mut());
        assert!(line.starts_with("GET /v2/keys/lg-d0/cas-"), "{line}");
        let node =
            |count: u64, index: u64| format!(r#"{{"key":"/c","value":"{count:020}xx","modifiedIndex":{index}}}"#);
        assert!(script.check(asked, &answer(200, &node(4, 7))).is_ok());
        let (line, asked) = ask(script.as_mut());
        assert!(line.contains("?prevIndex=7 "), "{line}");
        let swapped = |index| format!(r#"{{"node":{},"prevNode":{}}}"#, node(5, 9), node(4, index));
        assert!(script.check(asked, &answer(200, &swapped(8))).is_err(), "it was at another index");
        assert_eq!(script.check(asked, &answer(200, &swapped(7))).map(|right| right.written), Ok(Some(9)));
        assert_eq!(stage.ledger.entries().collect::<Vec<_>>(), [(0, 1)]);
        let (_, asked) = ask(script.as_mut());
        let refused = script.check(asked, &answer(412, r#"{"errorCode":101}"#));
        assert_eq!(refused, Ok(Right::read(Op::CasRefused)));
        assert_eq!(ask(script.as_mut()).1.op, Op::Get);
    }

    #[test]
    fn numbers_are_padded() {
        let padded = |number| text_of(|out| push_padded(out, number, 4));
        assert_eq!((padded(7), padded(12345)), ("0007".to_owned(), "12345".to_owned()));
        assert_eq!(text_of(|out| push_counter(out, 3, 22)), "00000000000000000003xx");
    }
}
