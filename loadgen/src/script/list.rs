//! Listings: a directory with many children, or whole trees.

use std::sync::Arc;
use std::time::Instant;

use net::decimal::push_u64;

use super::{Ask, Right, Script, Stage, expect_status, text_of, wrong};
use crate::cli::Workload;
use crate::http::{Answer, RequestWriter, body};
use crate::op::Op;
use crate::random::Random;

/// Lists one of the trees, and counts what is in it.
pub(crate) struct List {
    stage: Arc<Stage>,
    requests: RequestWriter,
    random: Random,
    /// Nodes in a listing, its own directory included.
    nodes: u64,
}

/// Directories of a tree: as many as each of them has leaves, more or less. A wide directory has none.
fn branches(stage: &Stage) -> u64 {
    let keys = stage.plan.keys;
    if stage.plan.workload == Workload::Wide { 0 } else { keys.isqrt().max(1) }
}

/// Appends the name of tree `tree`. It tells the shape, so that runs of another shape have others.
fn push_tree(stage: &Stage, out: &mut Vec<u8>, tree: u64) {
    stage.space.push_top(out, if stage.plan.workload == Workload::Wide { b"wide" } else { b"tree" }, tree);
    out.push(b'-');
    push_u64(out, stage.plan.keys);
}

/// Appends the name of leaf `number`, counted over all trees.
pub(super) fn push_leaf(stage: &Stage, out: &mut Vec<u8>, number: u64) {
    let leaf = number % stage.plan.keys;
    push_tree(stage, out, number / stage.plan.keys);
    if let Some(branch) = leaf.checked_rem(branches(stage)) {
        out.extend_from_slice(b"/b");
        push_u64(out, branch);
    }
    out.extend_from_slice(b"/k");
    push_u64(out, leaf);
}

impl List {
    pub(crate) fn new(stage: Arc<Stage>, connection: u32, requests: RequestWriter) -> Self {
        let random = Random::new(stage.plan.seed, connection);
        let nodes = 1 + branches(&stage) + stage.plan.keys;
        Self { stage, requests, random, nodes }
    }

    fn query(&self) -> &'static str {
        if self.stage.plan.workload == Workload::Wide { "" } else { "?recursive=true" }
    }
}

impl Script for List {
    fn next(&mut self, _: Instant, out: &mut Vec<u8>) -> Option<Ask> {
        let tree = self.random.below(self.stage.plan.directories);
        let (query, stage) = (self.query(), &self.stage);
        self.requests.key(|path| push_tree(stage, path, tree)).plain(out, "GET", query);
        Some(Ask { op: Op::List, number: tree, detail: 0 })
    }

    fn check(&mut self, ask: Ask, answer: &Answer<'_>) -> Result<Right, String> {
        if answer.status == 404 && !self.stage.plan.prefill {
            return Ok(Right::read(ask.op));
        }
        expect_status(answer, &[200])?;
        let count = body::KEY.count(answer.body);
        if count != self.nodes && self.stage.plan.prefill {
            return Err(wrong(&format!("{count} nodes instead of {}", self.nodes), answer));
        }
        Ok(Right::read(ask.op))
    }

    fn describe(&self, ask: Ask) -> String {
        format!("GET {}{}", text_of(|out| push_tree(&self.stage, out, ask.number)), self.query())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answer, ask, stage};
    use super::*;

    #[test]
    fn listings_are_counted() {
        for (workload, line, nodes) in [
            ("wide", "GET /v2/keys/lg-wide0-9 HTTP/1.1", 10),
            ("list", "GET /v2/keys/lg-tree0-9?recursive=true HTTP/1.1", 13),
        ] {
            let mut script = stage(&["-w", workload, "--keys", "9"]).script(0);
            let (asked_line, asked) = ask(script.as_mut());
            assert_eq!(asked_line, line);
            assert!(script.check(asked, &answer(200, &r#"{"key":"/a"}"#.repeat(nodes))).is_ok(), "{workload}");
            assert!(script.check(asked, &answer(200, &r#"{"key":"/a"}"#.repeat(nodes - 1))).is_err(), "{workload}");
        }
    }

    #[test]
    fn leaves_spread_over_branches() {
        let leaf = |workload, number| {
            let stage = stage(&["-w", workload, "--keys", "9", "--directories", "2"]);
            text_of(|out| push_leaf(&stage, out, number))
        };
        assert_eq!(leaf("wide", 12), "/lg-wide1-9/k3");
        assert_eq!(leaf("list", 13), "/lg-tree1-9/b1/k4");
    }
}
