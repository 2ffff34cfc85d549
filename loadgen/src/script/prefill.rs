//! Writes what a workload reads, before it begins. The connections share the keys out.

use std::sync::Arc;
use std::time::Instant;

use super::{Ask, Right, Script, Stage, cas, expect_status, list, text_of};
use crate::cli::Workload;
use crate::http::{Answer, RequestWriter};
use crate::op::Op;
use crate::random::Random;
use crate::value;

/// Sets every key once.
pub(crate) struct Prefill {
    stage: Arc<Stage>,
    requests: RequestWriter,
    random: Random,
    next: u64,
    end: u64,
}

impl Prefill {
    /// The part of one connection.
    pub(crate) fn new(stage: Arc<Stage>, connection: u32) -> Self {
        let requests = RequestWriter::new(&stage.plan.endpoint(connection).host);
        let random = Random::new(!stage.plan.seed, connection);
        let end = Self::count(&stage);
        Self { requests, random, next: u64::from(connection), end, stage }
    }

    /// How many keys there are to be set.
    fn count(stage: &Stage) -> u64 {
        let plan = &stage.plan;
        let reads = plan.mix.has(Op::Get) || plan.mix.has(Op::QuorumGet);
        match plan.workload {
            Workload::Cas => plan.keys,
            Workload::Wide | Workload::List if plan.prefill => plan.keys * plan.directories,
            _ if reads && plan.prefill => plan.keys,
            _ => 0,
        }
    }

    fn push_key(&self, out: &mut Vec<u8>, number: u64) {
        match self.stage.plan.workload {
            Workload::Cas => cas::push_key(&self.stage, out, number),
            Workload::Wide | Workload::List => list::push_leaf(&self.stage, out, number),
            _ => self.stage.space.push_key(out, number),
        }
    }
}

impl Script for Prefill {
    fn next(&mut self, _: Instant, out: &mut Vec<u8>) -> Option<Ask> {
        let number = self.next;
        if number >= self.end {
            return None;
        }
        self.next += u64::from(self.stage.plan.connections);
        let mut path = Vec::new();
        self.push_key(&mut path, number);
        let size = self.stage.plan.sizes.pick(&mut self.random);
        let is_counter = self.stage.plan.workload == Workload::Cas;
        self.requests.key(|key| key.extend_from_slice(&path)).form(out, "PUT", "", |form| {
            form.extend_from_slice(b"value=");
            if is_counter { cas::push_counter(form, 0, size) } else { value::push_pattern(form, number, size) }
        });
        Some(Ask { op: Op::Put, number, detail: 0 })
    }

    fn check(&mut self, ask: Ask, answer: &Answer<'_>) -> Result<Right, String> {
        expect_status(answer, &[200, 201])?;
        Right::change(ask.op, answer)
    }

    fn describe(&self, ask: Ask) -> String {
        format!("PUT {} before the run", text_of(|out| self.push_key(out, ask.number)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::stage;
    use super::*;

    #[test]
    fn connections_share_the_keys_out() {
        let stage = stage(&["-w", "get", "--keys", "7", "-c", "3"]);
        let mut keys = Vec::new();
        for connection in 0..3 {
            let mut script = Prefill::new(Arc::clone(&stage), connection);
            while let Some(ask) = script.next(Instant::now(), &mut Vec::new()) {
                keys.push(ask.number);
            }
        }
        keys.sort_unstable();
        assert_eq!(keys, (0..7).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_read_is_not_written_before() {
        for (arguments, count) in [
            (&["-w", "put"][..], 0),
            (&["-w", "get", "--no-prefill"], 0),
            (&["-w", "cas", "--no-prefill"], 16),
            (&["-w", "mixed", "--keys", "5"], 5),
            (&["-w", "list", "--keys", "5", "--directories", "2"], 10),
        ] {
            assert_eq!(Prefill::count(&stage(arguments)), count, "{arguments:?}");
        }
    }
}
