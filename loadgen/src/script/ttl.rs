//! Keys that expire.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::decimal::push_u64;

use super::lifecycle::push_own;
use super::{Ask, Right, Script, Stage, expect_error, expect_status, text_of, wrong};
use crate::http::{Answer, RequestWriter, body};
use crate::op::Op;
use crate::random::Random;
use crate::value;

/// How much later than its time to live says a key may be there. etcd looks every half second.
const GRACE: Duration = Duration::from_secs(2);

/// One request in so many looks whether the newest key is still there.
const LOOK_EVERY: u64 = 16;

/// Creates keys with a time to live, looks that they live that long, and that they are gone after it.
pub(crate) struct Ttl {
    stage: Arc<Stage>,
    requests: RequestWriter,
    random: Random,
    connection: u32,
    next: u64,
    /// Answered and not yet looked for, with the time of the answer; oldest first.
    alive: VecDeque<(u64, Instant)>,
}

impl Ttl {
    pub(crate) fn new(stage: Arc<Stage>, connection: u32, requests: RequestWriter) -> Self {
        let random = Random::new(stage.plan.seed, connection);
        Self { stage, requests, random, connection, next: 0, alive: VecDeque::new() }
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.stage.plan.ttl_s)
    }

    fn get(&mut self, op: Op, number: u64, out: &mut Vec<u8>) -> Ask {
        let (stage, connection) = (&self.stage, self.connection);
        self.requests.key(|path| push_own(stage, path, connection, number)).plain(out, "GET", "");
        Ask { op, number, detail: 0 }
    }

    fn put(&mut self, out: &mut Vec<u8>) -> Ask {
        let (stage, connection, number) = (&self.stage, self.connection, self.next);
        self.next += 1;
        let size = stage.plan.sizes.pick(&mut self.random);
        self.requests.key(|path| push_own(stage, path, connection, number)).form(out, "PUT", "", |form| {
            form.extend_from_slice(b"ttl=");
            push_u64(form, stage.plan.ttl_s);
            form.extend_from_slice(b"&value=");
            value::push_pattern(form, number, size);
        });
        Ask { op: Op::Put, number, detail: 0 }
    }

    /// Whether a key that was asked for may be gone by now: its last moments are nobody's fault.
    fn may_be_gone(&self, number: u64) -> bool {
        let found = self.alive.iter().rev().find(|(key, _)| *key == number);
        found.is_none_or(|(_, since)| since.elapsed() * 4 > self.lifetime() * 3)
    }
}

impl Script for Ttl {
    fn next(&mut self, _: Instant, out: &mut Vec<u8>) -> Option<Ask> {
        let now = Instant::now();
        if let Some((number, since)) = self.alive.front()
            && now > *since + self.lifetime() + GRACE
        {
            let number = *number;
            self.alive.pop_front();
            return Some(self.get(Op::Expired, number, out));
        }
        if self.random.below(LOOK_EVERY) == 0
            && let Some((number, since)) = self.alive.back()
            && now < *since + self.lifetime() / 2
        {
            return Some(self.get(Op::Get, *number, out));
        }
        Some(self.put(out))
    }

    fn check(&mut self, ask: Ask, answer: &Answer<'_>) -> Result<Right, String> {
        if ask.op == Op::Expired {
            expect_error(answer, 404, 100).map_err(|what| format!("a key outlived its time to live: {what}"))?;
            return Ok(Right::read(ask.op));
        }
        if ask.op == Op::Get && answer.status == 404 && self.may_be_gone(ask.number) {
            return Ok(Right::read(ask.op));
        }
        expect_status(answer, if ask.op == Op::Put { &[201] } else { &[200] })?;
        if !body::VALUE.text(answer.body).is_some_and(|text| value::is_pattern(text, ask.number)) {
            return Err(wrong("not the value that was written", answer));
        }
        if ask.op == Op::Get {
            return Ok(Right::read(ask.op));
        }
        if body::LIFETIME.number(answer.body).is_none_or(|ttl| ttl > self.stage.plan.ttl_s) {
            return Err(wrong("another time to live", answer));
        }
        self.alive.push_back((ask.number, Instant::now()));
        Right::change(ask.op, answer)
    }

    fn describe(&self, ask: Ask) -> String {
        let key = text_of(|out| push_own(&self.stage, out, self.connection, ask.number));
        match ask.op {
            Op::Put => format!("PUT {key} with a time to live of {} s", self.stage.plan.ttl_s),
            Op::Expired => format!("GET {key}, which has expired"),
            _ => format!("GET {key}, which has not expired"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, ask, stage};
    use super::*;

    #[test]
    fn a_key_must_be_gone_when_its_time_is_over() {
        let mut script = Ttl::new(stage(&["-w", "ttl"]), 0, RequestWriter::new("h"));
        let (_, asked) = ask(&mut script);
        let value = text_of(|out| value::push_pattern(out, asked.number, 64));
        let node = format!(r#"{{"node":{{"key":"/k","value":"{value}","ttl":2,"modifiedIndex":6}}}}"#);
        assert!(script.check(asked, &answer(201, &node.replace("\"ttl\":2", "\"ttl\":9"))).is_err());
        assert!(script.check(asked, &answer(201, &node)).is_ok());
        let looked = Ask { op: Op::Get, ..asked };
        assert!(script.check(looked, &answer(404, r#"{"errorCode":100}"#)).is_err(), "it lives");
        let long_ago = Instant::now().checked_sub(Duration::from_secs(5)).expect("the clock is older");
        script.alive[0].1 = long_ago;
        let (_, asked) = ask(&mut script);
        assert_eq!(asked.op, Op::Expired);
        assert!(script.check(asked, &answer(200, &node)).is_err());
        assert!(script.check(asked, &answer(404, r#"{"errorCode":100}"#)).is_ok());
    }
}
