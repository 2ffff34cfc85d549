//! Listing a directory that is spread over all shards, as one cut.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shard::ids::Index;
use shard::order::Hold;

use super::Core;
use super::answers::OnTheWay;
use super::message::{Answer, Question, Standing};
use super::post::Asked;
use crate::body;

impl Core {
    /// The answer to a read of `/`: the state of every shard at one index. `None` if too much is under way, or there is no room for
    /// it.
    ///
    /// `visible` stands still for one round through the executors, in which each applies up to it and keeps a handle of
    /// its trees; encoding them comes after.
    pub(crate) async fn list_root(self: &Rc<Self>, recursive: bool) -> Option<(Standing, Vec<u8>)> {
        let listing = OnTheWay::to(self.me, &self.node);
        let (at, asked, mut parts) = {
            let question = |at| Question::Cut { at, recursive, listing: Arc::clone(&listing) };
            let (at, asked, early) = self.cut(question).await?;
            (at, asked, early.into_iter().map(part).collect::<Option<Vec<Part>>>()?)
        };
        for _ in parts.len()..self.node.cores() {
            parts.push(part(asked.next().await)?);
        }
        let mut children: Vec<(Vec<u8>, Vec<u8>)> = parts.into_iter().flatten().collect();
        children.sort_unstable();
        let standing = Standing { index: at, ..self.inner.borrow().standing() };
        Some((standing, body::root(children)))
    }

    /// Holds `visible` once no other executor does.
    async fn hold(&self) -> Hold<'_> {
        loop {
            if let Some(hold) = self.node.order.hold() {
                return hold;
            }
            // The turn raises `visible`, which is what the end of another's hold leaves owing.
            self.stir();
            glommio::executor().yield_task_queue_now().await;
        }
    }

    /// Has every executor take its part at one index, and say [`Answer::CutTaken`]; returns the index, and what else they
    /// have said by then.
    pub(super) async fn cut(
        self: &Rc<Self>,
        question: impl Fn(Index) -> Question,
    ) -> Option<(Index, Asked, Vec<Answer>)> {
        // An executor holds `visible` for one reader at a time.
        let _permit = self.listing.acquire_permit(1).await.ok()?;
        let hold = self.hold().await;
        let at = loop {
            match hold.settled() {
                Some(at) => break at,
                None => glommio::executor().yield_task_queue_now().await,
            }
        };
        let asked = self.ask_all(|| question(at));
        let mut early = Vec::new();
        let mut behind = false;
        if let Some(asked) = &asked {
            let mut taken = 0;
            while taken < self.node.cores() {
                match asked.next().await {
                    Answer::CutTaken => taken += 1,
                    Answer::Behind => {
                        behind = true;
                        taken += 1;
                    }
                    other => early.push(other),
                }
            }
        }
        drop(hold);
        // Whoever could not raise `visible` meanwhile tries again.
        for mailbox in &self.node.mailboxes {
            mailbox.wake();
        }
        asked.filter(|_| !behind).map(|asked| (at, asked, early))
    }

    /// Confirms with a quorum where the order stands, as a read would; `None` if that can not be asked now, or takes too long.
    pub(crate) async fn confirm_quorum(self: &Rc<Self>, time: Duration) -> Option<Standing> {
        match self.ask(self.me, Question::Quorum)?.next_within(time).await? {
            Answer::Confirmed(standing) => Some(standing),
            other => panic!("a quorum round was answered with {other:?}"),
        }
    }
}

/// One executor's children of a spread directory: key and JSON.
type Part = Vec<(Vec<u8>, Vec<u8>)>;

/// The part that an executor has; none if there was no room for it.
fn part(answer: Answer) -> Option<Part> {
    match answer {
        Answer::Part(part) => Some(part),
        Answer::NoRoom => None,
        other => panic!("a cut was answered with {other:?}"),
    }
}
